//! The threads beside an Edge's, which have other ways in and out than its sockets.

use mediaserver_proto::endpoint::ShardMessage;
use mediaserver_proto::io::{ReceiveBatch, TransmitQueue};
use mediaserver_proto::time::Time;

use crate::carried::Carried;
use crate::metrics::{Counters, ShardMetrics};
use crate::worker::Links;

/// Messages of one round; more wait for the sockets to have their turn.
pub(super) const MESSAGES_PER_ROUND: usize = 256;

/// See the module.
#[derive(Debug)]
pub struct Neighbours {
    pub(super) links: Links,
    carried: Carried,
    /// From whom the next message is looked for.
    turn_of: usize,
    /// Which threads were given something in this round.
    passed: Vec<bool>,
}

impl Neighbours {
    /// With nothing for any.
    pub fn new(links: Links) -> Neighbours {
        let threads = links.outbound.len();
        Neighbours { links, carried: Carried::new(threads), turn_of: 0, passed: vec![false; threads] }
    }

    /// Whether something of them waits here, or of ours for them.
    pub(super) fn has_input(&self) -> bool {
        self.links.inbox.slots() > 0 || self.links.inbound.iter().flatten().any(|ring| ring.slots() > 0)
    }

    /// The next message, each thread in turn; a buffer that comes back is none.
    pub(super) fn take_message(&mut self) -> Option<(usize, ShardMessage)> {
        let count = self.links.inbound.len();
        for _ in 0..count {
            let from = self.turn_of % count;
            self.turn_of = from + 1;
            while let Some(message) = self.links.inbound[from].as_mut().and_then(|ring| ring.pop().ok()) {
                if let Some(message) = self.carried.take_returned(from, message) {
                    return Some((from, message));
                }
            }
        }
        None
    }

    /// Takes those datagrams of `queue` that others are to send.
    pub(super) fn collect(&mut self, queue: &TransmitQueue<'_>, arrived: Option<Time>) {
        self.carried.collect(queue, arrived);
    }

    /// A buffer goes back to whom it belongs; one that finds no room is made anew there.
    pub(super) fn give_back(&mut self, to: usize, batch: Box<ReceiveBatch>) {
        self.pass(to, ShardMessage::Returned(batch)).ok();
    }

    /// Passes on what was collected, and wakes who was given something. Media that finds no room is lost, as on a network.
    pub(super) fn flush(&mut self, metrics: &mut ShardMetrics) {
        while let Some((to, batch)) = self.carried.take() {
            if let Err(message) = self.pass(to, ShardMessage::Datagrams(batch)) {
                metrics.handover_full += 1;
                self.carried.take_back(message);
            }
        }
        for (to, passed) in self.passed.iter_mut().enumerate() {
            if std::mem::take(passed) {
                self.links.wakers[to].wake();
            }
        }
    }

    /// Writes the counters under their names.
    pub(super) fn write(&self, counters: &mut Counters) {
        self.carried.write(counters);
    }

    fn pass(&mut self, to: usize, message: ShardMessage) -> Result<(), ShardMessage> {
        let Some(ring) = self.links.outbound.get_mut(to).and_then(Option::as_mut) else { return Ok(()) };
        ring.push(message).map_err(|rtrb::PushError::Full(message)| message)?;
        self.passed[to] = true;
        Ok(())
    }
}
