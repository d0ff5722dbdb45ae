//! The threads beside an Edge's: the one with all TCP, and the relay. What came in there are paths like any other.

use std::collections::VecDeque;

use mediaserver_proto::endpoint::ShardMessage;
use mediaserver_proto::io::{Path, ReceiveBatch, SocketId, TransmitQueue};
use mediaserver_proto::time::Time;
use mediaserver_proto::turn::is_for_server;

use crate::carried::Carried;
use crate::counters::Counters;
use crate::metrics::ShardMetrics;
use crate::worker::Links;

/// Messages of one round; more wait for the sockets to have their turn.
pub(super) const MESSAGES_PER_ROUND: usize = 256;
/// Messages that wait for room in a ring; only such as must not be lost.
const MOST_WAITING: usize = 4_096;

/// Public sockets on which clients of a relay are served, too.
#[derive(Clone, Debug)]
pub struct SharedWithTurn {
    /// Index of the relay's thread.
    pub relay: usize,
    /// Those sockets.
    pub sockets: Vec<SocketId>,
}

/// See the module.
#[derive(Debug)]
pub struct Neighbours {
    own: u16,
    turn: Option<SharedWithTurn>,
    pub(super) links: Links,
    carried: Carried,
    waiting: VecDeque<(usize, ShardMessage)>,
}

impl Neighbours {
    /// Those of the thread with `index` among all.
    pub fn new(index: usize, turn: Option<SharedWithTurn>, links: Links) -> Neighbours {
        let carried = Carried::new(links.rings.threads());
        Neighbours { own: u16::try_from(index).unwrap_or(u16::MAX), turn, links, carried, waiting: VecDeque::new() }
    }

    /// Whether something of them waits here, or of ours for them.
    pub(super) fn has_input(&self) -> bool {
        self.links.has_input()
    }

    /// Messages wait for room.
    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether what comes from the thread with index `from` are frames that came over TLS: the thread of the links is the last.
    pub(super) fn brings_frames(&self, from: usize) -> bool {
        from + 1 == self.links.rings.threads()
    }

    /// The next message, each thread in turn; a buffer that comes back is none.
    pub(super) fn take_message(&mut self) -> Option<(usize, ShardMessage)> {
        loop {
            match self.links.rings.take()? {
                (_, ShardMessage::Returned(batch)) => self.carried.keep(batch),
                message => return Some(message),
            }
        }
    }

    /// Takes a visitor's datagram out that is for the relay.
    pub(super) fn take_for_relay(&mut self, path: Path, datagram: &[u8], now: Time) -> bool {
        let Some(turn) = self.turn.as_ref().filter(|turn| turn.sockets.contains(&path.socket)) else { return false };
        if !is_for_server(datagram) {
            return false;
        }
        // The relay answers by us.
        let socket = SocketId::carried(self.own, path.socket.0 as u16);
        self.carried.push(turn.relay, Path { socket, remote: path.remote }, datagram, Some(now));
        true
    }

    /// Where a datagram of the relay leaves, when it is for a client of one of our sockets.
    pub(super) fn client(&self, path: Path) -> Option<Path> {
        let is_ours = path.socket.carrier() == Some(self.own);
        is_ours.then(|| Path { socket: SocketId(u32::from(path.socket.carried_number())), remote: path.remote })
    }

    /// Takes those datagrams of `queue` that others are to send.
    pub(super) fn collect(&mut self, queue: &TransmitQueue<'_>, arrived: Option<Time>) {
        self.carried.collect(queue, arrived);
    }

    /// Tells the thread that has a path something about it. A relay knows by itself how long its clients stay.
    pub(super) fn tell(&mut self, path: Path, message: ShardMessage, metrics: &mut ShardMetrics) {
        let Some(to) = path.socket.carrier().map(usize::from) else { return };
        if self.turn.as_ref().is_some_and(|turn| turn.relay == to) {
            return;
        }
        let result = if self.waiting.is_empty() { self.links.rings.pass(to, message) } else { Err(message) };
        let Err(message) = result else { return };
        if self.waiting.len() < MOST_WAITING {
            self.waiting.push_back((to, message));
        } else {
            metrics.handover_full += 1;
        }
    }

    /// A buffer goes back to whom it belongs; one that finds no room is made anew there.
    pub(super) fn give_back(&mut self, to: usize, batch: Box<ReceiveBatch>) {
        self.links.rings.pass(to, ShardMessage::Returned(batch)).ok();
    }

    /// Passes on what was collected, and wakes who was given something. Media that finds no room is lost, as on a network.
    pub(super) fn flush(&mut self, metrics: &mut ShardMetrics) {
        while let Some((to, message)) = self.waiting.pop_front() {
            if let Err(message) = self.links.rings.pass(to, message) {
                self.waiting.push_front((to, message));
                break;
            }
        }
        while let Some((to, batch)) = self.carried.take() {
            if let Err(message) = self.links.rings.pass(to, ShardMessage::Datagrams(batch)) {
                metrics.handover_full += 1;
                self.carried.take_back(message);
            }
        }
        self.links.rings.wake_fed();
    }

    /// Writes the counters under their names.
    pub(super) fn write(&self, counters: &mut Counters) {
        self.carried.write(counters);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rtrb::{Consumer, RingBuffer};

    use super::*;
    use crate::mailbox::{Waker, event_queue};
    use crate::metrics::Published;
    use crate::rings::Rings;

    const RELAY: usize = 0;
    const OWN: usize = 1;
    const STREAMS: usize = 2;

    /// The neighbours of a thread whose socket 3 is TURN's, too, and what the relay and the streams get; two fit into a ring.
    fn neighbours() -> (Neighbours, Consumer<ShardMessage>, Consumer<ShardMessage>) {
        let ((to_relay, relay), (to_streams, streams)) = (RingBuffer::new(2), RingBuffer::new(2));
        let wakers = Arc::new((0..3).map(|_| Waker::new().unwrap()).collect::<Vec<_>>());
        let outbound = vec![Some(to_relay), None, Some(to_streams)];
        let links = Links {
            inbox: RingBuffer::new(1).1,
            events: event_queue().unwrap().0,
            rings: Rings::new(vec![None, None, None], outbound, wakers.clone()),
            wakers,
            stop: Arc::default(),
            published: Published::default(),
        };
        let turn = SharedWithTurn { relay: RELAY, sockets: vec![SocketId(3)] };
        (Neighbours::new(OWN, Some(turn), links), relay, streams)
    }

    fn path(socket: SocketId) -> Path {
        Path { socket, remote: ([192, 0, 2, 1], 4000).into() }
    }

    #[test]
    fn what_is_turn_on_a_shared_socket_goes_to_the_relay_and_its_answers_leave_there() {
        let (mut neighbours, mut relay, _streams) = neighbours();
        let (channel_data, dtls) = ([0x40, 0, 0, 1, 9], [22, 254, 253]);
        assert!(neighbours.take_for_relay(path(SocketId(3)), &channel_data, Time::ZERO));
        assert!(!neighbours.take_for_relay(path(SocketId(3)), &dtls, Time::ZERO));
        assert!(!neighbours.take_for_relay(path(SocketId(2)), &channel_data, Time::ZERO), "no TURN there");
        neighbours.flush(&mut ShardMetrics::default());
        let Ok(ShardMessage::Datagrams(batch)) = relay.pop() else { panic!("a batch") };
        assert_eq!(batch.len(), 1);
        let client = batch.entries()[0].path;
        assert_eq!(neighbours.client(client), Some(path(SocketId(3))));
        // A visitor by the relay is not a client of it.
        assert_eq!(neighbours.client(path(SocketId::carried(RELAY as u16, 3))), None);
    }

    #[test]
    fn news_of_a_connection_waits_for_room_and_the_relay_is_told_nothing() {
        let (mut neighbours, mut relay, mut streams) = neighbours();
        let mut metrics = ShardMetrics::default();
        for number in 0..5 {
            let connection = path(SocketId::carried(STREAMS as u16, number));
            neighbours.tell(connection, ShardMessage::PathBound(connection), &mut metrics);
        }
        let allocation = path(SocketId::carried(RELAY as u16, 0));
        neighbours.tell(allocation, ShardMessage::PathUnbound(allocation), &mut metrics);
        let mut told = Vec::new();
        for _ in 0..3 {
            while let Ok(ShardMessage::PathBound(path)) = streams.pop() {
                told.push(path.socket.carried_number());
            }
            neighbours.flush(&mut metrics);
        }
        assert_eq!((told, neighbours.has_waiting(), metrics.handover_full), (vec![0, 1, 2, 3, 4], false, 0));
        assert!(relay.pop().is_err());
    }
}
