//! A track that a served peer sends: bursts of packets at a steady rate that look like video or sound.

use std::time::Duration;

use mediaserver_proto::rtp::header::FIXED_LEN;
use serde::Deserialize;

use crate::peer::Peer;
use crate::stamp;

/// A header extension block (RFC 8285 §4.2) with one element of two bytes.
const EXTENSION: usize = 8;
/// Longest authentication tag of the suites offered.
const TAG: usize = 16;
/// Frames between two keyframes that nobody asked for.
const KEYFRAME_EVERY: u64 = 300;

/// What is sent.
#[derive(Clone, Debug, Deserialize)]
pub struct Track {
    /// Its SSRC.
    pub ssrc: u32,
    /// Payload type that the answer agreed on.
    pub payload_type: u8,
    /// RTP clock.
    pub clock_rate: u32,
    /// Extension id of the transport-wide sequence number; 0 sends none.
    pub twcc_id: u8,
    /// Length of a protected packet, in bytes.
    pub packet_size: usize,
    /// Packets of one frame, sent back to back.
    pub burst: usize,
    /// Frames per second.
    pub frames_per_s: f64,
    /// Whether payloads carry a VP8 descriptor and frame header.
    pub vp8: bool,
}

/// A track at work.
#[derive(Debug)]
pub struct Source {
    track: Track,
    frames: u64,
    /// Packets sent.
    pub packets: u64,
    sequence: u16,
    timestamp: u32,
    wants_key: bool,
    payload: Vec<u8>,
    run: Vec<u8>,
}

impl Source {
    /// # Errors
    /// A sentence when the numbers make no packet.
    pub fn new(track: Track) -> Result<Source, String> {
        let least = FIXED_LEN + EXTENSION + TAG + 11 + stamp::STAMP;
        if !(least..=1472).contains(&track.packet_size) || !(1..=64).contains(&track.burst) {
            return Err(format!("a track needs packets of {least} to 1472 bytes in bursts of 1 to 64"));
        }
        check_rate(track.frames_per_s)?;
        let payload = (0..track.packet_size - FIXED_LEN - TAG - if track.twcc_id > 0 { EXTENSION } else { 0 })
            .map(|index| index as u8)
            .collect();
        let run = Vec::with_capacity(track.burst * track.packet_size);
        // RFC 3711 §3.3.1: the sequence number begins low, so that no loss can confuse the first rollover.
        Ok(Source { track, frames: 0, packets: 0, sequence: 1, timestamp: 0, wants_key: false, payload, run })
    }

    /// Sends at another rate from the next frame on.
    ///
    /// # Errors
    /// A sentence when it is no rate.
    pub fn pace(&mut self, frames_per_s: f64) -> Result<(), String> {
        check_rate(frames_per_s)?;
        self.track.frames_per_s = frames_per_s;
        Ok(())
    }

    /// Between two frames.
    pub fn gap(&self) -> Duration {
        Duration::from_secs_f64(1.0 / self.track.frames_per_s)
    }

    /// Whether this is its SSRC.
    pub fn is(&self, ssrc: u32) -> bool {
        self.track.ssrc == ssrc
    }

    /// Somebody asked for a keyframe: the next frame is one.
    pub fn want_key(&mut self) {
        self.wants_key = true;
    }

    /// Sends a frame; `transport_sequence` counts over all tracks of the peer.
    ///
    /// # Errors
    /// A sentence when it cannot be protected.
    pub fn send(&mut self, peer: &mut Peer, transport_sequence: &mut u16, nanos: u64) -> Result<(), String> {
        self.run.clear();
        self.timestamp =
            self.timestamp.wrapping_add((f64::from(self.track.clock_rate) / self.track.frames_per_s) as u32);
        let key = self.wants_key || self.frames.is_multiple_of(KEYFRAME_EVERY);
        self.wants_key = false;
        let mut piece = 0;
        for index in 0..self.track.burst {
            let (header, len) = self.header(index + 1 == self.track.burst, *transport_sequence);
            if self.track.vp8 {
                describe(&mut self.payload, index == 0, key);
            }
            stamp::write(&mut self.payload, nanos);
            peer.protect(&header[..len], &self.payload, &mut self.run)?;
            piece = piece.max(self.run.len() / (index + 1));
            self.sequence = self.sequence.wrapping_add(1);
            *transport_sequence = transport_sequence.wrapping_add(1);
        }
        self.frames += 1;
        self.packets += self.track.burst as u64;
        // A full socket drops, as a network would: receivers count it.
        drop(peer.socket.send_run(&self.run, piece));
        Ok(())
    }

    fn header(&self, last: bool, transport_sequence: u16) -> ([u8; FIXED_LEN + EXTENSION], usize) {
        let mut header = [0; FIXED_LEN + EXTENSION];
        let extended = self.track.twcc_id > 0;
        header[0] = if extended { 0x90 } else { 0x80 };
        header[1] = self.track.payload_type | if last && self.track.vp8 { 0x80 } else { 0 };
        header[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        header[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        header[8..12].copy_from_slice(&self.track.ssrc.to_be_bytes());
        if extended {
            header[12..16].copy_from_slice(&[0xBE, 0xDE, 0, 1]);
            header[16] = self.track.twcc_id << 4 | 1;
            header[17..19].copy_from_slice(&transport_sequence.to_be_bytes());
        }
        (header, if extended { FIXED_LEN + EXTENSION } else { FIXED_LEN })
    }
}

fn check_rate(frames_per_s: f64) -> Result<(), String> {
    let fits = (0.1..=10_000.0).contains(&frames_per_s);
    fits.then_some(()).ok_or_else(|| "a track needs 0.1 to 10000 frames per second".into())
}

/// VP8 payload descriptor and, in a frame's first packet, the frame header (RFC 7741 §4.2, RFC 6386 §9.1).
fn describe(payload: &mut [u8], starts_frame: bool, key: bool) {
    payload[0] = if starts_frame { 0x10 } else { 0x00 };
    if starts_frame {
        let head: [u8; 10] = [u8::from(!key) | 0x10, 2, 0, 0x9D, 0x01, 0x2A, 0x80, 0x02, 0xE0, 0x01];
        payload[1..11].copy_from_slice(&head);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn track() -> Track {
        Track {
            ssrc: 5,
            payload_type: 96,
            clock_rate: 90_000,
            twcc_id: 3,
            packet_size: 1_200,
            burst: 8,
            frames_per_s: 25.0,
            vp8: true,
        }
    }

    #[test]
    fn impossible_tracks_are_refused() {
        assert!(Source::new(Track { packet_size: 40, ..track() }).is_err());
        assert!(Source::new(Track { packet_size: 1_500, ..track() }).is_err());
        assert!(Source::new(Track { burst: 0, ..track() }).is_err());
        assert!(Source::new(Track { frames_per_s: 0.0, ..track() }).is_err());
        assert_eq!(Source::new(track()).map(|source| source.gap().as_millis()), Ok(40));
    }
}
