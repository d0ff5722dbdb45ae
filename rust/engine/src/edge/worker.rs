//! One thread of an Edge: batches in, frames out, and back.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mediaserver_proto::endpoint::ShardMessage;
use mediaserver_proto::io::{Path, ReceiveBatch, SocketId, TransmitQueue};
use mediaserver_proto::link::{EdgeEvent, EdgeLink, Way};
use mediaserver_proto::path::SessionKey;
use mediaserver_proto::time::Time;

use super::neighbours::{MESSAGES_PER_ROUND, Neighbours};
use super::sockets::EdgeSockets;
use super::{commands, ports};
use crate::asked::Asked;
use crate::command::{Action, Command, SHARD_SHIFT};
use crate::counters::{set, set_drops};
use crate::event::Event;
use crate::gathering::Gathering;
use crate::inbox::Inbox;
use crate::link_traffic::LinkTraffic;
use crate::metrics::{Publishing, ShardMetrics};
use crate::ports::PortPools;
use crate::scheduling::Scheduling;
use crate::socket::{RECEIVE_SLOTS, Receiver, Sender};
use crate::sys::{Poller, thread_cpu_ns};
use crate::worker::{Links, WAKE_TOKEN};

/// Commands handled before the sockets get their turn again.
const COMMANDS_PER_ROUND: usize = 64;
/// Events that wait for the control plane.
const MOST_WAITING: usize = 4_096;

/// See the module.
#[derive(Debug)]
pub struct EdgeWorker {
    index: usize,
    epoch: Instant,
    /// Time since 1970 at `epoch`.
    unix_epoch: Duration,
    scheduling: Scheduling,
    edge: EdgeLink,
    sockets: EdgeSockets,
    ports: PortPools,
    neighbours: Neighbours,
    poller: Poller,
    gathering: Gathering,
    receiver: Receiver,
    sender: Sender,
    batch: ReceiveBatch,
    out: TransmitQueue<'static>,
    events: VecDeque<Event>,
    metrics: ShardMetrics,
    traffic: LinkTraffic,
    publishing: Publishing,
}

impl EdgeWorker {
    /// The worker with `index` among all threads; `epoch` is the instant of `Time::ZERO`, `unix_epoch` the same since 1970.
    #[allow(clippy::too_many_arguments, reason = "one place builds it")]
    pub fn new(
        index: usize,
        epoch: Instant,
        unix_epoch: Duration,
        scheduling: Scheduling,
        sender: Sender,
        edge: EdgeLink,
        sockets: EdgeSockets,
        ports: PortPools,
        poller: Poller,
        neighbours: Neighbours,
    ) -> EdgeWorker {
        EdgeWorker {
            index,
            epoch,
            unix_epoch,
            scheduling,
            edge,
            sockets,
            ports,
            neighbours,
            poller,
            gathering: Gathering::default(),
            receiver: Receiver::default(),
            sender,
            batch: Receiver::new_batch(),
            out: TransmitQueue::default(),
            events: VecDeque::new(),
            metrics: ShardMetrics::default(),
            traffic: LinkTraffic::default(),
            publishing: Publishing::default(),
        }
    }

    /// Waits for the sockets and the waker of a worker.
    pub fn poller(index: usize, sockets: &EdgeSockets, links: &Links) -> io::Result<Poller> {
        let poller = Poller::new()?;
        poller.add(links.wakers[index].as_raw_fd(), WAKE_TOKEN)?;
        let all = sockets.public().iter().chain(sockets.all().get(sockets.link()));
        for socket in all {
            poller.add(socket.as_raw_fd(), u64::from(socket.id().0))?;
        }
        Ok(poller)
    }

    /// Runs until the engine stops.
    pub fn run(mut self) {
        self.scheduling.begin();
        let public = self.sockets.public().iter().map(|socket| socket.local().into()).collect();
        let id = self.id();
        self.events.extend(self.sockets.link_address().map(|link| Event::EdgeOpened { id, public, link }));
        while !self.neighbours.links.stop.load(Ordering::Relaxed) {
            if self.round().is_err() {
                // As in a shard: only a mistake of ours ends here, and without epoll there is nothing to wait for.
                self.metrics.receive_errors += 1;
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        self.publish(self.now());
    }

    fn id(&self) -> u64 {
        (self.index as u64) << SHARD_SHIFT
    }

    fn now(&self) -> Time {
        Time::ZERO + self.epoch.elapsed()
    }

    fn round(&mut self) -> io::Result<()> {
        self.neighbours.links.wakers[self.index].prepare_sleep();
        let timeout = if self.neighbours.has_input() { Some(Duration::ZERO) } else { self.sleep_limit(self.now()) };
        let waited = self.gathering.wait(&mut self.poller, timeout, self.metrics.messages_received)?;
        self.neighbours.links.wakers[self.index].awake();
        self.metrics.rounds += 1;
        let mut now = self.now();
        self.receiver.after(waited);
        for index in 0..self.poller.ready() {
            match self.poller.token(index) {
                WAKE_TOKEN => self.neighbours.links.wakers[self.index].reset(),
                token => {
                    self.receive(SocketId(u32::try_from(token).unwrap_or(u32::MAX)), now);
                    now = self.now();
                }
            }
        }
        self.take_commands(now);
        self.take_messages(now);
        let id = self.id();
        self.events.extend(ports::close_ended(&mut self.ports, &mut self.edge, &mut self.sockets, id, now));
        if self.edge.poll_timeout().is_some_and(|due| due <= now) {
            self.guard(|worker| worker.edge.handle_timeout(now, &mut worker.out));
            self.send(None);
        }
        self.neighbours.flush(&mut self.metrics);
        self.pass_events();
        self.scheduling.look(now);
        if self.publishing.is_due(now) {
            self.publish(now);
        }
        Ok(())
    }

    fn sleep_limit(&self, now: Time) -> Option<Duration> {
        let edge = self.edge.poll_timeout().map(|due| due.since(now));
        let publish = self.publishing.wait(now);
        let retry = (!self.events.is_empty() || self.neighbours.has_waiting()).then_some(Duration::from_millis(1));
        [edge, publish, retry].into_iter().flatten().min()
    }

    /// Reads a socket once; what came leaves before another socket is read.
    fn receive(&mut self, id: SocketId, now: Time) {
        let Some(socket) = self.sockets.all_mut().get_mut(id) else { return };
        self.publishing.changed();
        match self.receiver.receive(socket, &mut self.batch, 0, RECEIVE_SLOTS) {
            Ok(count) => self.metrics.received(&count),
            Err(_) => self.metrics.receive_errors += 1,
        }
        if self.batch.is_empty() {
            return;
        }
        self.metrics.batches += 1;
        self.metrics.bytes_received += self.batch.entries().iter().map(|entry| entry.len as u64).sum::<u64>();
        let is_link = id == self.sockets.link();
        self.guard(|worker| {
            let EdgeWorker { edge, batch, out, neighbours, traffic, .. } = worker;
            // What is for whom is decided here alone, by the socket, and by what a datagram is.
            match is_link {
                true => take_frames(edge, batch, now, out, traffic),
                false => {
                    let for_relay = |path, datagram: &[u8], _: &mut _| neighbours.take_for_relay(path, datagram, now);
                    take_visitors(edge, batch, now, out, for_relay);
                }
            }
        });
        self.batch.recycle();
        self.send(Some(now));
    }

    /// Takes what the threads beside this one have: visitors, and frames that came over TLS.
    fn take_messages(&mut self, now: Time) {
        for _ in 0..MESSAGES_PER_ROUND {
            let Some((from, message)) = self.neighbours.take_message() else { break };
            match message {
                ShardMessage::Datagrams(batch) => {
                    self.guard(|worker| {
                        let EdgeWorker { edge, out, neighbours, traffic, .. } = worker;
                        if neighbours.brings_frames(from) {
                            return take_frames(edge, &batch, now, out, traffic);
                        }
                        let to_client = |path, datagram: &[u8], out: &mut TransmitQueue<'_>| {
                            neighbours.client(path).map(|path| out.push(path, datagram)).is_some()
                        };
                        take_visitors(edge, &batch, now, out, to_client);
                    });
                    self.send(Some(batch.arrival.unwrap_or(now)));
                    self.neighbours.give_back(from, batch);
                }
                ShardMessage::PathClosed(path) => {
                    self.guard(|worker| worker.edge.close_source(path, &mut worker.out));
                    self.send(None);
                }
                // There is no media here.
                _ => {}
            }
        }
    }

    /// A panic costs what was being handled, and nothing else.
    fn guard(&mut self, call: impl FnOnce(&mut EdgeWorker)) {
        let result = catch_unwind(AssertUnwindSafe(|| call(self)));
        self.publishing.changed();
        self.metrics.panics += u64::from(result.is_err());
        let id = self.id();
        while let Some(event) = self.edge.poll_event() {
            match event {
                EdgeEvent::LinkUp { name, address, way } => self.events.push_back(Event::EdgeLinkUp {
                    id,
                    core: name.core,
                    shard: name.shard,
                    remote: (way == Way::Udp).then(|| address.into()),
                    way: way.name(),
                }),
                EdgeEvent::LinkDown { name } => {
                    self.events.push_back(Event::EdgeLinkDown { id, core: name.core, shard: name.shard });
                }
                EdgeEvent::PathBound(path) => {
                    self.neighbours.tell(path, ShardMessage::PathBound(path), &mut self.metrics);
                }
                EdgeEvent::PathUnbound(path) => {
                    self.neighbours.tell(path, ShardMessage::PathUnbound(path), &mut self.metrics);
                }
            }
        }
    }

    fn take_commands(&mut self, now: Time) {
        for _ in 0..COMMANDS_PER_ROUND {
            let Ok(item) = self.neighbours.links.inbox.pop() else { break };
            // Clips are for shards and are not given to others.
            let Inbox::Command(command) = item else { continue };
            let asked = Asked::by(&command);
            let Command { id, request, action } = command;
            if let Action::OpenEdgePorts { core, transport, ip, rtp_port } = action {
                let wanted = ports::Wanted { ip, rtp: rtp_port };
                self.open_ports(id, request, SessionKey { core, transport }, &wanted, now);
                continue;
            }
            let mut result = Err("failed");
            self.guard(|worker| result = commands::apply(&mut worker.edge, &action, worker.unix_epoch, now));
            self.events.extend(asked.answer(result));
        }
    }

    fn open_ports(&mut self, id: u64, request: Option<u64>, session: SessionKey, wanted: &ports::Wanted, now: Time) {
        let parts = ports::Parts { edge: &mut self.edge, sockets: &mut self.sockets, poller: &self.poller };
        self.events.push_back(match ports::open(&mut self.ports, parts, session, wanted, now) {
            Ok((rtp_port, rtcp_port)) => Event::EdgePortsOpened { id, rtp_port, rtcp_port, request },
            Err(reason) => Event::CommandFailed { request, id, command: "open_edge_ports", reason },
        });
    }

    fn send(&mut self, arrived: Option<Time>) {
        if self.out.is_empty() {
            return;
        }
        let before = self.metrics.sent.datagrams;
        let sockets = self.sockets.all();
        self.sender.send(&self.out, |id| sockets.get(id), &mut self.metrics.sent);
        self.neighbours.collect(&self.out, arrived);
        for entry in self.out.entries() {
            let socket = entry.path.socket;
            if socket == self.sockets.link()
                || socket.carrier().is_some_and(|by| self.neighbours.brings_frames(by.into()))
            {
                self.traffic.sent(entry);
            }
        }
        self.out.clear();
        let sent = self.metrics.sent.datagrams - before;
        if let Some(arrived) = arrived.filter(|_| sent > 0) {
            let now = self.now();
            self.metrics.latency.add(sent, now.since(arrived));
        }
    }

    fn pass_events(&mut self) {
        self.metrics.events_lost += self.neighbours.links.events.send_waiting(&mut self.events, MOST_WAITING);
    }

    fn publish(&mut self, now: Time) {
        let published = self.neighbours.links.published.publish(|counters| {
            self.metrics.write(counters);
            set(counters, "cpu_ns", thread_cpu_ns());
            set(counters, "gso", u64::from(self.sender.gso()));
            set(counters, "edge_paths", self.edge.paths() as u64);
            set(counters, "edge_port_pairs", self.edge.port_pairs() as u64);
            set(counters, "edge_revoked_sessions", self.edge.revoked() as u64);
            let (udp, tls) = self.edge.links();
            set(counters, "links_up", (udp + tls) as u64);
            set(counters, "links_over_tls", tls as u64);
            self.scheduling.write(counters);
            self.gathering.write(counters);
            self.neighbours.write(counters);
            self.traffic.write(counters);
            set_drops(counters, |each| self.edge.counters(each));
        });
        if published {
            self.publishing.done(now);
        }
    }
}

/// Gives the Edge what Cores have sent.
fn take_frames(
    edge: &mut EdgeLink,
    batch: &ReceiveBatch,
    now: Time,
    out: &mut TransmitQueue<'static>,
    traffic: &mut LinkTraffic,
) {
    let frames = edge.handle_link(batch, 0..batch.len(), now, out);
    traffic.received(batch.entries(), frames);
}

/// Gives the Edge the datagrams of a batch but those that `taken` has taken, in runs as long as there are.
fn take_visitors(
    edge: &mut EdgeLink,
    batch: &ReceiveBatch,
    now: Time,
    out: &mut TransmitQueue<'static>,
    mut taken: impl FnMut(Path, &[u8], &mut TransmitQueue<'static>) -> bool,
) {
    let mut first = 0;
    for at in 0..batch.len() {
        let entry = batch.entries()[at];
        if taken(entry.path, batch.datagram(&entry), out) {
            edge.handle_public(batch, first..at, now, out);
            first = at + 1;
        }
    }
    edge.handle_public(batch, first..batch.len(), now, out);
}
