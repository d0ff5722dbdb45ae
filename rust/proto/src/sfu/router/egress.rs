//! Egress by the clock: what has waited leaves, probes are filled, and what was counted is gathered.

use super::layers::Source;
use super::media_transport::MediaTransport;
use super::{Output, Router, TimerKey, Timers};
use crate::bwe::{ClusterId, Faults};
use crate::io::Paced;
use crate::pacer::{PacerDrops, Release};
use crate::sfu::drops::MediaDrop;
use crate::sfu::egress::Waiting;
use crate::sfu::ids::{IdMap, UpTrackId};
use crate::sfu::packet::PADDING;
use crate::sfu::retransmitter::Original;
use crate::time::Time;
use std::cmp::Reverse;

/// What egresses have counted, of transports that are gone, too.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct EgressCounts {
    pub(super) faults: Faults,
    pub(super) pacer: PacerDrops,
}

impl MediaTransport {
    /// Makes sure that what waits in the egress is looked after.
    pub(super) fn arm_waiting(&mut self, key: usize, timers: &mut Timers, now: Time) {
        if self.egress.waits() {
            self.arm_egress(key, timers, now);
        }
    }

    fn arm_egress(&mut self, key: usize, timers: &mut Timers, now: Time) {
        // A later time than the one that is there is found out when that comes: no entry for every packet.
        if let Some(at) = self.egress.poll_timeout(now)
            && at < self.egress_armed
        {
            self.egress_armed = at;
            timers.push(Reverse((at, TimerKey::Egress(key))));
        }
    }
}

impl Router {
    /// Feedback that was not believed, by reason.
    pub fn faults(&self) -> &Faults {
        &self.egress_counts.faults
    }

    /// Packets that waited in vain, by reason.
    pub fn pacer_drops(&self) -> &PacerDrops {
        &self.egress_counts.pacer
    }

    /// Lets the egress of a transport look at once at what has changed.
    pub(super) fn wake_egress(&mut self, key: usize, now: Time) {
        let transport = &mut self.transports[key];
        if now < transport.egress_armed {
            transport.egress_armed = now;
            self.timers.push(Reverse((now, TimerKey::Egress(key))));
        }
    }

    /// Does what is due for one transport.
    pub(super) fn run_egress(&mut self, key: usize, now: Time, output: &mut impl Output) {
        self.transports[key].egress.handle_timeout(now);
        while let Some(release) = self.transports[key].egress.poll(now) {
            match release {
                Release::Packet { held, class, cluster } => {
                    let Some(payload) = payload(&self.sources, &held.record) else {
                        self.drops.count(MediaDrop::PacedTooLate);
                        self.transports[key].egress.forgive(held.size);
                        continue;
                    };
                    let egress = &mut self.transports[key].egress;
                    if egress.depart(&held.record.rewrite, payload, cluster, now, output).is_some() {
                        let is_repair = class.is_repair();
                        output.paced(Paced { since: held.since, until: now, is_repair });
                    }
                }
                Release::Padding { cluster, .. } => {
                    let size = self.pad(key, cluster, now, output);
                    self.transports[key].egress.padded(size.unwrap_or(0), now);
                }
            }
        }
        self.gather(key);
        self.allocate_when_due(key, now);
        self.transports[key].arm_egress(key, &mut self.timers, now);
    }

    /// Takes over what an egress has counted.
    pub(super) fn gather(&mut self, key: usize) {
        let (faults, pacer) = self.transports[key].egress.take_counts();
        self.egress_counts.faults.merge(&faults);
        self.egress_counts.pacer.merge(&pacer);
    }

    /// Fills a probe with a packet of the past, or with padding, under the SSRC of repairs, which costs the receiver
    /// nothing (RFC 4588); how long it was.
    fn pad(&mut self, key: usize, cluster: ClusterId, now: Time, output: &mut impl Output) -> Option<usize> {
        let Router { transports, downs, sources, .. } = self;
        let transport = &mut transports[key];
        for &down in &transport.downs {
            let entry = &mut downs[down];
            let source = entry.subscription.and_then(|up| sources.get(&up));
            let find = |original: &Original| source?.packet(original);
            if let Some(answer) = entry.track.pad(find) {
                let payload = answer.packet.map_or(&PADDING[..], |packet| packet.payload);
                return transport.egress.depart(&answer.rewrite, payload, Some(cluster), now, output);
            }
        }
        None
    }
}

/// The payload of a record that has waited; `None` when the ring has it no more.
fn payload<'a>(sources: &'a IdMap<UpTrackId, Source>, waiting: &Waiting) -> Option<&'a [u8]> {
    let Some((up, original)) = &waiting.origin else { return Some(&[]) };
    Some(sources.get(up)?.packet(original)?.payload)
}
