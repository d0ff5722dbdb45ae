//! One thread, one loop: sockets and queues in, the shard's endpoint in the middle, sockets and queues out.

mod receive;

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mediaserver_proto::endpoint::{Endpoint, Shard, ShardMessage};
use mediaserver_proto::io::{Outlet, ReceiveBatch, TransmitQueue};
use mediaserver_proto::time::Time;
use rtrb::Consumer;

use crate::carried::Carried;
use crate::counters::{set, set_drops};
use crate::event::Event;
use crate::exit::Exit;
use crate::gathering::Gathering;
use crate::inbox::Inbox;
use crate::mailbox::{EventSender, Waker};
use crate::metrics::{Published, Publishing, ShardMetrics};
use crate::rings::Rings;
use crate::scheduling::Scheduling;
use crate::shard::ShardControl;
use crate::socket::{Receiver, Sender, UdpSocket};
use crate::sys::{Poller, thread_cpu_ns};

/// Token of the eventfd among the sockets' ids.
pub(crate) const WAKE_TOKEN: u64 = u64::MAX;
/// Commands handled before the sockets get their turn again.
const COMMANDS_PER_ROUND: usize = 64;
/// Messages of another shard handled before the sockets get their turn again.
const MESSAGES_PER_ROUND: usize = 64;
/// Messages that wait for room in another shard's ring; only such as must not be lost.
const MOST_WAITING: usize = 65_536;
/// Bytes after which the transmit queue is sent in the middle of a round.
const SEND_ABOVE_BYTES: usize = 1 << 20;

/// What connects a worker with the others.
pub struct Links {
    /// Commands from the control plane.
    pub inbox: Consumer<Inbox>,
    /// Events to the control plane.
    pub events: EventSender,
    /// To and from the other threads.
    pub rings: Rings,
    /// One for each thread.
    pub wakers: Arc<Vec<Waker>>,
    /// Set when the engine stops.
    pub stop: Arc<AtomicBool>,
    /// Where the counters go.
    pub published: Published,
}

impl std::fmt::Debug for Links {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Links").finish_non_exhaustive()
    }
}

impl Links {
    /// Something of others waits to be taken.
    pub fn has_input(&self) -> bool {
        self.inbox.slots() > 0 || self.rings.has_input()
    }
}

/// A shard's thread.
#[derive(Debug)]
pub struct Worker {
    shard: usize,
    scheduling: Scheduling,
    epoch: Instant,
    control: ShardControl,
    links: Links,
    poller: Poller,
    gathering: Gathering,
    receiver: Receiver,
    sender: Sender,
    batch: ReceiveBatch,
    /// Datagrams of the batch that the endpoint has taken, and packets that will leave for a frame that is not whole.
    taken: usize,
    unfinished: usize,
    out: TransmitQueue<'static>,
    carried: Carried,
    waiting: Vec<VecDeque<ShardMessage>>,
    unsent_events: VecDeque<Event>,
    metrics: ShardMetrics,
    publishing: Publishing,
}

impl Worker {
    /// A worker around `control`; `epoch` is the instant of `Time::ZERO`, the same for all shards.
    pub fn new(
        shard: usize,
        scheduling: Scheduling,
        sender: Sender,
        epoch: Instant,
        poller: Poller,
        control: ShardControl,
        links: Links,
    ) -> Worker {
        let threads = links.rings.threads();
        let waiting = (0..threads).map(|_| VecDeque::new()).collect();
        let carried = Carried::new(threads);
        Worker {
            shard,
            scheduling,
            epoch,
            control,
            links,
            poller,
            gathering: Gathering::default(),
            receiver: Receiver::default(),
            sender,
            batch: Receiver::new_batch(),
            taken: 0,
            unfinished: 0,
            out: TransmitQueue::default(),
            carried,
            waiting,
            unsent_events: VecDeque::new(),
            metrics: ShardMetrics::default(),
            publishing: Publishing::default(),
        }
    }

    /// Waits for the shared sockets and the waker of a shard.
    pub fn poller(shard: usize, shared: &[UdpSocket], links: &Links) -> io::Result<Poller> {
        let poller = Poller::new()?;
        poller.add(links.wakers[shard].as_raw_fd(), WAKE_TOKEN)?;
        for socket in shared {
            poller.add(socket.as_raw_fd(), u64::from(socket.id().0))?;
        }
        Ok(poller)
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
        let now = self.now();
        self.guard(now, |control, now, out| control.endpoint.close_all(now, out));
        self.finish_round(now);
        self.publish(now);
    }

    fn now(&self) -> Time {
        Time::ZERO + self.epoch.elapsed()
    }

    fn round(&mut self) -> io::Result<()> {
        self.links.wakers[self.shard].prepare_sleep();
        let timeout = if self.links.has_input() { Some(Duration::ZERO) } else { self.sleep_limit() };
        self.gathering.wait(&mut self.poller, timeout, self.metrics.messages_received)?;
        self.links.wakers[self.shard].awake();
        self.metrics.rounds += 1;
        let now = self.now();
        self.receive(now);
        // Commands first: another shard's message may be about an object that a waiting command makes.
        self.take_commands(now);
        self.take_messages(now);
        if self.control.endpoint.poll_timeout().is_some() {
            // Not only when something is due: what is nearly due may save us from waking for it.
            self.drive(now, None, |endpoint, now, out, _| endpoint.handle_timeout(now, out));
        }
        if self.control.links.poll_timeout().is_some_and(|due| due <= now) {
            self.guard(now, |control, now, out| control.links.handle_timeout(now, out));
        }
        self.finish_round(now);
        self.scheduling.look(now);
        if self.publishing.is_due(now) {
            self.publish(now);
        }
        Ok(())
    }

    fn sleep_limit(&self) -> Option<Duration> {
        let now = self.now();
        let endpoint = self.control.endpoint.poll_timeout().map(|due| due.since(now));
        let publish = self.publishing.wait(now);
        let retry = (!self.unsent_events.is_empty() || self.waiting.iter().any(|queue| !queue.is_empty()))
            .then_some(Duration::from_millis(1));
        let links = self.control.links.poll_timeout().map(|due| due.since(now));
        [endpoint, links, publish, retry].into_iter().flatten().min()
    }

    fn take_messages(&mut self, now: Time) {
        for from in 0..self.links.rings.threads() {
            for _ in 0..MESSAGES_PER_ROUND {
                let Some(message) = self.links.rings.take_from(from) else { break };
                let arrived = message.arrival().unwrap_or(now);
                let mut message = self.carried.take_returned(from, message);
                if self.control.links.is_carrier(from) {
                    if let Some(ShardMessage::Datagrams(batch)) = message {
                        self.take_frames(from, batch, now);
                    }
                    continue;
                }
                let from = Shard::try_from(from).unwrap_or(Shard::MAX);
                self.drive(now, Some(arrived), |endpoint, now, out, _| {
                    if let Some(message) = message.take() {
                        endpoint.handle_message(from, message, now, out);
                    }
                });
                self.send(Some(arrived));
            }
        }
    }

    fn take_commands(&mut self, now: Time) {
        for _ in 0..COMMANDS_PER_ROUND {
            let Ok(command) = self.links.inbox.pop() else { break };
            let mut command = Some(command);
            self.guard(now, |control, now, out| {
                if let Some(command) = command.take() {
                    control.handle(command, now, out);
                }
            });
            for socket in self.control.take_opened() {
                if let Some(socket) = self.control.sockets.get(socket) {
                    let added = self.poller.add(socket.as_raw_fd(), u64::from(socket.id().0));
                    self.metrics.receive_errors += u64::from(added.is_err());
                }
            }
            self.send_when_large();
        }
    }

    /// Calls into the endpoint, which may cause more than should wait until it returns; `arrived` is when came what it
    /// is called for.
    fn drive(
        &mut self,
        now: Time,
        arrived: Option<Time>,
        call: impl FnOnce(&mut Endpoint, Time, &mut TransmitQueue<'_>, &mut ReceiveBatch),
    ) {
        let (sender, metrics, epoch) = (&mut self.sender, &mut self.metrics, self.epoch);
        let (ShardControl { endpoint, sockets, links, .. }, out, batch) =
            (&mut self.control, &mut self.out, &mut self.batch);
        let mut exit = Exit { sender, sockets, carried: &mut self.carried, links, metrics, epoch, arrived };
        let result = catch_unwind(AssertUnwindSafe(|| out.through(&mut exit, |out| call(endpoint, now, out, batch))));
        self.recover(now, result.is_err());
    }

    /// Calls into what handles commands.
    fn guard(&mut self, now: Time, call: impl FnOnce(&mut ShardControl, Time, &mut TransmitQueue<'_>)) {
        let (control, out) = (&mut self.control, &mut self.out);
        let result = catch_unwind(AssertUnwindSafe(|| call(control, now, out)));
        self.recover(now, result.is_err());
    }

    /// After a call: a panic in it closes the transport that it was about, and nothing else.
    fn recover(&mut self, now: Time, panicked: bool) {
        self.publishing.changed();
        if panicked {
            self.metrics.panics += 1;
            let (endpoint, out) = (&mut self.control.endpoint, &mut self.out);
            let result = catch_unwind(AssertUnwindSafe(|| endpoint.recover(now, out)));
            self.metrics.panics += u64::from(result.is_err());
        }
    }

    fn finish_round(&mut self, now: Time) {
        self.control.settle_links(now, &mut self.out);
        while let Some(path) = self.control.links.poll_closed() {
            let mut stranded = None;
            self.drive(now, None, |endpoint, now, out, _| stranded = endpoint.close_linked_path(path, now, out));
            self.control.tell_left(stranded);
        }
        self.send(None);
        self.pass_messages();
        self.control.collect_events(now);
        self.pass_events();
    }

    fn send_when_large(&mut self) {
        if self.out.bytes().len() > SEND_ABOVE_BYTES {
            self.send(None);
        }
    }

    fn send(&mut self, arrived: Option<Time>) {
        if !self.out.is_empty() {
            let (sender, metrics, carried) = (&mut self.sender, &mut self.metrics, &mut self.carried);
            let ShardControl { sockets, links, .. } = &mut self.control;
            Exit { sender, sockets, carried, links, metrics, epoch: self.epoch, arrived }.send(&self.out);
            self.out.clear();
        }
    }

    /// Carries messages to the other threads. What must not be lost waits for room in their ring; the rest does not.
    fn pass_messages(&mut self) {
        for to in 0..self.waiting.len() {
            while let Some(message) = self.waiting[to].pop_front() {
                if let Err(message) = self.links.rings.pass(to, message) {
                    self.waiting[to].push_front(message);
                    break;
                }
            }
        }
        while let Some((to, message)) = self.control.endpoint.poll_message() {
            let to = usize::from(to);
            let Some(queue) = self.waiting.get(to) else { continue };
            let result = if queue.is_empty() { self.links.rings.pass(to, message) } else { Err(message) };
            let Err(message) = result else { continue };
            if message.is_expendable() || self.waiting[to].len() >= MOST_WAITING {
                self.metrics.handover_full += 1;
                self.control.endpoint.take_back(message);
            } else {
                self.waiting[to].push_back(message);
            }
        }
        while let Some((to, batch)) = self.carried.take() {
            if let Err(message) = self.links.rings.pass(to, ShardMessage::Datagrams(batch)) {
                self.metrics.handover_full += 1;
                self.carried.take_back(message);
            }
        }
        self.links.rings.wake_fed();
    }

    fn pass_events(&mut self) {
        self.unsent_events.extend(self.control.take_events());
        self.metrics.events_lost += self.links.events.send_waiting(&mut self.unsent_events, MOST_WAITING);
    }

    fn publish(&mut self, now: Time) {
        let published = self.links.published.publish(|counters| {
            self.metrics.write(counters);
            set(counters, "cpu_ns", thread_cpu_ns());
            set(counters, "gso", u64::from(self.sender.gso()));
            self.scheduling.write(counters);
            self.gathering.write(counters);
            let endpoint = &self.control.endpoint;
            set(counters, "transports", endpoint.transports() as u64);
            set(counters, "datagrams_handed_over", endpoint.handed_over());
            set(counters, "data_messages", endpoint.messages_delivered());
            self.carried.write(counters);
            self.control.links.write(counters);
            set_drops(counters, |each| endpoint.counters(each));
        });
        if published {
            self.publishing.done(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::sockets::Sockets;
    use std::net::{IpAddr, Ipv4Addr};

    use mediaserver_proto::dtls::Identity;
    use mediaserver_proto::endpoint::{Endpoint, EndpointConfig, EndpointLimits, Entropy};
    use mediaserver_proto::ice::UfragKey;
    use mediaserver_proto::io::{Path, SocketId};
    use rtrb::RingBuffer;

    use super::*;
    use crate::mailbox::event_queue;
    use crate::media_links::CoreLinks;
    use crate::ports::PortPools;
    use crate::shard::Announced;
    use crate::socket::Marks;

    const CERTIFICATE: &[u8] = include_bytes!("../../../proto/tests/data/dtls_certificate.der");
    const KEY: &[u8] = include_bytes!("../../../proto/tests/data/dtls_key.der");

    /// A worker, and what a thread that carries for it is given.
    fn worker() -> (Worker, Consumer<ShardMessage>) {
        let epoch = Instant::now();
        let endpoint = Endpoint::new(EndpointConfig {
            shard: 0,
            shards: 1,
            sources: 1,
            ufrag_key: UfragKey::new(0, 0, &[1; 32]),
            identity: Identity::new(CERTIFICATE.to_vec(), KEY.to_vec(), epoch).unwrap(),
            unix_epoch: Duration::from_secs(1_800_000_000),
            limits: EndpointLimits { transports: 4, half_open: 4, tracks_per_transport: 4, unknown_ssrcs: 4 },
        });
        let ports = PortPools::new(&[IpAddr::V4(Ipv4Addr::LOCALHOST)], (2, 1), 0, 1);
        let (to_carrier, carrier) = RingBuffer::new(4);
        let wakers = Arc::new(vec![Waker::new().unwrap(), Waker::new().unwrap()]);
        let links = Links {
            inbox: RingBuffer::new(1).1,
            events: event_queue().unwrap().0,
            rings: Rings::new(vec![None, None], vec![None, Some(to_carrier)], wakers.clone()),
            wakers,
            stop: Arc::default(),
            published: Published::default(),
        };
        let control = ShardControl::new(
            endpoint,
            Sockets::default(),
            ports,
            Announced::default(),
            CoreLinks::new(0, 0, 1, 4096, None),
        );
        let poller = Worker::poller(0, control.sockets.shared(), &links).unwrap();
        let (scheduling, sender) = (Scheduling::new(None, false), Sender::new(true, Marks::default()));
        (Worker::new(0, scheduling, sender, epoch, poller, control, links), carrier)
    }

    #[test]
    fn what_another_thread_has_the_socket_for_goes_there_at_the_end_of_a_round() {
        let (mut worker, mut carrier) = worker();
        let path = Path { socket: SocketId::carried(1, 5), remote: ([192, 0, 2, 1], 4000).into() };
        worker.drive(Time::ZERO, Some(Time::from_millis(3)), |_, _, out, _| out.push(path, b"one"));
        worker.finish_round(Time::ZERO);
        let Ok(ShardMessage::Datagrams(batch)) = carrier.pop() else { panic!("nothing went over") };
        assert_eq!((batch.entries()[0].path, batch.datagram(&batch.entries()[0])), (path, &b"one"[..]));
        assert_eq!((worker.metrics.sent.datagrams, worker.metrics.sent.no_socket), (0, 0));
    }

    #[test]
    fn a_panic_in_the_endpoint_is_counted_and_the_shard_goes_on() {
        let (mut worker, _carrier) = worker();
        worker.drive(Time::ZERO, None, |_, _, _, _| panic!("this panic is part of a test"));
        assert_eq!(worker.metrics.panics, 1);
        let entropy = Entropy { password: [1; _], seed: [1; 32], cname: [1; 12], rtcp_ssrc: 1 };
        worker.guard(Time::ZERO, |control, now, _| {
            control.endpoint.open_ice_transport(1, Duration::ZERO, entropy, now).unwrap();
        });
        assert_eq!((worker.metrics.panics, worker.control.endpoint.transports()), (1, 1));
    }
}
