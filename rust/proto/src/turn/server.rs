//! The server as a whole: its tables, its timers, and which family of messages goes where.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::time::Duration;

use slab::Slab;

use super::allocation::Allocation;
use super::answer_limit::AnswerLimit;
use super::authentication::Authenticator;
use super::drops::{TurnDrop, TurnDrops};
use super::peers::Peers;
use super::ports::RelayPorts;
use super::quota::Quotas;
use super::relay::Traffic;
use super::reservations::Reservations;
use super::users::{Users, sha256};
use crate::io::{Path, ReceiveBatch, SocketId, TransmitQueue};
use crate::stun::{Class, Message, ParseError, method};
use crate::time::Time;

/// Bytes of a realm: so many that a 401 stays within four times the smallest Allocate request.
pub const MOST_REALM: usize = 28;

/// What a server allows.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Allocations and reserved ports.
    pub allocations: usize,
    /// The same of one user.
    pub allocations_per_user: u32,
    /// Answers a second to one source prefix that has proven nothing.
    pub answers_per_second: u32,
}

/// What a server is made of.
#[derive(Clone)]
pub struct ServerConfig {
    /// Realm of its users, [`MOST_REALM`] bytes at most.
    pub realm: String,
    /// Make the passwords of time-limited names; [`super::MOST_SECRETS`] count.
    pub secrets: Vec<Vec<u8>>,
    /// Other users: name and password.
    pub users: Vec<(String, String)>,
    /// Whom the relay leads to.
    pub peers: Peers,
    /// What it allows.
    pub limits: Limits,
    /// Time of the Unix epoch at `Time::ZERO`.
    pub unix_epoch: Duration,
    /// Random bytes.
    pub seed: [u8; 32],
}

impl std::fmt::Debug for ServerConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerConfig").field("realm", &self.realm).field("peers", &self.peers).finish_non_exhaustive()
    }
}

/// Where everything goes that leaves the server.
#[derive(Debug)]
pub struct Outputs<'a, 'q> {
    /// To clients, and to peers of an open relay.
    pub transmit: &'a mut TransmitQueue<'q>,
    /// Into the process: data for inner peers, as if it had come from the relayed address.
    pub inward: &'a mut ReceiveBatch,
}

/// A TURN server.
#[derive(Debug)]
pub struct Server {
    pub(super) authenticator: Authenticator,
    pub(super) peers: Peers,
    pub(super) allocations: Slab<Allocation>,
    pub(super) by_client: HashMap<Path, usize>,
    pub(super) by_relay: HashMap<SocketId, usize>,
    /// When each allocation ends.
    ends: BTreeSet<(Time, usize)>,
    pub(super) reservations: Reservations,
    pub(super) quotas: Quotas,
    pub(super) answer_limit: AnswerLimit,
    pub(super) drops: TurnDrops,
    pub(super) traffic: Traffic,
    /// Where new clients are sent, while this server is being emptied.
    pub(super) draining: Option<Vec<SocketAddr>>,
    pub(super) random: fastrand::Rng,
}

impl Server {
    /// A server without allocations.
    pub fn new(config: ServerConfig) -> Server {
        let users = Users::new(&config.realm, &config.secrets, &config.users);
        // What peers can see of the random numbers must not tell the secret of the nonces.
        let secret = |purpose: &[u8]| sha256(&[&config.seed, purpose]);
        let mut number = [0u8; 8];
        number.copy_from_slice(&secret(b"random")[..8]);
        Server {
            authenticator: Authenticator::new(users, &secret(b"nonce"), config.unix_epoch),
            peers: config.peers,
            allocations: Slab::new(),
            by_client: HashMap::new(),
            by_relay: HashMap::new(),
            ends: BTreeSet::new(),
            reservations: Reservations::default(),
            quotas: Quotas::new(config.limits.allocations, config.limits.allocations_per_user),
            answer_limit: AnswerLimit::new(config.limits.answers_per_second),
            drops: TurnDrops::default(),
            traffic: Traffic::default(),
            draining: None,
            random: fastrand::Rng::with_seed(u64::from_ne_bytes(number)),
        }
    }

    /// Takes a datagram of a client.
    pub fn handle_datagram(
        &mut self,
        path: Path,
        datagram: &[u8],
        ports: &mut dyn RelayPorts,
        now: Time,
        out: &mut Outputs<'_, '_>,
    ) {
        let result = match datagram.first() {
            // On this port nothing else begins so: RFC 7983 §7 leaves 64 to 79 to TURN, clients of RFC 5766 go on to 127.
            Some(0x40..=0x7F) => self.relay_channel_data(path, datagram, now, out),
            Some(0..=3) => self.handle_stun(path, datagram, ports, now, out),
            _ => Err(TurnDrop::Unclassified),
        };
        if let Err(reason) = result {
            self.drops.count(reason);
        }
    }

    fn handle_stun(
        &mut self,
        path: Path,
        datagram: &[u8],
        ports: &mut dyn RelayPorts,
        now: Time,
        out: &mut Outputs<'_, '_>,
    ) -> Result<(), TurnDrop> {
        let message = Message::parse(datagram).map_err(|error| match error {
            ParseError::Fingerprint => TurnDrop::Fingerprint,
            ParseError::Truncated | ParseError::Malformed => TurnDrop::Malformed,
        })?;
        match (message.class(), message.method()) {
            (Class::Indication, method::SEND) => self.relay_send(path, &message, now, out),
            // RFC 8489 §6.3.2: a client's way to keep its NAT open.
            (Class::Indication, method::BINDING) => Ok(()),
            (Class::Request, method::BINDING) => self.answer_binding(path, &message, datagram.len(), now, out),
            (Class::Request, method::ALLOCATE | method::REFRESH | method::CREATE_PERMISSION | method::CHANNEL_BIND) => {
                self.handle_request(path, &message, datagram.len(), ports, now, out);
                Ok(())
            }
            // Connect and ConnectionBind of RFC 6062 among them: nothing is relayed by TCP.
            _ => Err(TurnDrop::Unsupported),
        }
    }

    /// Ends what is over.
    pub fn handle_timeout(&mut self, ports: &mut dyn RelayPorts, now: Time) {
        while let Some(&(end, index)) = self.ends.first() {
            if end > now {
                break;
            }
            self.remove(index, ports);
        }
        while let Some(reservation) = self.reservations.expire(now) {
            ports.close(reservation.relayed);
            self.quotas.give_back(reservation.user);
        }
    }

    /// The client's connection is closed: its allocation ends with it (RFC 8656 §5).
    pub fn handle_closed(&mut self, client: Path, ports: &mut dyn RelayPorts) {
        if let Some(&index) = self.by_client.get(&client) {
            self.remove(index, ports);
        }
    }

    /// When [`Server::handle_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<Time> {
        let allocation = self.ends.first().map(|(end, _)| *end);
        [allocation, self.reservations.next_end()].into_iter().flatten().min()
    }

    /// Sends new clients elsewhere; those that are here stay. `None` ends that.
    pub fn set_draining(&mut self, alternates: Option<Vec<SocketAddr>>) {
        self.draining = alternates;
    }

    /// Other secrets for time-limited names.
    pub fn set_secrets(&mut self, secrets: &[Vec<u8>]) {
        self.authenticator.users.set_secrets(secrets);
    }

    /// Other named users, in place of all that there were: name and password. Allocations of one who is gone, or has another
    /// password, stay until they end by themselves; whoever wants to prolong them is refused like a stranger.
    pub fn set_users(&mut self, users: &[(String, String)]) {
        self.authenticator.users.set_named(users);
    }

    /// Other bounds from now on. Allocations that there are stay, and count.
    pub fn set_limits(&mut self, limits: Limits) {
        self.quotas.set_most(limits.allocations, limits.allocations_per_user);
        self.answer_limit.set_rate(limits.answers_per_second);
    }

    /// Number of allocations.
    pub fn allocations(&self) -> usize {
        self.allocations.len()
    }

    /// What was refused and dropped.
    pub fn drops(&self) -> &TurnDrops {
        &self.drops
    }

    /// What was relayed.
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// Bytes of memory that allocations take, with their entries in the tables of the server (a hash table keeps an eighth
    /// of its places free and has a byte for each; a tree's nodes may be half empty).
    pub fn allocation_memory(&self) -> usize {
        let own: usize = self.allocations.iter().map(|(_, allocation)| allocation.memory()).sum();
        let spare = (self.allocations.capacity() - self.allocations.len()) * size_of::<Allocation>();
        let clients = self.by_client.capacity() * 8 / 7 * (size_of::<(Path, usize)>() + 1);
        let relays = self.by_relay.capacity() * 8 / 7 * (size_of::<(SocketId, usize)>() + 1);
        own + spare + clients + relays + self.ends.len() * size_of::<(Time, usize)>() * 2
    }

    /// Puts a new allocation into the tables.
    pub(super) fn insert(&mut self, allocation: Allocation) {
        let (client, socket, expires) = (allocation.client, allocation.relayed.socket, allocation.expires);
        let index = self.allocations.insert(allocation);
        self.by_client.insert(client, index);
        self.by_relay.insert(socket, index);
        self.ends.insert((expires, index));
    }

    /// Ends an allocation.
    pub(super) fn remove(&mut self, index: usize, ports: &mut dyn RelayPorts) {
        let Some(allocation) = self.allocations.try_remove(index) else { return };
        self.by_client.remove(&allocation.client);
        self.by_relay.remove(&allocation.relayed.socket);
        self.ends.remove(&(allocation.expires, index));
        self.quotas.give_back(allocation.holder.quota);
        ports.close(allocation.relayed);
    }

    /// Lets an allocation last until `expires`.
    pub(super) fn prolong(&mut self, index: usize, expires: Time) {
        if let Some(allocation) = self.allocations.get_mut(index) {
            self.ends.remove(&(allocation.expires, index));
            allocation.expires = expires;
            self.ends.insert((expires, index));
        }
    }
}
