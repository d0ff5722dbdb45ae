//! The way out of a shard: a transmit queue becomes system calls, and what is measured there is counted.

use std::time::Instant;

use mediaserver_proto::io::{Outlet, TransmitQueue};
use mediaserver_proto::time::Time;

use crate::carried::Carried;
use crate::media_links::CoreLinks;
use crate::metrics::ShardMetrics;
use crate::socket::Sender;
use crate::sockets::Sockets;

/// Sends at once, for as long as one call into the endpoint lasts.
#[derive(Debug)]
pub struct Exit<'a> {
    /// The memory for system calls.
    pub sender: &'a mut Sender,
    /// Where the datagrams leave.
    pub sockets: &'a Sockets,
    /// What other threads have the sockets for.
    pub carried: &'a mut Carried,
    /// What leaves at an Edge.
    pub links: &'a mut CoreLinks,
    /// Counts them.
    pub metrics: &'a mut ShardMetrics,
    /// The instant of `Time::ZERO`.
    pub epoch: Instant,
    /// When what caused them arrived; without it nothing is said about latency.
    pub arrived: Option<Time>,
}

impl Outlet for Exit<'_> {
    fn send(&mut self, queue: &TransmitQueue<'_>) {
        let before = self.metrics.sent.datagrams;
        self.sender.send(queue, |id| self.sockets.get(id), &mut self.metrics.sent);
        self.carried.collect(queue, self.arrived);
        let framed = self.links.frame(queue);
        self.sender.send(framed, |id| self.sockets.get(id), &mut self.metrics.sent);
        self.carried.collect(framed, self.arrived);
        let paced = queue.paced();
        // What has waited came earlier than what causes the rest; it is measured by itself.
        let sent = (self.metrics.sent.datagrams - before).saturating_sub(paced.len() as u64);
        let arrived = self.arrived.filter(|_| sent > 0);
        if arrived.is_none() && paced.is_empty() {
            return;
        }
        let now = Time::ZERO + self.epoch.elapsed();
        if let Some(arrived) = arrived {
            self.metrics.latency.add(sent, now.since(arrived));
        }
        self.metrics.paced(paced, now);
    }
}
