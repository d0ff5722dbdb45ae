//! Two shards and their peers on virtual time, with a wire of ten milliseconds that loses a packet now and then.
//!
//! Only what the endpoints do themselves is counted; the peers and the wire may allocate as they like.

use std::collections::VecDeque;
use std::time::Duration;

use mediaserver_netem::random::Random;
use mediaserver_proto::dtls::Identity;
use mediaserver_proto::endpoint::{Endpoint, EndpointConfig, EndpointLimits, Shard};
use mediaserver_proto::ice::UfragKey;
use mediaserver_proto::io::{MAX_DATAGRAM, Paced, Path, ReceiveBatch, SocketId, TransmitQueue};
use mediaserver_proto::srtp::Suite;
use mediaserver_proto::time::Time;

use crate::allocations::counted;
use crate::peer::{Part, Peer};
use crate::receiver::Receiver;

const LATENCY: Duration = Duration::from_millis(10);
const STEP: Duration = Duration::from_millis(1);
/// One media packet in so many is lost, on each of the two ways.
const LOSS: f64 = 0.01;

/// See the module.
pub(crate) struct Wire {
    pub(crate) shards: Vec<Endpoint>,
    pub(crate) peers: Vec<Peer>,
    pub(crate) now: Time,
    /// Datagrams that the endpoints took and sent, and what shards said to each other.
    pub(crate) taken: u64,
    pub(crate) sent: u64,
    pub(crate) messages: u64,
    to_server: VecDeque<(Time, usize, Vec<u8>)>,
    to_peers: VecDeque<(Time, usize, Vec<u8>)>,
    batches: Vec<ReceiveBatch>,
    outs: Vec<TransmitQueue<'static>>,
    random: Random,
    identity: Identity,
}

impl Wire {
    pub(crate) fn new(shards: Shard) -> Wire {
        let identity = Peer::identity();
        let endpoint = |shard| {
            Endpoint::new(EndpointConfig {
                shard,
                shards,
                sources: shards,
                ufrag_key: UfragKey::new(1, 2, &[7; 32]),
                identity: identity.clone(),
                unix_epoch: Duration::from_secs(1_800_000_000),
                limits: EndpointLimits { transports: 64, half_open: 64, tracks_per_transport: 8, unknown_ssrcs: 8 },
            })
        };
        Wire {
            shards: (0..shards).map(endpoint).collect(),
            peers: Vec::new(),
            now: Time::from_millis(1),
            taken: 0,
            sent: 0,
            messages: 0,
            to_server: VecDeque::new(),
            to_peers: VecDeque::new(),
            batches: (0..shards).map(|_| ReceiveBatch::default()).collect(),
            outs: (0..shards).map(|_| grown_queue()).collect(),
            random: Random::new(5),
            identity,
        }
    }

    /// A peer whose transport lives on one shard and whose datagrams come in at another, or the same; its id.
    pub(crate) fn connect(&mut self, shard: Shard, arrives_at: Shard, part: Part) -> u64 {
        let number = self.peers.len() as u8 + 1;
        let id = (u64::from(shard) << 48) | (100 * u64::from(number));
        let endpoint = &mut self.shards[usize::from(shard)];
        self.peers.push(Peer::browser(endpoint, id, number, arrives_at, part, &self.identity, self.now));
        id
    }

    /// A peer on sockets of its own with SDES keys, on shard 0; its id.
    pub(crate) fn connect_phone(&mut self, suite: Suite, part: Part) -> u64 {
        let number = self.peers.len() as u8 + 1;
        let id = 100 * u64::from(number);
        self.peers.push(Peer::phone(&mut self.shards[0], id, number, suite, part, self.now));
        id
    }

    /// What the receivers have seen.
    pub(crate) fn receivers(&self) -> impl Iterator<Item = &Receiver> {
        self.peers.iter().filter_map(|peer| match &peer.part {
            Part::Receives(receiver) => Some(receiver),
            Part::Publishes(_) => None,
        })
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.now < end {
            self.now = self.now + STEP;
            for at in 0..self.peers.len() {
                self.peers[at].act(self.now);
                self.collect(at);
            }
            self.deliver_to_server();
            self.exchange();
            self.fire();
            self.deliver_to_peers();
        }
    }

    /// What a peer wants to send is on its way.
    fn collect(&mut self, at: usize) {
        let out = std::mem::take(&mut self.peers[at].out);
        for entry in out.entries() {
            if !self.is_lost(out.datagram(entry)) {
                self.to_server.push_back((self.now + LATENCY, at, out.datagram(entry).to_vec()));
            }
        }
    }

    /// Media may be lost; checks, handshakes and reports arrive.
    fn is_lost(&mut self, datagram: &[u8]) -> bool {
        // RFC 7983, RFC 5761.
        let is_media = (128..192).contains(&datagram[0]) && !(192..224).contains(&datagram[1]);
        is_media && self.random.unit() < LOSS
    }

    fn deliver_to_server(&mut self) {
        while let Some((_, at, datagram)) = self.to_server.pop_front_if(|(due, ..)| *due <= self.now) {
            let peer = &self.peers[at];
            self.batches[peer.arrives_at].push(Path { socket: peer.socket, remote: peer.address }, &datagram);
            self.taken += 1;
        }
        for shard in 0..self.shards.len() {
            let (endpoint, batch, out) = (&mut self.shards[shard], &mut self.batches[shard], &mut self.outs[shard]);
            let (all, now) = (0..batch.len(), self.now);
            counted(|| endpoint.handle_batch(batch, all, now, out));
            batch.clear();
        }
    }

    fn exchange(&mut self) {
        let now = self.now;
        loop {
            let mut idle = true;
            for from in 0..self.shards.len() {
                while let Some((to, message)) = counted(|| self.shards[from].poll_message()) {
                    let (endpoint, out) = (&mut self.shards[usize::from(to)], &mut self.outs[usize::from(to)]);
                    counted(|| endpoint.handle_message(from as Shard, message, now, out));
                    self.messages += 1;
                    idle = false;
                }
            }
            if idle {
                return;
            }
        }
    }

    fn fire(&mut self) {
        let now = self.now;
        for (endpoint, out) in self.shards.iter_mut().zip(&mut self.outs) {
            if counted(|| endpoint.poll_timeout()).is_some_and(|due| due <= now) {
                counted(|| endpoint.handle_timeout(now, out));
            }
            while counted(|| endpoint.poll_event()).is_some() {}
        }
    }

    fn deliver_to_peers(&mut self) {
        for shard in 0..self.outs.len() {
            let out = std::mem::take(&mut self.outs[shard]);
            for entry in out.entries() {
                self.sent += 1;
                let Some(at) = self.peers.iter().position(|peer| peer.address == entry.path.remote) else { continue };
                if !self.is_lost(out.datagram(entry)) {
                    self.to_peers.push_back((self.now + LATENCY, at, out.datagram(entry).to_vec()));
                }
            }
            self.outs[shard] = out;
            self.outs[shard].clear();
        }
        while let Some((_, at, datagram)) = self.to_peers.pop_front_if(|(due, ..)| *due <= self.now) {
            self.peers[at].handle(datagram, self.now);
        }
    }
}

/// A queue that has held what a batch may cause, as the worker's has after its first busy second.
fn grown_queue() -> TransmitQueue<'static> {
    let mut queue = TransmitQueue::default();
    let nobody = Path { socket: SocketId(0), remote: ([192, 0, 2, 9], 9).into() };
    for _ in 0..1_000 {
        queue.push(nobody, &[0; MAX_DATAGRAM]);
        queue.note_paced(Paced { since: Time::ZERO, until: Time::ZERO, is_repair: false });
    }
    queue.clear();
    queue
}
