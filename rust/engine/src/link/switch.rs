//! Media frames on their way between the threads whose they are and the TLS connections that carry them.
//!
//! The thread of the links is a carrier like others: a datagram of a media link comes by the ring from its thread, under a
//! path that names the TLS link and the thread at its other end. On the connection four bytes stand before it: the number
//! of the Edge's worker and that of the Core's shard.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use mediaserver_proto::endpoint::ShardMessage;
use mediaserver_proto::io::{Path, ReceiveBatch, SocketId};
use mediaserver_proto::time::Time;
use tokio::task::yield_now;

use super::counters::{Count, LinkCounters};
use super::table::LinkTable;
use crate::collecting::Collecting;
use crate::mailbox::Waker;
use crate::rings::Rings;

/// Bytes before a datagram: Edge's worker, Core's shard.
const HEADER: usize = 4;
/// Messages handled before the connections have their turn.
const MESSAGES_PER_ROUND: usize = 64;
/// What is missed because nobody was woken for it waits for so long at the most.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How a thread names the way over `link` to the thread with number `other` at its other end; `carrier` is the index of the
/// thread of the links.
pub(crate) fn way_over(carrier: u16, link: u64, other: u16) -> Path {
    let ip = IpAddr::V6(Ipv6Addr::from(u128::from(link)));
    Path { socket: SocketId::carried(carrier, 0), remote: SocketAddr::new(ip, other) }
}

fn read_way(path: Path) -> Option<(u64, u16)> {
    let IpAddr::V6(ip) = path.remote.ip() else { return None };
    Some((u64::try_from(u128::from(ip)).ok()?, path.remote.port()))
}

/// Whose frames they are here: an Edge's workers, or a Core's shards.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owners {
    /// Index of the first of them among all threads.
    pub(crate) first: usize,
    /// How many.
    pub(crate) count: usize,
    /// Whether they are an Edge's.
    pub(crate) is_edge: bool,
}

impl Owners {
    fn write(&self, own: u16, other: u16) -> [u8; HEADER] {
        let (worker, shard) = if self.is_edge { (own, other) } else { (other, own) };
        let ([a, b], [c, d]) = (worker.to_be_bytes(), shard.to_be_bytes());
        [a, b, c, d]
    }

    /// The number of our thread and that of the other end's.
    fn read(&self, head: [u8; HEADER]) -> (u16, u16) {
        let [a, b, c, d] = head;
        let (worker, shard) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        if self.is_edge { (worker, shard) } else { (shard, worker) }
    }
}

/// See the module. What it holds is used by the thread of the links alone, so its lock is never waited for.
pub(crate) struct Switch {
    /// Our index among all threads.
    member: u16,
    epoch: Instant,
    owners: Owners,
    wakers: Arc<Vec<Waker>>,
    counters: LinkCounters,
    state: Mutex<State>,
}

struct State {
    rings: Rings,
    collecting: Collecting,
    frame: Vec<u8>,
}

impl std::fmt::Debug for Switch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Switch").field("member", &self.member).field("owners", &self.owners).finish_non_exhaustive()
    }
}

impl Switch {
    /// Of the thread with index `member`; `epoch` is the instant of `Time::ZERO`.
    pub(crate) fn new(
        member: u16,
        epoch: Instant,
        owners: Owners,
        rings: Rings,
        wakers: Arc<Vec<Waker>>,
        counters: LinkCounters,
    ) -> Switch {
        let state = State { collecting: Collecting::new(rings.threads()), rings, frame: Vec::new() };
        Switch { member, epoch, owners, wakers, counters, state: Mutex::new(state) }
    }

    /// Hands frames that came over `link` to the threads whose they are. What finds no room is dropped and counted.
    pub(crate) fn deliver(&self, link: u64, frames: &[Bytes]) {
        let now = Time::ZERO + self.epoch.elapsed();
        let mut state = self.lock();
        let mut unrouted = 0;
        for frame in frames {
            let head = frame.split_first_chunk::<HEADER>().map(|(head, rest)| (self.owners.read(*head), rest));
            let Some(((own, other), datagram)) = head.filter(|((own, _), _)| usize::from(*own) < self.owners.count)
            else {
                unrouted += 1;
                continue;
            };
            let to = self.owners.first + usize::from(own);
            state.collecting.push(to, way_over(self.member, link, other), datagram, Some(now));
        }
        self.counters.add(Count::FrameUnrouted, unrouted);
        self.counters.add(Count::FramesHandover, state.flush());
    }

    /// Carries what the threads have for `links`, for ever.
    pub(crate) async fn run(self: Arc<Switch>, links: LinkTable) {
        let waker = &self.wakers[usize::from(self.member)];
        let Ok(bell) = waker.watch() else { return self.counters.add(Count::AcceptFailed, 1) };
        loop {
            if self.take(&links) {
                yield_now().await;
                continue;
            }
            waker.prepare_sleep();
            if !self.lock().rings.has_input() {
                tokio::select! {
                    Ok(mut ready) = bell.readable() => {
                        waker.reset();
                        ready.clear_ready();
                    }
                    () = tokio::time::sleep(LOOK_EVERY) => {}
                }
            }
            waker.awake();
        }
    }

    /// Takes some messages; whether there were any.
    fn take(&self, links: &LinkTable) -> bool {
        let mut state = self.lock();
        for taken in 0..MESSAGES_PER_ROUND {
            let Some((from, message)) = state.rings.take() else { return taken > 0 };
            match message {
                ShardMessage::Datagrams(batch) => {
                    self.send(from, &batch, links, &mut state.frame);
                    state.give_back(from, batch);
                }
                ShardMessage::Returned(batch) => state.collecting.keep(batch),
                // There is no media here, and whose a path is says its own thread.
                _ => {}
            }
        }
        true
    }

    fn send(&self, from: usize, batch: &ReceiveBatch, links: &LinkTable, frame: &mut Vec<u8>) {
        let own = from.checked_sub(self.owners.first).and_then(|own| u16::try_from(own).ok());
        for entry in batch.entries() {
            let (Some(own), Some((link, other))) = (own, read_way(entry.path)) else {
                self.counters.add(Count::FrameUnrouted, 1);
                continue;
            };
            frame.clear();
            frame.extend_from_slice(&self.owners.write(own, other));
            frame.extend_from_slice(batch.datagram(entry));
            links.send_frame(link, frame);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Sends what was collected; how many datagrams found no room.
    fn flush(&mut self) -> u64 {
        let mut lost = 0;
        while let Some((to, batch)) = self.collecting.take() {
            if let Err(ShardMessage::Datagrams(batch)) = self.pass(to, ShardMessage::Datagrams(batch)) {
                lost += batch.len() as u64;
                self.collecting.keep(batch);
            }
        }
        lost
    }

    /// A buffer goes back to whom it belongs; one that finds no room is made anew there.
    fn give_back(&mut self, to: usize, batch: Box<ReceiveBatch>) {
        self.pass(to, ShardMessage::Returned(batch)).ok();
    }

    fn pass(&mut self, to: usize, message: ShardMessage) -> Result<(), ShardMessage> {
        self.rings.pass(to, message)?;
        self.rings.wake_fed();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rtrb::{Consumer, RingBuffer};

    use super::*;

    const MEMBER: u16 = 4;

    /// The switch of an Edge whose two workers are the threads 2 and 3, and what those are given.
    fn edge(room: usize) -> (Switch, Vec<Consumer<ShardMessage>>, LinkCounters) {
        let (mut outbound, mut given): (Vec<_>, Vec<_>) = (vec![None, None], Vec::new());
        for _ in 0..2 {
            let (producer, consumer) = RingBuffer::new(room);
            outbound.push(Some(producer));
            given.push(consumer);
        }
        outbound.push(None);
        let wakers = Arc::new((0..5).map(|_| Waker::new().unwrap()).collect::<Vec<_>>());
        let rings = Rings::new((0..5).map(|_| None).collect(), outbound, wakers.clone());
        let counters = LinkCounters::default();
        let owners = Owners { first: 2, count: 2, is_edge: true };
        (Switch::new(MEMBER, Instant::now(), owners, rings, wakers, counters.clone()), given, counters)
    }

    fn frame(worker: u16, shard: u16, datagram: &[u8]) -> Bytes {
        let (worker, shard) = (worker.to_be_bytes(), shard.to_be_bytes());
        [&worker[..], &shard, datagram].concat().into()
    }

    #[test]
    fn a_frame_comes_to_the_thread_it_names_under_the_way_back_to_its_sender() {
        let (switch, mut given, counters) = edge(4);
        switch.deliver(7, &[frame(1, 0, b"one"), frame(0, 5, b"two"), frame(1, 0, b"three")]);
        let Ok(ShardMessage::Datagrams(batch)) = given[1].pop() else { panic!("nothing came") };
        let got: Vec<_> = batch.entries().iter().map(|entry| (entry.path, batch.datagram(entry))).collect();
        let way = way_over(MEMBER, 7, 0);
        assert_eq!(got, [(way, &b"one"[..]), (way, &b"three"[..])]);
        assert_eq!(read_way(way), Some((7, 0)));
        let Ok(ShardMessage::Datagrams(batch)) = given[0].pop() else { panic!("nothing came") };
        assert_eq!(batch.entries()[0].path, way_over(MEMBER, 7, 5));
        assert_eq!(counters.get(Count::FrameUnrouted), 0);
    }

    #[test]
    fn both_ends_read_the_pair_alike() {
        let edge = Owners { first: 2, count: 2, is_edge: true };
        let core = Owners { first: 0, count: 8, is_edge: false };
        assert_eq!(core.read(edge.write(1, 6)), (6, 1));
        assert_eq!(edge.read(core.write(6, 1)), (1, 6));
    }

    #[test]
    fn frames_for_no_thread_of_ours_and_such_as_find_no_room_are_counted() {
        let (switch, _given, counters) = edge(1);
        switch.deliver(7, &[frame(2, 0, b"nobody's"), Bytes::from_static(&[0, 0, 0])]);
        assert_eq!((counters.get(Count::FrameUnrouted), counters.get(Count::FramesHandover)), (2, 0));
        for _ in 0..2 {
            switch.deliver(7, &[frame(0, 0, b"one"), frame(0, 0, b"two")]);
        }
        assert_eq!(counters.get(Count::FramesHandover), 2);
    }
}
