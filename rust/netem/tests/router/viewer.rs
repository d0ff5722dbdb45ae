//! A viewer behind a line: what arrives, which frames of it can be shown, and the feedback that a browser gives.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use mediaserver_netem::{Delivery, Link};
use mediaserver_proto::bwe::FeedbackGenerator;
use mediaserver_proto::rtcp::{nack, pli};
use mediaserver_proto::rtp::extension::elements;
use mediaserver_proto::rtp::{RtpPacket, Ssrc};
use mediaserver_proto::sfu::{DownTrackId, TransportId, UpTrackId};
use mediaserver_proto::time::Time;

use crate::publisher::TRAILER;

pub(crate) const MEDIA_TYPE: u8 = 120;
pub(crate) const REPAIR_TYPE: u8 = 121;
pub(crate) const NUMBERS: u8 = 2;
const REPORTER: Ssrc = Ssrc(1);

/// A frame that was shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown {
    pub(crate) ms: u64,
    pub(crate) layer: u8,
}

#[derive(Default)]
struct Frame {
    parts: u64,
    count: u8,
    /// How many frames before is the one that it needs; 0 for a keyframe.
    needs: u8,
}

/// One picture at the viewer.
pub(crate) struct Picture {
    pub(crate) down: DownTrackId,
    pub(crate) up: UpTrackId,
    pub(crate) ssrc: Ssrc,
    pub(crate) shown: Vec<Shown>,
    frames: BTreeMap<(u8, u32), Frame>,
    last: Option<(u8, u32)>,
    /// The frames shown lately, for those that need them.
    decoded: VecDeque<(u8, u32)>,
    highest: Option<u16>,
    /// Sequence numbers that came under its own SSRC; no run is long enough for them to wrap.
    numbers: BTreeSet<u16>,
    missing: BTreeMap<u16, u64>,
    asked_ms: u64,
}

impl Picture {
    pub(crate) fn new(down: DownTrackId, up: UpTrackId) -> Picture {
        Picture {
            down,
            up,
            ssrc: Ssrc(0x9000 + down.0 as u32),
            shown: Vec::new(),
            frames: BTreeMap::new(),
            last: None,
            decoded: VecDeque::new(),
            highest: None,
            numbers: BTreeSet::new(),
            missing: BTreeMap::new(),
            asked_ms: 0,
        }
    }

    /// Where its retransmissions come.
    pub(crate) fn repair(&self) -> Ssrc {
        Ssrc(self.ssrc.0 + 0x1000)
    }

    fn number(&mut self, sequence: u16, ms: u64) {
        self.missing.remove(&sequence);
        let highest = *self.highest.get_or_insert(sequence);
        let ahead = sequence.wrapping_sub(highest);
        if ahead > 0 && ahead < 0x8000 {
            self.missing.extend((1..ahead).map(|gap| (highest.wrapping_add(gap), ms)));
            self.highest = Some(sequence);
        }
    }

    fn packet(&mut self, payload: &[u8], ms: u64) {
        let [layer, needs, a, b, c, d, part, count] = *payload.last_chunk::<TRAILER>().expect("a trailer");
        let frame = (layer, u32::from_be_bytes([a, b, c, d]));
        let known = self.frames.entry(frame).or_default();
        (known.count, known.needs) = (count, needs);
        known.parts |= 1 << part;
        self.show(ms);
    }

    /// Shows what can be decoded: a whole keyframe, or a whole frame of which the one that it needs was shown.
    fn show(&mut self, ms: u64) {
        while let Some((&id, _)) = self.frames.iter().find(|(id, frame)| {
            let whole = frame.parts.count_ones() == u32::from(frame.count);
            let follows =
                self.decoded.iter().any(|(layer, number)| *layer == id.0 && number + u32::from(frame.needs) == id.1);
            let newer = self.last.is_none_or(|(layer, number)| layer != id.0 || number < id.1);
            whole && newer && (frame.needs == 0 || follows)
        }) {
            self.last = Some(id);
            self.decoded.truncate(3);
            self.decoded.push_front(id);
            self.shown.push(Shown { ms, layer: id.0 });
            self.frames.retain(|other, _| other.0 == id.0 && other.1 > id.1);
        }
    }

    /// Asks for what is missing, and for a keyframe when it has waited for long.
    fn requests(&mut self, ms: u64, out: &mut Vec<u8>) {
        self.missing.retain(|_, since| ms - *since < 1_000);
        if ms - self.asked_ms >= 60 && !self.missing.is_empty() {
            self.asked_ms = ms;
            let numbers: Vec<u16> = self.missing.keys().copied().take(60).collect();
            nack::write(out, REPORTER, self.ssrc, &numbers);
        }
        let still_ms = self.shown.last().map_or(ms, |shown| ms - shown.ms);
        if still_ms >= 400 && still_ms.is_multiple_of(400) && !self.frames.is_empty() {
            pli::write(out, REPORTER, self.ssrc);
        }
    }

    /// The layer that was shown at `ms`.
    pub(crate) fn layer_at(&self, ms: u64) -> Option<u8> {
        self.shown.iter().take_while(|shown| shown.ms <= ms).last().map(|shown| shown.layer)
    }

    /// Whether a layer was shown without a break from one moment to another.
    pub(crate) fn shows(&self, layer: u8, from_ms: u64, to_ms: u64) -> bool {
        let mut within = self.shown.iter().filter(|shown| (from_ms..=to_ms).contains(&shown.ms)).peekable();
        within.peek().is_some() && within.all(|shown| shown.layer == layer)
    }

    /// The longest time without a new frame, in milliseconds.
    pub(crate) fn longest_freeze(&self, from_ms: u64, to_ms: u64) -> u64 {
        let within = self.shown.iter().map(|shown| shown.ms).filter(|ms| (from_ms..=to_ms).contains(ms));
        let marks: Vec<u64> = std::iter::once(from_ms).chain(within).chain([to_ms]).collect();
        marks.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0)
    }

    pub(crate) fn frames_per_s(&self, from_ms: u64, to_ms: u64) -> f64 {
        let count = self.shown.iter().filter(|shown| (from_ms..to_ms).contains(&shown.ms)).count();
        count as f64 * 1e3 / (to_ms - from_ms) as f64
    }

    pub(crate) fn switches(&self, from_ms: u64, to_ms: u64) -> usize {
        let within: Vec<u8> =
            self.shown.iter().filter(|shown| (from_ms..to_ms).contains(&shown.ms)).map(|shown| shown.layer).collect();
        within.windows(2).filter(|pair| pair[0] != pair[1]).count()
    }
}

/// Whoever sits behind the line.
pub(crate) struct Viewer {
    pub(crate) transport: TransportId,
    pub(crate) line: Link<Vec<u8>>,
    /// Of what it says, on its way back.
    pub(crate) delay: Duration,
    pub(crate) pictures: Vec<Picture>,
    pub(crate) detour: Duration,
    pub(crate) queued_ms: Vec<(u64, u64)>,
    arrived_bytes: Vec<(u64, usize)>,
    feedback: FeedbackGenerator,
    gives_feedback: bool,
}

impl Viewer {
    pub(crate) fn new(number: u8, delay: Duration, line: Link<Vec<u8>>, gives_feedback: bool) -> Viewer {
        Viewer {
            transport: TransportId(u64::from(number)),
            line,
            delay,
            pictures: Vec::new(),
            detour: Duration::ZERO,
            queued_ms: Vec::new(),
            arrived_bytes: Vec::new(),
            feedback: FeedbackGenerator::default(),
            gives_feedback,
        }
    }

    pub(crate) fn arrived(&mut self, delivery: &Delivery<Vec<u8>>) {
        let ms = delivery.at.as_millis();
        self.arrived_bytes.push((ms, delivery.payload.len()));
        self.queued_ms.push((ms, delivery.queued.as_millis() as u64));
        let packet = RtpPacket::parse(&delivery.payload).expect("what is sent parses");
        let number = elements(packet.extension_profile, packet.extension)
            .find(|(id, _)| *id == NUMBERS)
            .expect("a transport-wide number");
        self.feedback.set_media(packet.ssrc);
        self.feedback.arrived(u16::from_be_bytes([number.1[0], number.1[1]]), delivery.at);
        let repairs = packet.payload_type == REPAIR_TYPE;
        let found = self
            .pictures
            .iter_mut()
            .find(|picture| packet.ssrc == if repairs { picture.repair() } else { picture.ssrc });
        let picture = found.expect("an SSRC that was told");
        if packet.payload.is_empty() {
            return; // Padding.
        }
        assert!(repairs || picture.numbers.insert(packet.sequence), "sequence number {} twice", packet.sequence);
        let (sequence, payload) = match repairs {
            true => (u16::from_be_bytes([packet.payload[0], packet.payload[1]]), &packet.payload[2..]),
            false => (packet.sequence, packet.payload),
        };
        picture.number(sequence, ms);
        if !payload.is_empty() {
            picture.packet(payload, ms);
        }
    }

    /// What it has to say now.
    pub(crate) fn speak(&mut self, now: Time) -> Vec<Vec<u8>> {
        let mut said = Vec::new();
        loop {
            let mut out = Vec::new();
            if !self.gives_feedback || !self.feedback.write(REPORTER, now, &mut out) {
                break;
            }
            said.push(out);
        }
        for picture in &mut self.pictures {
            let mut out = Vec::new();
            picture.requests(now.as_millis(), &mut out);
            if !out.is_empty() {
                said.push(out);
            }
        }
        said
    }

    /// What arrives, in bits per second, with everything that the line carries.
    pub(crate) fn arrives_bps(&self, from_ms: u64, to_ms: u64) -> f64 {
        let within = self.arrived_bytes.iter().filter(|(ms, _)| (from_ms..to_ms).contains(ms));
        within.map(|(_, bytes)| *bytes as f64).sum::<f64>() * 8e3 / (to_ms - from_ms) as f64
    }

    pub(crate) fn worst_queue_ms(&self, from_ms: u64, to_ms: u64) -> u64 {
        let within = self.queued_ms.iter().filter(|(ms, _)| (from_ms..to_ms).contains(ms));
        within.map(|(_, queued)| *queued).max().unwrap_or(0)
    }
}
