//! What leaves by one transport: numbered for the peer's feedback, paced, and within the estimate of the line.

use super::down_track::DownTrack;
use super::drops::MediaDrop;
use super::ids::{TransportId, UpTrackId};
use super::packet::{Departure, Rewrite, UpPacket};
use super::retransmitter::Original;
use super::rewriter::REMEMBERED;
use super::router::Output;
use crate::bwe::{Bounds, ClusterId, Demand, Estimator, Faults, Figures};
use crate::io::Carries;
use crate::pacer::{Admission, Class, Pacer, PacerDrops, Release};
use crate::rtcp::twcc::TwccFeedback;
use crate::rtp::Ssrc;
use crate::time::Time;
use std::time::Duration;

/// Header with extensions and SRTP tag, about; what really left is known afterwards.
const OVERHEAD: usize = 44;
/// What is assumed of a line before its peer has reported, and the bounds of every estimate.
const BOUNDS: Bounds = Bounds { min_bps: 50_000, start_bps: 1_000_000, max_bps: 100_000_000 };
/// An estimate of so many times what is granted leaves room for keyframes and what is sent again.
const ROOM: u64 = 2;
/// And no less than this is probed for, however little is granted: it may be little because little is known.
const LEAST_GRANTED_BPS: u64 = 300_000;
/// A peer that negotiated feedback and gives none for so long is served without an estimate.
const PATIENCE: Duration = Duration::from_secs(3);

/// With a queue this long on the line (milliseconds) what is lost was lost to it.
const FULL_QUEUE_MS: f64 = 30.0;
/// A probe that cannot be sent yet is looked at again after so long.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// A packet that waits for its turn: how it is rewritten, and where its payload lies; without an origin it has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Its record.
    pub rewrite: Rewrite,
    /// The source, and where in its rings the payload lies.
    pub origin: Option<(UpTrackId, Original)>,
}

/// Whether the estimate is known, and may be acted upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    /// Feedback is expected since then.
    Awaited(Time),
    /// It has come.
    Heard,
}

/// The part of a transport whose peer gives feedback about what it receives.
#[derive(Debug)]
struct Control {
    estimator: Estimator,
    pacer: Pacer<Waiting>,
    peer: Peer,
    padding_packets: u64,
    /// What the tracks cost as they are granted, and whether they could use more.
    granted_bps: u64,
    demand: bool,
    /// As of the last look.
    figures: Figures,
}

/// Figures of the line to a peer, as of the last feedback.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BandwidthStats {
    /// What the line carries, in bits per second.
    pub estimate_bps: u64,
    /// What arrives, in bits per second.
    pub acked_bps: u64,
    /// Delay by queues on the line.
    pub queue: Duration,
    /// Packets lost on it, of a thousand.
    pub lost_per_mille: u16,
    /// Probes sent, and those that the line carried.
    pub probes: (u64, u64),
    /// Packets sent again only to find out what the line carries.
    pub padding_packets: u64,
    /// Bytes that wait for their turn.
    pub waiting_bytes: usize,
}

/// See the module.
#[derive(Debug)]
pub struct Egress {
    transport: TransportId,
    /// The next transport-wide sequence number (draft-holmer-rmcat-transport-wide-cc-extensions-01 §2).
    sequence: u16,
    /// Whether the peer reports packet by packet.
    numbered: bool,
    /// Whether a packet with a number has left.
    begun: bool,
    control: Option<Box<Control>>,
    /// Most that may leave, in bits per second, whatever the line carries: by our operator, and by the peer.
    limit_bps: Option<u64>,
    peer_limit_bps: Option<u64>,
}

impl Egress {
    /// Of a transport whose peer has not reported.
    pub fn new(transport: TransportId) -> Egress {
        Egress {
            transport,
            sequence: 0,
            numbered: false,
            begun: false,
            control: None,
            limit_bps: None,
            peer_limit_bps: None,
        }
    }

    /// Sends a packet now, or keeps it until it is its turn.
    pub fn send(
        &mut self,
        class: Class,
        rewrite: &Rewrite,
        packet: Option<&UpPacket<'_>>,
        now: Time,
        output: &mut impl Output,
    ) {
        let payload = packet.map_or(&[][..], |packet| packet.payload);
        if let Some(control) = &mut self.control
            && control.peer == Peer::Heard
        {
            let size = rewrite.prefix().len() + payload.len() - rewrite.skip().min(payload.len()) + OVERHEAD;
            let class = match (class, rewrite.carries) {
                (Class::Video, Carries::Screen) => Class::Screen,
                (Class::Retransmission, Carries::Screen) => Class::ScreenRetransmission,
                (class, _) => class,
            };
            if control.pacer.admit(class, size, now) == Admission::Hold {
                let origin = packet.map(|packet| (packet.meta.up, Original::of(&packet.meta)));
                // What there is no room for is counted by the pacer; the receiver asks for it again.
                control.pacer.hold(class, size, Waiting { rewrite: *rewrite, origin }, now).ok();
                return;
            }
        }
        self.depart(rewrite, payload, None, now, output);
    }

    /// A track goes over to another source. On a line that is full, what waits of the old one is dropped from the next
    /// frame on and what was lost of it is not sent again, so that the keyframe which the track begins with leaves at once.
    pub fn abandon(&mut self, track: &mut DownTrack) {
        let Some(control) = &mut self.control else { return };
        if control.pacer.is_empty() && control.figures.queue_ms < FULL_QUEUE_MS {
            return;
        }
        let (ssrc, repair) = track.ssrcs();
        let own = |waiting: &Waiting| waiting.rewrite.ssrc == ssrc;
        let own_waiting = || control.pacer.waiting_video().filter(|held| own(&held.record));
        // A frame that has begun is finished.
        let first = own_waiting().next().map(|held| &held.record.rewrite);
        let begun = first.filter(|first| track.has_begun(first.timestamp, first.sequence)).map(|first| first.timestamp);
        let is_later = |rewrite: &Rewrite| begun != Some(rewrite.timestamp);
        let mut waits = [false; REMEMBERED as usize];
        for held in own_waiting().filter(|held| is_later(&held.record.rewrite)) {
            waits[(held.record.rewrite.sequence % REMEMBERED) as usize] = true;
        }
        let from = track.take_back(|sequence| waits[(sequence % REMEMBERED) as usize]);
        let goes = |waiting: &Waiting| {
            let rewrite = &waiting.rewrite;
            (own(waiting) && rewrite.sequence >= from && is_later(rewrite)) || Some(rewrite.ssrc) == repair
        };
        let (mut packets, mut octets, mut pictures, mut last) = (0, 0, 0, None);
        for held in own_waiting().filter(|held| goes(&held.record)) {
            packets += 1;
            octets += (held.size - OVERHEAD) as u64;
            pictures += u64::from(last.replace(held.record.rewrite.timestamp) != Some(held.record.rewrite.timestamp));
        }
        control.pacer.abandon(goes);
        track.uncount(packets, octets, pictures);
    }

    /// The peer takes pictures and says that it reports what arrives: from now on it is waited for.
    pub fn expect_feedback(&mut self, now: Time) {
        self.numbered = true;
        let control = self.control.get_or_insert_with(|| Box::new(Control::new(now)));
        if control.peer != Peer::Heard {
            control.peer = Peer::Awaited(now);
        }
    }

    /// Bounds what may leave, in bits per second.
    pub fn set_limit(&mut self, bps: Option<u64>) {
        self.limit_bps = bps;
    }

    /// Takes what the peer wants at most, in bits per second.
    pub fn set_peer_limit(&mut self, bps: u64) {
        self.peer_limit_bps = Some(bps);
    }

    /// Most that may leave.
    pub fn limit_bps(&self) -> Option<u64> {
        self.limit_bps.into_iter().chain(self.peer_limit_bps).min()
    }

    /// Whether the peer has told anything of the line.
    pub fn knows_line(&self) -> bool {
        self.control.as_ref().is_some_and(|control| control.peer == Peer::Heard)
    }

    /// Whether more than the estimate may be tried: of a peer that cannot be probed, within the limit.
    pub fn may_try(&self, now: Time) -> bool {
        let bounded = self.limit_bps().is_some_and(|limit| self.line_bps(now).is_none_or(|line| line >= limit));
        !self.numbered && !bounded
    }

    /// Hands a packet over to be encrypted; how long it became, if it could leave.
    pub fn depart(
        &mut self,
        rewrite: &Rewrite,
        payload: &[u8],
        cluster: Option<ClusterId>,
        now: Time,
        output: &mut impl Output,
    ) -> Option<usize> {
        let departure = Departure { now, transport_sequence: self.sequence };
        let size = output.rtp(self.transport, rewrite, &departure, payload)?;
        // Used up only when it is on the wire: a number that never left would be reported as lost.
        let numbered = rewrite.has_transport_sequence();
        self.sequence = self.sequence.wrapping_add(u16::from(numbered));
        self.begun |= numbered;
        if let Some(control) = &mut self.control {
            match numbered {
                true => control.estimator.sent(departure.transport_sequence, size, cluster, now),
                false => control.estimator.sent_untracked(size, now),
            }
        }
        Some(size)
    }

    /// Takes transport-wide feedback.
    pub fn feedback(&mut self, feedback: &TwccFeedback<'_>, now: Time) -> Result<(), MediaDrop> {
        match &mut self.control {
            Some(control) => {
                control.peer = Peer::Heard;
                control.estimator.feedback(feedback, now);
                Ok(())
            }
            // Sound alone goes without an estimate.
            None if self.begun => Ok(()),
            None => Err(MediaDrop::FeedbackUnexpected),
        }
    }

    /// Takes the peer's own estimate, for peers without transport-wide feedback.
    pub fn remb(&mut self, bps: u64, now: Time) {
        let control = self.control.get_or_insert_with(|| Box::new(Control::new(now)));
        control.peer = Peer::Heard;
        control.estimator.remb(bps, now);
    }

    /// Takes what receiver reports tell of losses since the ones before.
    pub fn receiver_report(&mut self, lost: u32, packets: u32, now: Time) {
        if let Some(control) = &mut self.control {
            control.estimator.receiver_report(lost, packets, now);
        }
    }

    /// Does what is due; what is to leave comes from [`Egress::poll`].
    pub fn handle_timeout(&mut self, now: Time) {
        let limit_bps = self.limit_bps();
        let Some(control) = &mut self.control else { return };
        control.estimator.handle_timeout(now);
        control.pacer.set_rate(control.estimator.estimate_bps(now), now);
        control.pacer.set_spread(control.estimator.wants_spread());
        control.figures = control.estimator.figures(now);
        control.pacer.set_roomy(control.estimator.leaves_room(now));
        // A line that carries far more than there is to send needs no more of it known.
        let bounded = limit_bps.is_some_and(|limit| control.figures.estimate_bps >= limit);
        let wanted = control.demand || control.figures.estimate_bps < ROOM * control.granted_bps.max(LEAST_GRANTED_BPS);
        if control.peer == Peer::Heard
            && wanted
            && !bounded
            && let Some(probe) = control.estimator.poll_probe(now)
        {
            control.pacer.start_probe(probe, now);
        }
    }

    /// What is to leave now; call until it is `None`.
    pub fn poll(&mut self, now: Time) -> Option<Release<Waiting>> {
        self.control.as_mut()?.pacer.poll(now)
    }

    /// What was to leave is gone: a packet of `size` bytes.
    pub fn forgive(&mut self, size: usize) {
        if let Some(control) = &mut self.control {
            control.pacer.forgive(size);
        }
    }

    /// Whether packets of a picture wait that were forwarded under this timestamp.
    pub fn holds(&self, ssrc: Ssrc, timestamp: u32) -> bool {
        let Some(control) = &self.control else { return false };
        let is_it = |waiting: &Waiting| waiting.rewrite.ssrc == ssrc && waiting.rewrite.timestamp == timestamp;
        control.pacer.waiting_video().any(|held| is_it(&held.record))
    }

    /// Tells how many bytes of padding left; 0 when there is nothing to pad with, which ends the probe.
    pub fn padded(&mut self, bytes: usize, now: Time) {
        let Some(control) = &mut self.control else { return };
        control.padding_packets += u64::from(bytes > 0);
        if let Some(cluster) = control.pacer.padded(bytes, now) {
            control.estimator.cancel_probe(cluster);
        }
    }

    /// Takes what the tracks are granted, and what the next step up would need.
    pub fn set_demand(&mut self, granted_bps: u64, demand: Demand) {
        if let Some(control) = &mut self.control {
            (control.granted_bps, control.demand) = (granted_bps, demand.next_step_bps.is_some());
            control.estimator.set_demand(demand);
        }
    }

    /// When [`Egress::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self, now: Time) -> Option<Time> {
        let control = self.control.as_ref()?;
        // What is overdue there waits for feedback, which comes more often than this, or not at all.
        let estimator = control.estimator.poll_timeout().map(|at| if at > now { at } else { now + LOOK_AGAIN });
        let patience = match control.peer {
            Peer::Awaited(since) => Some(since + PATIENCE).filter(|&at| at > now),
            Peer::Heard => None,
        };
        control.pacer.poll_timeout().into_iter().chain(estimator).chain(patience).min()
    }

    /// Whether anything waits for its turn.
    pub fn waits(&self) -> bool {
        self.control.as_ref().is_some_and(|control| !control.pacer.is_empty())
    }

    /// What may leave, in bits per second: what the line carries within the limit; `None` without either.
    pub fn estimate_bps(&self, now: Time) -> Option<u64> {
        self.line_bps(now).into_iter().chain(self.limit_bps()).min()
    }

    /// What the line carries, in bits per second; `None` where that is not known and not to be found out.
    fn line_bps(&self, now: Time) -> Option<u64> {
        let control = self.control.as_ref()?;
        match control.peer {
            Peer::Heard => Some(control.estimator.estimate_bps(now)),
            Peer::Awaited(since) if now.since(since) < PATIENCE => Some(BOUNDS.start_bps),
            Peer::Awaited(_) => None,
        }
    }

    /// Figures for statistics; `None` while the peer has told nothing.
    pub fn stats(&self) -> Option<BandwidthStats> {
        let control = self.control.as_ref().filter(|control| control.peer == Peer::Heard)?;
        let figures = &control.figures;
        Some(BandwidthStats {
            estimate_bps: figures.estimate_bps,
            acked_bps: figures.acked_bps,
            queue: Duration::from_secs_f64(figures.queue_ms.clamp(0.0, 60_000.0) / 1e3),
            lost_per_mille: (figures.loss * 1e3) as u16,
            probes: figures.probes,
            padding_packets: control.padding_packets,
            waiting_bytes: control.pacer.waiting_bytes(),
        })
    }

    /// Hands out what was counted since the last call: feedback that was not believed, packets that waited in vain.
    pub fn take_counts(&mut self) -> (Faults, PacerDrops) {
        let Some(control) = &mut self.control else { return Default::default() };
        (control.estimator.faults_mut().take(), control.pacer.drops_mut().take())
    }
}

impl Control {
    fn new(now: Time) -> Control {
        Control {
            estimator: Estimator::new(BOUNDS),
            pacer: Pacer::new(BOUNDS.start_bps),
            peer: Peer::Awaited(now),
            padding_packets: 0,
            granted_bps: 0,
            demand: false,
            figures: Figures::default(),
        }
    }
}
