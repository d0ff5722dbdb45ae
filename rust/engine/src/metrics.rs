//! Counters of a shard: plain numbers on its own thread, published for other threads a few times per second.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mediaserver_proto::io::Paced;
use mediaserver_proto::time::Time;

use crate::counters::{Counters, set};
use crate::latency::Latency;
use crate::socket::{ReceiveCount, SendCount};

/// How often a busy shard publishes.
pub const PUBLISH_EVERY: Duration = Duration::from_millis(100);
/// Who found a reader comes again so soon.
const AGAIN_AFTER: Duration = Duration::from_millis(1);

/// When a thread publishes: only what is new, and not more often than every [`PUBLISH_EVERY`].
#[derive(Debug)]
pub struct Publishing {
    at: Time,
    changed: bool,
}

impl Default for Publishing {
    fn default() -> Publishing {
        Publishing { at: Time::ZERO, changed: true }
    }
}

impl Publishing {
    /// There is something new.
    pub fn changed(&mut self) {
        self.changed = true;
    }

    /// Whether it is time.
    pub fn is_due(&self, now: Time) -> bool {
        self.changed && now.since(self.at) >= PUBLISH_EVERY
    }

    /// How long until then; `None` while nothing is new.
    pub fn wait(&self, now: Time) -> Option<Duration> {
        self.changed.then(|| (self.at + PUBLISH_EVERY).since(now).max(AGAIN_AFTER))
    }

    /// All of it has been published.
    pub fn done(&mut self, now: Time) {
        *self = Publishing { at: now, changed: false };
    }
}

/// What a shard counts about its own loop and sockets.
#[derive(Debug)]
pub struct ShardMetrics {
    /// Rounds of the loop.
    pub rounds: u64,
    /// Batches given to the endpoint.
    pub batches: u64,
    /// Datagrams in them.
    pub datagrams_received: u64,
    /// Bytes in them.
    pub bytes_received: u64,
    /// Messages in which they came; fewer than datagrams where UDP_GRO joined some.
    pub messages_received: u64,
    /// Datagrams that the kernel dropped because a receive buffer was full.
    pub kernel_drops: u64,
    /// Received messages that were cut or had no usable source.
    pub unusable: u64,
    /// Errors of receive calls.
    pub receive_errors: u64,
    /// What became of outgoing datagrams.
    pub sent: SendCount,
    /// Panics caught.
    pub panics: u64,
    /// Events that the control plane did not fetch in time.
    pub events_lost: u64,
    /// Messages to other shards for which their ring had no room.
    pub handover_full: u64,
    /// From the arrival of a packet to the moment when the datagrams that it caused were given to the kernel, with what
    /// those have waited for their turn.
    pub latency: Latency,
    /// What packets have waited for their turn, where they had to.
    pub pacing: Latency,
}

impl Default for ShardMetrics {
    fn default() -> ShardMetrics {
        ShardMetrics {
            rounds: 0,
            batches: 0,
            datagrams_received: 0,
            bytes_received: 0,
            messages_received: 0,
            kernel_drops: 0,
            unusable: 0,
            receive_errors: 0,
            sent: SendCount::default(),
            panics: 0,
            events_lost: 0,
            handover_full: 0,
            latency: Latency::new("forward_latency_us"),
            pacing: Latency::new("pacing_delay_us"),
        }
    }
}

impl ShardMetrics {
    /// Counts packets that have waited for their turn and were given to the kernel at `now`. What was sent again was
    /// late before; that is no matter of ours.
    pub fn paced(&mut self, paced: &[Paced], now: Time) {
        for packet in paced {
            self.pacing.add(1, packet.until.since(packet.since));
            if !packet.is_repair {
                self.latency.add(1, now.since(packet.since));
            }
        }
    }

    /// Counts what one receive call brought.
    pub fn received(&mut self, count: &ReceiveCount) {
        self.messages_received += count.messages as u64;
        self.datagrams_received += count.datagrams as u64;
        self.kernel_drops += u64::from(count.kernel_drops);
        self.unusable += count.unusable as u64;
    }

    /// Writes all of it under its names.
    pub fn write(&self, counters: &mut Counters) {
        let sent = &self.sent;
        let named = [
            ("rounds", self.rounds),
            ("batches", self.batches),
            ("datagrams_received", self.datagrams_received),
            ("bytes_received", self.bytes_received),
            ("messages_received", self.messages_received),
            ("drop.kernel_receive_buffer", self.kernel_drops),
            ("drop.unusable_message", self.unusable),
            ("receive_errors", self.receive_errors),
            ("datagrams_sent", sent.datagrams),
            ("bytes_sent", sent.bytes),
            ("send_calls", sent.calls),
            ("gso_runs", sent.runs),
            ("drop.send_would_block", sent.would_block),
            ("drop.send_refused", sent.refused),
            ("drop.send_no_socket", sent.no_socket),
            ("panics", self.panics),
            ("events_lost", self.events_lost),
            ("drop.handover_full", self.handover_full),
        ];
        for (name, value) in named {
            set(counters, name, value);
        }
        self.latency.write(counters);
        self.pacing.write(counters);
    }
}

/// Where a shard publishes its counters; the shard never waits for a reader.
#[derive(Clone, Debug, Default)]
pub struct Published(Arc<Mutex<Counters>>);

impl Published {
    /// Lets `write` bring the published counters up to date; whether it could (nobody was reading).
    pub fn publish(&self, write: impl FnOnce(&mut Counters)) -> bool {
        match self.0.try_lock() {
            Ok(mut counters) => {
                counters.begin();
                write(&mut counters);
                true
            }
            Err(_) => false,
        }
    }

    /// The counters as last published.
    pub fn read(&self) -> Counters {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_keeps_the_shard_from_publishing_but_never_makes_it_wait() {
        let published = Published::default();
        let reading = published.0.lock().unwrap();
        assert!(!published.publish(|counters| set(counters, "a", 1)));
        drop(reading);
        assert!(published.publish(|counters| set(counters, "a", 2)));
        assert_eq!(published.read().get("a"), Some(2));
    }

    #[test]
    fn only_what_is_new_is_published_and_not_at_once_again() {
        let mut publishing = Publishing::default();
        let (soon, later) = (Time::from_millis(40), Time::from_millis(100));
        assert_eq!((publishing.is_due(soon), publishing.wait(soon)), (false, Some(Duration::from_millis(60))));
        assert_eq!((publishing.is_due(later), publishing.wait(later)), (true, Some(AGAIN_AFTER)));
        publishing.done(later);
        assert_eq!((publishing.is_due(later + PUBLISH_EVERY), publishing.wait(later)), (false, None));
        publishing.changed();
        assert_eq!((publishing.is_due(later), publishing.is_due(later + PUBLISH_EVERY)), (false, true));
    }

    #[test]
    fn what_has_waited_counts_in_both_histograms_and_what_was_sent_again_in_one() {
        let mut metrics = ShardMetrics::default();
        let (since, until) = (Time::from_millis(1), Time::from_millis(9));
        let paced = [false, true].map(|is_repair| Paced { since, until, is_repair });
        metrics.paced(&paced, until + Duration::from_micros(100));
        let mut counters = Counters::default();
        metrics.write(&mut counters);
        assert_eq!(
            (counters.get("pacing_delay_us.count").unwrap(), counters.get("pacing_delay_us.sum").unwrap()),
            (2, 16_000)
        );
        assert_eq!(
            (counters.get("forward_latency_us.count").unwrap(), counters.get("forward_latency_us.sum").unwrap()),
            (1, 8_100)
        );
    }
}
