//! A track that a served peer sends: bursts of packets at a steady rate that look like video or sound.

use std::collections::VecDeque;
use std::time::Duration;

use mediaserver_proto::codec::vp8::{self, Descriptor};
use mediaserver_proto::rtp::header::FIXED_LEN;
use mediaserver_proto::rtp::{HeaderWriter, Ssrc};
use serde::Deserialize;

use crate::peer::Peer;
use crate::stamp;

/// Header extensions with a transport-wide number alone: profile, length, one element of two bytes, padding (RFC 8285 §4.2).
const EXTENSION: usize = 8;
/// Longest authentication tag of the suites offered.
const TAG: usize = 16;
/// Frames between two keyframes that nobody asked for.
const KEYFRAME_EVERY: u64 = 300;
/// Packets in which a track tells its names; a browser stops with the first receiver report.
const NAMED_PACKETS: u64 = 200;
/// Packets that can be sent again.
const KEPT: usize = 1024;
/// Of a descriptor and the beginning of a keyframe (RFC 6386 §9.1).
const HEAD: usize = vp8::MAX_DESCRIPTOR + 10;
/// Temporal layers of the frames, as Chromium has them in simulcast.
const TEMPORAL: [u8; 4] = [0, 2, 1, 2];

/// What is sent.
#[derive(Clone, Debug, Deserialize)]
pub struct Track {
    /// Its SSRC.
    pub ssrc: u32,
    /// Payload type that the answer agreed on.
    pub payload_type: u8,
    /// RTP clock.
    pub clock_rate: u32,
    /// Ids of header extensions.
    pub extensions: ExtensionIds,
    /// Length of a protected packet, in bytes; with names in front it is longer.
    pub packet_size: usize,
    /// Packets of one frame, sent back to back.
    pub burst: usize,
    /// Frames per second.
    pub frames_per_s: f64,
    /// Whether payloads carry a VP8 descriptor and frame header.
    pub vp8: bool,
    /// Width of the picture, told in keyframes; it is as high as wide.
    pub width: u16,
    /// m-line; told in the first packets.
    pub mid: String,
    /// Simulcast layer; empty without simulcast.
    pub rid: String,
    /// SSRC of what is sent again; 0: nothing is.
    pub rtx_ssrc: u32,
    /// Payload type of it.
    pub rtx_payload_type: u8,
}

/// Ids of header extensions; 0: not sent.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct ExtensionIds {
    /// Transport-wide sequence number.
    pub twcc: u8,
    /// m-line.
    pub mid: u8,
    /// Layer.
    pub rid: u8,
    /// Layer of a packet that is sent again.
    pub repaired_rid: u8,
}

/// A packet that can be sent again; the rest of the payload is the same in all.
#[derive(Clone, Copy, Debug)]
struct Kept {
    sequence: u16,
    timestamp: u32,
    marker: bool,
    head: [u8; HEAD],
}

/// A track at work.
#[derive(Debug)]
pub struct Source {
    track: Track,
    frames: u64,
    /// Packets sent, those sent again not counted.
    pub packets: u64,
    /// Packets sent again.
    pub resent: u64,
    sequence: u16,
    rtx_sequence: u16,
    timestamp: u32,
    base_layer_frames: u8,
    wants_key: bool,
    kept: VecDeque<Kept>,
    header: Vec<u8>,
    payload: Vec<u8>,
    run: Vec<u8>,
}

impl Source {
    /// # Errors
    /// A sentence when the numbers make no packet.
    pub fn new(track: Track) -> Result<Source, String> {
        let least = FIXED_LEN + EXTENSION + TAG + HEAD + stamp::STAMP;
        if !(least..=1400).contains(&track.packet_size) || !(1..=64).contains(&track.burst) {
            return Err(format!("a track needs packets of {least} to 1400 bytes in bursts of 1 to 64"));
        }
        check_rate(track.frames_per_s)?;
        let extension = if track.extensions.twcc > 0 { EXTENSION } else { 0 };
        let payload = (0..track.packet_size - FIXED_LEN - TAG - extension).map(|index| index as u8).collect();
        let run = Vec::with_capacity(track.burst * 1472);
        // RFC 3711 §3.3.1: sequence numbers begin low, so that no loss can confuse the first rollover.
        Ok(Source {
            track,
            frames: 0,
            packets: 0,
            resent: 0,
            sequence: 0,
            rtx_sequence: 0,
            timestamp: 0,
            base_layer_frames: 0,
            wants_key: false,
            kept: VecDeque::with_capacity(KEPT),
            header: Vec::with_capacity(64),
            payload,
            run,
        })
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
        let key = std::mem::take(&mut self.wants_key) || self.frames.is_multiple_of(KEYFRAME_EVERY);
        let mut descriptor = self.descriptor(key);
        let is_named = self.packets < NAMED_PACKETS;
        let mut piece = 0;
        for index in 0..self.track.burst {
            self.sequence = self.sequence.wrapping_add(1);
            let (sequence, timestamp) = (self.sequence, self.timestamp);
            let marker = self.track.vp8 && index + 1 == self.track.burst;
            if self.track.vp8 {
                let head = head(&descriptor, key, self.track.width);
                descriptor.partition_start = false;
                self.payload[..HEAD].copy_from_slice(&head);
                self.keep(Kept { sequence, timestamp, marker, head });
            }
            let (payload_type, ssrc) = (self.track.payload_type, Ssrc(self.track.ssrc));
            stamp::write(&mut self.payload, nanos);
            self.write_header(
                HeaderWriter { marker, payload_type, sequence, timestamp, ssrc },
                is_named,
                transport_sequence,
            );
            peer.protect(&self.header, &self.payload, &mut self.run)?;
            piece = piece.max(self.run.len() / (index + 1));
        }
        self.frames += 1;
        self.packets += self.track.burst as u64;
        // A full socket drops, as a network would: receivers count it.
        drop(peer.socket.send_run(&self.run, piece));
        Ok(())
    }

    /// Sends a packet again under the SSRC for that (RFC 4588 §4), if it is still known.
    ///
    /// # Errors
    /// A sentence when it cannot be protected.
    pub fn resend(&mut self, sequence: u16, peer: &mut Peer, transport_sequence: &mut u16) -> Result<(), String> {
        let Some(kept) = self.kept.iter().rev().find(|kept| kept.sequence == sequence).copied() else {
            return Ok(());
        };
        self.rtx_sequence = self.rtx_sequence.wrapping_add(1);
        self.resent += 1;
        let mut payload = Vec::with_capacity(self.payload.len() + 2);
        payload.extend_from_slice(&sequence.to_be_bytes());
        payload.extend_from_slice(&kept.head);
        // Its stamp is not that of a packet that came on the straight way.
        payload.resize(self.payload.len() + 2, 0);
        let header = HeaderWriter {
            marker: kept.marker,
            payload_type: self.track.rtx_payload_type,
            sequence: self.rtx_sequence,
            timestamp: kept.timestamp,
            ssrc: Ssrc(self.track.rtx_ssrc),
        };
        self.write_header(header, self.resent < NAMED_PACKETS, transport_sequence);
        self.run.clear();
        peer.protect(&self.header, &payload, &mut self.run)?;
        drop(peer.socket.send(&self.run));
        Ok(())
    }

    fn keep(&mut self, kept: Kept) {
        if self.track.rtx_ssrc == 0 {
            return;
        }
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(kept);
    }

    /// The descriptor of the next frame (RFC 7741 §4.2): 15 bits of picture id, three temporal layers.
    fn descriptor(&mut self, key: bool) -> Descriptor {
        let layer = if key { 0 } else { TEMPORAL[(self.frames % 4) as usize] };
        if layer == 0 {
            self.base_layer_frames = self.base_layer_frames.wrapping_add(1);
        }
        Descriptor {
            partition_start: true,
            picture_id: Some(self.frames as u16 & 0x7fff),
            long_picture_id: true,
            tl0_picture_index: Some(self.base_layer_frames),
            temporal: Some((layer, layer > 0 && self.frames % 4 < 3)),
            non_reference: layer == 2,
            ..Descriptor::default()
        }
    }

    fn write_header(&mut self, header: HeaderWriter, is_named: bool, transport_sequence: &mut u16) {
        let ids = self.track.extensions;
        let number = transport_sequence.to_be_bytes();
        *transport_sequence = transport_sequence.wrapping_add(1);
        let repairs = header.ssrc.0 == self.track.rtx_ssrc;
        let (mid, rid) = (self.track.mid.as_bytes(), self.track.rid.as_bytes());
        self.header.clear();
        header.write(&mut self.header, |extensions| {
            if ids.twcc > 0 {
                extensions.push(ids.twcc, &number);
            }
            if is_named && !mid.is_empty() {
                extensions.push(ids.mid, mid);
            }
            if is_named && !rid.is_empty() {
                extensions.push(if repairs { ids.repaired_rid } else { ids.rid }, rid);
            }
        });
    }
}

fn check_rate(frames_per_s: f64) -> Result<(), String> {
    let fits = (0.1..=10_000.0).contains(&frames_per_s);
    fits.then_some(()).ok_or_else(|| "a track needs 0.1 to 10000 frames per second".into())
}

/// The descriptor and, in a frame's first packet, the frame's own header (RFC 6386 §9.1).
fn head(descriptor: &Descriptor, key: bool, width: u16) -> [u8; HEAD] {
    let mut head = [0x55; HEAD];
    let len = usize::from(descriptor.write(&mut head));
    if descriptor.partition_start {
        let [low, high] = (width & 0x3fff).to_le_bytes();
        let frame = [u8::from(!key) | 0x10, 2, 0, 0x9d, 0x01, 0x2a, low, high, low, high];
        head[len..len + frame.len()].copy_from_slice(&frame);
    }
    head
}

#[cfg(test)]
mod tests {
    use mediaserver_proto::codec::vp8::frame_size;

    use super::*;

    fn track() -> Track {
        Track {
            ssrc: 5,
            payload_type: 96,
            clock_rate: 90_000,
            extensions: ExtensionIds { twcc: 3, mid: 4, rid: 5, repaired_rid: 6 },
            packet_size: 1_200,
            burst: 8,
            frames_per_s: 25.0,
            vp8: true,
            width: 640,
            mid: "0".into(),
            rid: "h".into(),
            rtx_ssrc: 6,
            rtx_payload_type: 97,
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

    #[test]
    fn frames_say_what_a_forwarder_looks_for() {
        let mut source = Source::new(track()).unwrap();
        let key = head(&source.descriptor(true), true, 640);
        assert!(Descriptor::parse(&key).unwrap().starts_keyframe(&key));
        assert_eq!(frame_size(&key, &Descriptor::parse(&key).unwrap()), Some((640, 640)));
        source.frames = 1;
        let delta = source.descriptor(false);
        let parsed = Descriptor::parse(&head(&delta, false, 640)).unwrap();
        assert_eq!((parsed.picture_id, parsed.temporal, parsed.tl0_picture_index), (Some(1), Some((2, true)), Some(1)));
        let delta = head(&delta, false, 640);
        assert!(!Descriptor::parse(&delta).unwrap().starts_keyframe(&delta));
    }
}
