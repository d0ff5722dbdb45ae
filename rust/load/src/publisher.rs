//! The sender: frames of VP8 in bursts of equal packets, with transport-wide sequence numbers.

use mediaserver_proto::rtp::header::FIXED_LEN;

use crate::peer::Peer;
use crate::plan::Plan;

/// A header extension of one word (RFC 8285 §4.2): id and length, the number, padding.
const EXTENSION: usize = 8;
const HEADER: usize = FIXED_LEN + EXTENSION;
const TAG: usize = 16;
/// Frames between two keyframes.
const KEYFRAME_EVERY: u64 = 32;
/// Of video (RFC 7741 §4.1).
pub const CLOCK_RATE: u32 = 90_000;

/// Makes the packets.
#[derive(Debug)]
pub struct Publisher {
    /// Its connection.
    pub peer: Peer,
    /// Frames sent.
    pub frames: u64,
    /// Between two frames, in units of 1/90000 s.
    pub timestamp_step: u32,
    ssrc: u32,
    payload_type: u8,
    twcc_id: u8,
    burst: usize,
    size: usize,
    timestamp: u32,
    sequence: u16,
    transport_sequence: u16,
    payload: Vec<u8>,
    run: Vec<u8>,
}

impl Publisher {
    /// A publisher for the plan, on a connected peer.
    pub fn new(plan: &Plan, peer: Peer) -> Publisher {
        Publisher {
            peer,
            frames: 0,
            ssrc: plan.publisher.ssrc,
            payload_type: plan.publisher.payload_type,
            twcc_id: plan.publisher.twcc_id,
            burst: plan.burst,
            size: plan.packet_size,
            timestamp_step: CLOCK_RATE / 1000,
            timestamp: 0,
            // RFC 3711 §3.3.1: low, so that no loss can confuse the first rollover.
            sequence: 1,
            transport_sequence: 1,
            payload: (0..plan.packet_size - HEADER - TAG).map(|index| index as u8).collect(),
            run: Vec::with_capacity(plan.burst * plan.packet_size),
        }
    }

    /// Sends one frame; returns how many packets left.
    pub fn send_frame(&mut self) -> Result<usize, String> {
        self.run.clear();
        self.timestamp = self.timestamp.wrapping_add(self.timestamp_step);
        let timestamp = self.timestamp;
        for index in 0..self.burst {
            let last = index + 1 == self.burst;
            let header = self.header(timestamp, last);
            self.describe(index == 0);
            self.peer.protect(&header, &self.payload, &mut self.run)?;
            self.sequence = self.sequence.wrapping_add(1);
            self.transport_sequence = self.transport_sequence.wrapping_add(1);
        }
        self.frames += 1;
        self.peer.socket.send_run(&self.run, self.size).map_err(|error| format!("publisher: {error}"))
    }

    fn header(&self, timestamp: u32, marker: bool) -> [u8; HEADER] {
        let mut header = [0; HEADER];
        header[0] = 0x90; // version 2, extension
        header[1] = self.payload_type | if marker { 0x80 } else { 0 };
        header[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        header[4..8].copy_from_slice(&timestamp.to_be_bytes());
        header[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        header[12..16].copy_from_slice(&[0xBE, 0xDE, 0, 1]);
        header[16] = self.twcc_id << 4 | 1;
        header[17..19].copy_from_slice(&self.transport_sequence.to_be_bytes());
        header
    }

    /// VP8 payload descriptor and, in a frame's first packet, the frame header (RFC 7741 §4.2, RFC 6386 §9.1).
    fn describe(&mut self, starts_frame: bool) {
        self.payload[0] = if starts_frame { 0x10 } else { 0x00 };
        if starts_frame {
            let key = self.frames.is_multiple_of(KEYFRAME_EVERY);
            let head: [u8; 10] = [u8::from(!key) | 0x10, 2, 0, 0x9D, 0x01, 0x2A, 0x80, 0x02, 0xE0, 0x01];
            self.payload[1..11].copy_from_slice(&head);
        }
    }
}
