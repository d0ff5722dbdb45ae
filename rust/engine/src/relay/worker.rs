//! One thread, one loop: sockets and rings in, the TURN server in the middle, sockets and rings out.

use std::io;
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mediaserver_proto::endpoint::ShardMessage;
use mediaserver_proto::io::{ReceiveBatch, SocketId, TransmitQueue};
use mediaserver_proto::time::Time;
use mediaserver_proto::turn::{Limits, Outputs, Server};

use super::FIRST_RELAYED_SOCKET;
use super::inward::Inward;
use super::listeners::Listeners;
use super::setup::{Ports, RelaySetup};
use crate::asked::Asked;
use crate::carried::Carried;
use crate::command::Action;
use crate::counters::set;
use crate::gathering::Gathering;
use crate::inbox::Inbox;
use crate::metrics::{Publishing, ShardMetrics};
use crate::scheduling::Scheduling;
use crate::socket::{RECEIVE_SLOTS, Receiver, Sender};
use crate::sys::{Poller, thread_cpu_ns};
use crate::worker::{Links, WAKE_TOKEN};

/// Messages that one receive call takes from a relayed socket.
const RELAYED_MESSAGES: usize = 16;
/// Messages of one thread handled before the sockets get their turn again.
const MESSAGES_PER_ROUND: usize = 64;

/// See the module.
#[derive(Debug)]
pub struct RelayWorker {
    index: usize,
    epoch: Instant,
    scheduling: Scheduling,
    server: Server,
    ports: Ports,
    listeners: Listeners,
    inward: Inward,
    /// What the server gives for transports of this process, before it is sorted.
    inner: ReceiveBatch,
    links: Links,
    poller: Poller,
    gathering: Gathering,
    receiver: Receiver,
    sender: Sender,
    batch: ReceiveBatch,
    out: TransmitQueue<'static>,
    carried: Carried,
    metrics: ShardMetrics,
    publishing: Publishing,
}

impl RelayWorker {
    /// Waits for the sockets of clients and the waker of the thread with `index` among all.
    pub fn poller(index: usize, setup: &RelaySetup, links: &Links) -> io::Result<Poller> {
        let poller = Poller::new()?;
        poller.add(links.wakers[index].as_raw_fd(), WAKE_TOKEN)?;
        for socket in setup.listeners.iter() {
            poller.add(socket.as_raw_fd(), u64::from(socket.id().0))?;
        }
        Ok(poller)
    }

    /// The thread's state, made on it; `epoch` is the instant of `Time::ZERO`.
    #[allow(clippy::too_many_arguments, reason = "one place builds it")]
    pub fn new(
        index: usize,
        epoch: Instant,
        scheduling: Scheduling,
        setup: RelaySetup,
        inward: Inward,
        sender: Sender,
        poller: Poller,
        links: Links,
    ) -> RelayWorker {
        let RelaySetup { server, ports, listeners } = setup;
        let threads = links.rings.threads();
        RelayWorker {
            index,
            epoch,
            scheduling,
            server,
            ports,
            listeners,
            inward,
            inner: ReceiveBatch::default(),
            links,
            poller,
            gathering: Gathering::default(),
            receiver: Receiver::default(),
            sender,
            batch: Receiver::new_batch(),
            out: TransmitQueue::default(),
            carried: Carried::new(threads),
            metrics: ShardMetrics::default(),
            publishing: Publishing::default(),
        }
    }

    /// Runs until the engine stops.
    pub fn run(mut self) {
        self.scheduling.begin();
        while !self.links.stop.load(Ordering::Relaxed) {
            if self.round().is_err() {
                // Only epoll itself can fail here, and only by a mistake of ours; without it there is nothing to wait for.
                self.metrics.receive_errors += 1;
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }

    fn now(&self) -> Time {
        Time::ZERO + self.epoch.elapsed()
    }

    fn round(&mut self) -> io::Result<()> {
        self.links.wakers[self.index].prepare_sleep();
        let timeout = if self.links.has_input() { Some(Duration::ZERO) } else { self.sleep_limit(self.now()) };
        let waited = self.gathering.wait(&mut self.poller, timeout, self.metrics.messages_received)?;
        self.links.wakers[self.index].awake();
        self.metrics.rounds += 1;
        let now = self.now();
        self.receiver.after(waited);
        self.receive(now);
        self.take_commands();
        self.take_messages(now);
        if self.server.poll_timeout().is_some_and(|due| due <= now) {
            let (server, ports) = (&mut self.server, self.ports.as_relay_ports());
            let result = catch_unwind(AssertUnwindSafe(|| server.handle_timeout(ports, now)));
            self.metrics.panics += u64::from(result.is_err());
            self.publishing.changed();
        }
        self.pass_messages();
        self.scheduling.look(now);
        if self.publishing.is_due(now) {
            self.publish(now);
        }
        Ok(())
    }

    fn sleep_limit(&self, now: Time) -> Option<Duration> {
        let server = self.server.poll_timeout().map(|due| due.since(now));
        let publish = self.publishing.wait(now);
        [server, publish].into_iter().flatten().min()
    }

    /// Reads every ready socket once; a batch goes to the server when its slots are full, and at the end.
    fn receive(&mut self, now: Time) {
        let mut slot = 0;
        for index in 0..self.poller.ready() {
            let token = self.poller.token(index);
            if token == WAKE_TOKEN {
                self.links.wakers[self.index].reset();
                continue;
            }
            let id = SocketId(u32::try_from(token).unwrap_or(u32::MAX));
            let most = if id.0 < FIRST_RELAYED_SOCKET { RECEIVE_SLOTS } else { RELAYED_MESSAGES };
            if slot + RELAYED_MESSAGES > RECEIVE_SLOTS {
                self.handle_batch(now);
                slot = 0;
            }
            slot += self.receive_from(id, slot, most);
        }
        self.handle_batch(now);
    }

    fn receive_from(&mut self, id: SocketId, slot: usize, most: usize) -> usize {
        let socket = match self.listeners.get_mut(id) {
            Some(socket) => Some(socket),
            None => self.ports.open_mut().and_then(|ports| ports.get_mut(id)),
        };
        let Some(socket) = socket else { return 0 };
        match self.receiver.receive(socket, &mut self.batch, slot, most) {
            Ok(count) => {
                self.metrics.received(&count);
                count.messages
            }
            Err(_) => {
                self.metrics.receive_errors += 1;
                0
            }
        }
    }

    fn handle_batch(&mut self, now: Time) {
        if self.batch.is_empty() {
            return;
        }
        self.metrics.batches += 1;
        let batch = std::mem::take(&mut self.batch);
        self.metrics.bytes_received += batch.entries().iter().map(|entry| entry.len as u64).sum::<u64>();
        self.guard(|server, ports, out| {
            for entry in batch.entries() {
                let (path, datagram) = (entry.path, batch.datagram(entry));
                if path.socket.0 < FIRST_RELAYED_SOCKET {
                    server.handle_datagram(path, datagram, ports.as_relay_ports(), now, out);
                } else {
                    server.handle_relayed(path.socket, path.remote, datagram, now, out);
                }
            }
        });
        self.batch = batch;
        self.batch.recycle();
        self.poll_opened();
        self.send(now);
    }

    /// Calls into the server. What a panic leaves undone is one batch.
    fn guard(&mut self, call: impl FnOnce(&mut Server, &mut Ports, &mut Outputs<'_, 'static>)) {
        let (server, ports) = (&mut self.server, &mut self.ports);
        let mut out = Outputs { transmit: &mut self.out, inward: &mut self.inner };
        let result = catch_unwind(AssertUnwindSafe(|| call(server, ports, &mut out)));
        self.metrics.panics += u64::from(result.is_err());
        self.publishing.changed();
    }

    fn poll_opened(&mut self) {
        let Some(ports) = self.ports.open_mut() else { return };
        for id in ports.take_opened() {
            if let Some(socket) = ports.get(id) {
                let added = self.poller.add(socket.as_raw_fd(), u64::from(id.0));
                self.metrics.receive_errors += u64::from(added.is_err());
            }
        }
    }

    /// Sends what the server has for clients and peers, and sorts what it has for this process.
    fn send(&mut self, now: Time) {
        if !self.out.is_empty() {
            let (listeners, ports) = (&self.listeners, self.ports.open());
            let socket = |id| listeners.get(id).or_else(|| ports?.get(id));
            self.sender.send(&self.out, socket, &mut self.metrics.sent);
            self.carried.collect(&self.out, Some(now));
            self.out.clear();
        }
        if !self.inner.is_empty() {
            self.inward.collect(&self.inner, now);
            self.inner.clear();
        }
    }

    fn take_messages(&mut self, now: Time) {
        for from in 0..self.links.rings.threads() {
            for _ in 0..MESSAGES_PER_ROUND {
                let Some(message) = self.links.rings.take_from(from) else { break };
                self.take_message(from, message, now);
            }
        }
    }

    fn take_message(&mut self, from: usize, message: ShardMessage, now: Time) {
        match self.carried.take_returned(from, message) {
            Some(ShardMessage::Datagrams(batch)) => {
                let own = u16::try_from(self.index).ok();
                self.guard(|server, ports, out| {
                    for entry in batch.entries() {
                        let (path, datagram) = (entry.path, batch.datagram(entry));
                        if path.socket.carrier() == own {
                            server.handle_inward(path, datagram, now, out);
                        } else {
                            // A client on a stream: the thread that has the stream hands its messages over.
                            server.handle_datagram(path, datagram, ports.as_relay_ports(), now, out);
                        }
                    }
                });
                self.poll_opened();
                self.send(now);
                self.pass(from, ShardMessage::Returned(batch));
            }
            Some(ShardMessage::Returned(batch)) => self.inward.keep(batch),
            Some(ShardMessage::PathBound(path)) => self.inward.bind(path, from),
            Some(ShardMessage::PathUnbound(path)) => self.inward.unbind(path),
            Some(ShardMessage::PathClosed(path)) => self.guard(|server, ports, _| {
                server.handle_closed(path, ports.as_relay_ports());
            }),
            _ => {}
        }
    }

    fn pass_messages(&mut self) {
        while let Some((to, batch)) = self.inward.take() {
            self.pass(to, ShardMessage::Datagrams(batch));
        }
        while let Some((to, batch)) = self.carried.take() {
            self.pass(to, ShardMessage::Datagrams(batch));
        }
        self.links.rings.wake_fed();
    }

    /// Puts a message into a thread's ring; what finds no room is lost, as on a network.
    fn pass(&mut self, to: usize, message: ShardMessage) {
        if let Err(message) = self.links.rings.pass(to, message) {
            self.metrics.handover_full += 1;
            if let ShardMessage::Datagrams(batch) = message {
                self.inward.keep(batch);
            }
        }
    }

    fn take_commands(&mut self) {
        while let Ok(item) = self.links.inbox.pop() {
            let Inbox::Command(command) = item else { continue };
            let asked = Asked::by(&command);
            if let Some(event) = asked.answer(self.apply(command.action)) {
                self.metrics.events_lost += u64::from(!self.links.events.tell(event));
            }
        }
    }

    fn apply(&mut self, action: Action) -> Result<(), &'static str> {
        match action {
            Action::Ping => Ok(()),
            Action::SetTurnSecrets { secrets } => {
                let secrets: Vec<Vec<u8>> = secrets.into_iter().map(|secret| secret.into_vec()).collect();
                self.server.set_secrets(&secrets);
                Ok(())
            }
            Action::SetTurnUsers { users } => {
                self.server.set_users(&users);
                Ok(())
            }
            Action::SetTurnLimits { allocations, allocations_per_user, answers_per_second } => {
                self.server.set_limits(Limits { allocations, allocations_per_user, answers_per_second });
                Ok(())
            }
            Action::DrainTurn { alternates } => {
                let address = |(ip, port)| std::net::SocketAddr::new(ip, port);
                self.server.set_draining(alternates.map(|these| these.into_iter().map(address).collect()));
                Ok(())
            }
            _ => Err("a relay does no such thing"),
        }
    }

    fn publish(&mut self, now: Time) {
        let (server, inward) = (&self.server, &self.inward);
        let (metrics, sender, carried) = (&self.metrics, &self.sender, &self.carried);
        let (scheduling, gathering) = (&self.scheduling, &self.gathering);
        let published = self.links.published.publish(|counters| {
            metrics.write(counters);
            carried.write(counters);
            scheduling.write(counters);
            gathering.write(counters);
            let traffic = server.traffic();
            let named = [
                ("cpu_ns", thread_cpu_ns()),
                ("gso", u64::from(sender.gso())),
                ("turn.allocations", server.allocations() as u64),
                ("turn.packets_to_peers", traffic.packets_to_peers),
                ("turn.bytes_to_peers", traffic.bytes_to_peers),
                ("turn.packets_to_clients", traffic.packets_to_clients),
                ("turn.bytes_to_clients", traffic.bytes_to_clients),
                ("drop.turn.unrouted", inward.unrouted),
            ];
            for (name, value) in named {
                set(counters, name, value);
            }
            let mut name = String::with_capacity(64);
            for (reason, value) in server.drops().iter() {
                name.clear();
                name.push_str("drop.turn.");
                name.push_str(reason);
                set(counters, &name, value);
            }
        });
        if published {
            self.publishing.done(now);
        }
    }
}
