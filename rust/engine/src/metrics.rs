//! Counters of a shard: plain numbers on its own thread, published for other threads a few times per second.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::socket::{ReceiveCount, SendCount};

/// How often a busy shard publishes.
pub const PUBLISH_EVERY: Duration = Duration::from_millis(100);

/// Counters by name.
pub type Counters = BTreeMap<String, u64>;

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
    /// Microseconds from the arrival of a batch to the moment its datagrams were given to the kernel, per datagram.
    latency_us: Histogram<u64>,
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
            // 1 µs to 10 s in two digits: a few thousand buckets, and both bounds are constants that are accepted.
            latency_us: Histogram::new_with_bounds(1, 10_000_000, 2)
                .unwrap_or_else(|_| Histogram::new(1).expect("one digit is within the library's range")),
        }
    }
}

impl ShardMetrics {
    /// Counts what one receive call brought.
    pub fn received(&mut self, count: &ReceiveCount) {
        self.messages_received += count.messages as u64;
        self.datagrams_received += count.datagrams as u64;
        self.kernel_drops += u64::from(count.kernel_drops);
        self.unusable += count.unusable as u64;
    }

    /// Records that `datagrams` left `taken` after the batch that caused them had come.
    pub fn forwarded(&mut self, datagrams: u64, taken: Duration) {
        let us = u64::try_from(taken.as_micros()).unwrap_or(u64::MAX).max(1);
        self.latency_us.saturating_record(us);
        if datagrams > 1 {
            // Weighted by packet; a value beyond the bounds was saturated above and is not worth an error here.
            self.latency_us.record_n(us.min(10_000_000), datagrams - 1).ok();
        }
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
            ("forward_latency_us.count", self.latency_us.len()),
            ("forward_latency_us.p50", self.latency_us.value_at_quantile(0.5)),
            ("forward_latency_us.p99", self.latency_us.value_at_quantile(0.99)),
            ("forward_latency_us.p999", self.latency_us.value_at_quantile(0.999)),
            ("forward_latency_us.max", self.latency_us.max()),
        ];
        for (name, value) in named {
            set(counters, name, value);
        }
    }
}

/// Sets one counter; the name is allocated only the first time.
pub fn set(counters: &mut Counters, name: &str, value: u64) {
    match counters.get_mut(name) {
        Some(slot) => *slot = value,
        None => {
            counters.insert(name.to_owned(), value);
        }
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
    fn latency_counts_every_datagram() {
        let mut metrics = ShardMetrics::default();
        metrics.forwarded(99, Duration::from_micros(50));
        metrics.forwarded(1, Duration::from_secs(3600));
        let mut counters = Counters::new();
        metrics.write(&mut counters);
        assert_eq!(counters["forward_latency_us.count"], 100);
        assert_eq!(counters["forward_latency_us.p50"], 50);
        assert!(counters["forward_latency_us.max"] >= 9_900_000);
    }

    #[test]
    fn a_reader_keeps_the_shard_from_publishing_but_never_makes_it_wait() {
        let published = Published::default();
        let reading = published.0.lock().unwrap();
        assert!(!published.publish(|counters| set(counters, "a", 1)));
        drop(reading);
        assert!(published.publish(|counters| set(counters, "a", 2)));
        assert_eq!(published.read()["a"], 2);
    }
}
