//! What is recorded of a flow: bytes, delays and losses in steps of 100 ms.

use std::time::Duration;

use mediaserver_proto::time::Time;

/// Length of a step in milliseconds.
pub const STEP_MS: u64 = 100;

/// The record of one flow.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FlowMetrics {
    /// Bytes that arrived, by step.
    pub arrived: Vec<u64>,
    /// Longest wait in the queue in microseconds, by step of arrival.
    pub worst_queue_us: Vec<u64>,
    /// Wait of every packet in microseconds.
    pub queue_us: Vec<u32>,
    /// Packets sent.
    pub sent: u64,
    /// Packets that arrived.
    pub received: u64,
    /// Whether a TCP flow had something to send, by step.
    pub busy: Vec<bool>,
    /// When frames were shown, in milliseconds.
    pub shown_ms: Vec<u64>,
    /// Layer steps: milliseconds, and the layer unless it was paused.
    pub layer_steps: Vec<(u64, Option<usize>)>,
}

impl FlowMetrics {
    /// A packet has arrived.
    pub fn arrived(&mut self, size: usize, queued: Duration, now: Time) {
        let step = (now.as_millis() / STEP_MS) as usize;
        if self.arrived.len() <= step {
            self.arrived.resize(step + 1, 0);
            self.worst_queue_us.resize(step + 1, 0);
        }
        let queued_us = queued.as_micros() as u64;
        self.arrived[step] += size as u64;
        self.worst_queue_us[step] = self.worst_queue_us[step].max(queued_us);
        self.queue_us.push(queued_us as u32);
        self.received += 1;
    }

    /// A TCP flow has something to send.
    pub fn busy(&mut self, now: Time) {
        let step = (now.as_millis() / STEP_MS) as usize;
        if self.busy.len() <= step {
            self.busy.resize(step + 1, false);
        }
        self.busy[step] = true;
    }

    /// Bits per second that arrived between two points in seconds.
    pub fn bps(&self, from_s: f64, to_s: f64) -> f64 {
        let (from, to) = ((from_s * 1e3) as u64 / STEP_MS, (to_s * 1e3) as u64 / STEP_MS);
        let bytes: u64 = (from..to).filter_map(|step| self.arrived.get(step as usize)).sum();
        bytes as f64 * 8.0 / ((to.saturating_sub(from)).max(1) * STEP_MS) as f64 * 1e3
    }

    /// Longest wait between two points, in milliseconds.
    pub fn worst_queue_ms(&self, from_s: f64, to_s: f64) -> f64 {
        let (from, to) = ((from_s * 1e3) as u64 / STEP_MS, (to_s * 1e3) as u64 / STEP_MS);
        let worst = (from..to).filter_map(|step| self.worst_queue_us.get(step as usize)).max();
        worst.copied().unwrap_or_default() as f64 / 1e3
    }
}
