//! A publisher: three simulcast layers of VP8 or AV1 with RTX, or sound; packets of changing size, as an encoder makes them.

use std::collections::VecDeque;
use std::time::Duration;

use mediaserver_netem::random::Random;
use mediaserver_proto::codec::vp8::Descriptor;
use mediaserver_proto::rtcp::{NtpTime, RtcpPacket, SenderInfo, packets, sender_report};
use mediaserver_proto::rtp::{AudioLevel, HeaderWriter, Ssrc};
use mediaserver_proto::time::Time;

use crate::peer::{
    ABS_SEND_TIME, AUDIO_LEVEL, DEPENDENCY, MID, OPUS, PICTURE, REPAIRED_RID, RID, RTX, TRANSPORT_SEQUENCE,
};

/// Names of the layers, from the smallest to the largest.
pub(crate) const RIDS: [&str; 3] = ["q", "h", "f"];
/// Mean bytes of a frame of each, at 30 frames a second: 150, 500 and 1500 kbit/s.
const FRAME_BYTES: [f64; 3] = [625.0, 2_083.0, 6_250.0];
const WIDTHS: [u16; 3] = [320, 640, 1280];
/// Longest payload.
const MOST_BYTES: usize = 1_150;
/// Frames between two key frames that nobody asked for.
const KEY_EVERY: u32 = 300;
/// Frames of the busy beginning.
const BUSY: u32 = 600;
/// Packets kept for retransmission.
const KEPT: usize = 256;

/// Flags and structure of a dependency descriptor with three temporal layers (AV1 RTP specification, A.10.2.1).
const STRUCTURE: [u8; 13] = [0x80, 0x02, 0x14, 0xea, 0xaa, 0x44, 0x10, 0x4d, 0x14, 0x10, 0x20, 0x84, 0x26];
/// The templates of four frames: temporal layers 0, 2, 1, 2.
const TEMPLATES: [u8; 4] = [1, 3, 2, 4];

struct Kept {
    sequence: u16,
    timestamp: u32,
    marker: bool,
    payload: Vec<u8>,
    descriptor: Vec<u8>,
}

/// One stream of the publisher.
struct Stream {
    /// Its layer; `None` for sound.
    layer: Option<usize>,
    ssrc: u32,
    sequence: u16,
    rtx_sequence: u16,
    timestamp: u32,
    /// Frames sent, and since the last keyframe.
    frames: u32,
    since_key: u32,
    packets: u32,
    octets: u32,
    next: Time,
    wants_key: bool,
    kept: VecDeque<Kept>,
}

/// See the module.
pub(crate) struct Publisher {
    mid: &'static str,
    random: Random,
    streams: Vec<Stream>,
    transport_sequence: u16,
    asked_again: VecDeque<(usize, u16)>,
    next_report: Time,
    scratch: Vec<u8>,
    payload: Vec<u8>,
    is_av1: bool,
    /// Dependency descriptor of the packet; empty for none.
    descriptor: Vec<u8>,
}

impl Publisher {
    /// Three layers; SSRCs from `first` on, those of the retransmissions 100 above them.
    pub(crate) fn video(mid: &'static str, first: u32, is_av1: bool, seed: u64) -> Publisher {
        let streams = (0..3).map(|layer| stream(Some(layer), first + layer as u32)).collect();
        Publisher { is_av1, ..publisher(mid, streams, seed) }
    }

    /// Sound.
    pub(crate) fn audio(mid: &'static str, ssrc: u32, seed: u64) -> Publisher {
        publisher(mid, vec![stream(None, ssrc)], seed)
    }

    /// NACKs are answered and keyframe requests obeyed.
    pub(crate) fn handle_rtcp(&mut self, compound: &[u8]) {
        for packet in packets(compound) {
            match packet.unwrap() {
                RtcpPacket::Nack(nack) => {
                    let Some(at) = self.streams.iter().position(|stream| stream.ssrc == nack.media.0) else { continue };
                    self.asked_again.extend(nack.sequences().map(|sequence| (at, sequence)));
                }
                RtcpPacket::Pli(pli) => {
                    for stream in self.streams.iter_mut().filter(|stream| stream.ssrc == pli.media.0) {
                        stream.wants_key = true;
                    }
                }
                _ => {}
            }
        }
    }

    /// Sends what is due.
    pub(crate) fn act(&mut self, now: Time, mut send: impl FnMut(&[u8], &[u8])) {
        while let Some((at, sequence)) = self.asked_again.pop_front() {
            self.send_again(at, sequence, now, &mut send);
        }
        for at in 0..self.streams.len() {
            while self.streams[at].next <= now {
                match self.streams[at].layer {
                    Some(layer) => self.send_frame(at, layer, now, &mut send),
                    None => self.send_sound(at, now, &mut send),
                }
            }
        }
    }

    /// A compound of sender reports, once a second.
    pub(crate) fn report(&mut self, now: Time) -> Option<&[u8]> {
        if now < self.next_report {
            return None;
        }
        self.next_report = now + Duration::from_secs(1);
        self.scratch.clear();
        let ntp = NtpTime::from_unix(Duration::from_secs(1_800_000_000) + now.since(Time::ZERO));
        for stream in &self.streams {
            let (ssrc, rtp_timestamp) = (Ssrc(stream.ssrc), stream.timestamp);
            let info = SenderInfo { ssrc, ntp, rtp_timestamp, packets: stream.packets, octets: stream.octets };
            sender_report::write(&mut self.scratch, &info, &[]);
        }
        Some(&self.scratch)
    }

    fn send_frame(&mut self, at: usize, layer: usize, now: Time, send: &mut impl FnMut(&[u8], &[u8])) {
        let stream = &mut self.streams[at];
        stream.next = stream.next + Duration::from_micros(33_333);
        stream.timestamp = stream.timestamp.wrapping_add(3_000);
        let key = std::mem::take(&mut stream.wants_key) || stream.frames.is_multiple_of(KEY_EVERY);
        // The beginning is busier than what follows: all that grows with the rate has then seen its largest.
        let scale = if stream.frames < BUSY { 1.6 } else { 1.0 };
        let factor = self.random.between(0.5, 1.5) * scale * if key { 4.0 } else { 1.0 };
        let mut left = (FRAME_BYTES[layer] * factor) as usize;
        // Two temporal layers: every other frame may be left out.
        let upper = stream.frames % 2 == 1 && !key;
        let mut descriptor = Descriptor {
            partition_start: true,
            picture_id: Some(stream.frames as u16 & 0x7fff),
            long_picture_id: true,
            tl0_picture_index: Some((stream.frames / 2) as u8),
            temporal: Some((u8::from(upper), upper)),
            non_reference: upper,
            ..Descriptor::default()
        };
        let stream = &mut self.streams[at];
        stream.since_key = if key { 0 } else { stream.since_key + 1 };
        stream.frames += 1;
        while left > 0 {
            let bytes = left.min(MOST_BYTES);
            left -= bytes;
            let mut prefix = [0; 6];
            let len = usize::from(descriptor.write(&mut prefix));
            self.payload.clear();
            self.payload.extend_from_slice(&prefix[..len]);
            if descriptor.partition_start {
                // RFC 6386 §9.1: the frame tag and, in key frames, the start code and the size.
                let [low, high] = WIDTHS[layer].to_le_bytes();
                self.payload.extend_from_slice(&[u8::from(!key) | 0x10, 2, 0]);
                if key {
                    self.payload.extend_from_slice(&[0x9d, 0x01, 0x2a, low, high, low, high]);
                }
            }
            self.payload.resize(len + bytes.max(10), 0x55);
            if self.is_av1 {
                self.describe(at, key, descriptor.partition_start, left == 0);
            }
            descriptor.partition_start = false;
            self.send_packet(at, left == 0, now, send);
        }
    }

    /// Puts a payload and a dependency descriptor of AV1 in place of what was written.
    fn describe(&mut self, at: usize, key: bool, starts: bool, ends: bool) {
        let stream = &self.streams[at];
        let template = if key { 0 } else { TEMPLATES[stream.since_key as usize % 4] };
        let [high, low] = (stream.frames as u16).to_be_bytes();
        self.descriptor.clear();
        self.descriptor.extend_from_slice(&[u8::from(starts) << 7 | u8::from(ends) << 6 | template, high, low]);
        if key && starts {
            self.descriptor.extend_from_slice(&STRUCTURE);
        }
        self.payload[0] = if starts { 0x10 } else { 0x90 };
    }

    fn send_sound(&mut self, at: usize, now: Time, send: &mut impl FnMut(&[u8], &[u8])) {
        let stream = &mut self.streams[at];
        stream.next = stream.next + Duration::from_millis(20);
        stream.timestamp = stream.timestamp.wrapping_add(960);
        self.payload.clear();
        self.payload.resize(self.random.between(40.0, 160.0) as usize, 0x33);
        self.send_packet(at, false, now, send);
    }

    fn send_packet(&mut self, at: usize, marker: bool, now: Time, send: &mut impl FnMut(&[u8], &[u8])) {
        let stream = &mut self.streams[at];
        stream.sequence = stream.sequence.wrapping_add(1);
        stream.packets += 1;
        stream.octets += self.payload.len() as u32;
        let (sequence, timestamp, ssrc) = (stream.sequence, stream.timestamp, stream.ssrc);
        if stream.layer.is_some() {
            stream.kept.push_back(Kept {
                sequence,
                timestamp,
                marker,
                payload: self.payload.clone(),
                descriptor: self.descriptor.clone(),
            });
            if stream.kept.len() > KEPT {
                stream.kept.pop_front();
            }
        }
        let payload_type = if stream.layer.is_some() { PICTURE } else { OPUS };
        self.write_header(at, HeaderWriter { marker, payload_type, sequence, timestamp, ssrc: Ssrc(ssrc) }, now);
        send(&self.scratch, &self.payload);
    }

    fn send_again(&mut self, at: usize, sequence: u16, now: Time, send: &mut impl FnMut(&[u8], &[u8])) {
        let stream = &mut self.streams[at];
        let Some(kept) = stream.kept.iter().find(|kept| kept.sequence == sequence) else { return };
        self.payload.clear();
        self.payload.extend_from_slice(&kept.sequence.to_be_bytes());
        self.payload.extend_from_slice(&kept.payload);
        self.descriptor.clone_from(&kept.descriptor);
        stream.rtx_sequence = stream.rtx_sequence.wrapping_add(1);
        let (timestamp, marker, sequence) = (kept.timestamp, kept.marker, stream.rtx_sequence);
        let ssrc = Ssrc(stream.ssrc + 100);
        self.write_header(at, HeaderWriter { marker, payload_type: RTX, sequence, timestamp, ssrc }, now);
        send(&self.scratch, &self.payload);
    }

    /// Leaves the header in the scratch buffer. Names are told in the beginning only, as browsers do.
    fn write_header(&mut self, at: usize, header: HeaderWriter, now: Time) {
        let stream = &self.streams[at];
        self.transport_sequence = self.transport_sequence.wrapping_add(1);
        let (mid, transport_sequence) = (self.mid, self.transport_sequence);
        let repairs = header.payload_type == RTX;
        let name = stream.layer.map(|layer| RIDS[layer]);
        let told = if repairs { stream.rtx_sequence > 20 } else { stream.packets > 60 };
        let level = AudioLevel { voice: true, level: (stream.packets % 90) as u8 };
        let send_time = ((now.0 / 1_000) * (1 << 18) / 1_000_000) as u32;
        let descriptor = &self.descriptor;
        self.scratch.clear();
        header.write(&mut self.scratch, |extensions| {
            if !told {
                extensions.push(MID, mid.as_bytes());
                if let Some(name) = name {
                    extensions.push(if repairs { REPAIRED_RID } else { RID }, name.as_bytes());
                }
            }
            extensions.push(TRANSPORT_SEQUENCE, &transport_sequence.to_be_bytes());
            extensions.push(ABS_SEND_TIME, &send_time.to_be_bytes()[1..]);
            if !descriptor.is_empty() {
                extensions.push(DEPENDENCY, descriptor);
            }
            if name.is_none() {
                extensions.push(AUDIO_LEVEL, &[level.to_byte()]);
            }
        });
    }
}

fn stream(layer: Option<usize>, ssrc: u32) -> Stream {
    Stream {
        layer,
        ssrc,
        sequence: 100,
        rtx_sequence: 0,
        timestamp: ssrc,
        frames: 0,
        since_key: 0,
        packets: 0,
        octets: 0,
        next: Time::ZERO,
        wants_key: false,
        kept: VecDeque::new(),
    }
}

fn publisher(mid: &'static str, streams: Vec<Stream>, seed: u64) -> Publisher {
    Publisher {
        mid,
        random: Random::new(seed),
        streams,
        transport_sequence: 0,
        asked_again: VecDeque::new(),
        next_report: Time::ZERO,
        scratch: Vec::new(),
        payload: Vec::new(),
        is_av1: false,
        descriptor: Vec::new(),
    }
}
