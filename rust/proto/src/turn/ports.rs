//! Relayed addresses: who opens them, and which port is next.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use crate::io::SocketId;

/// Ports looked at for one allocation.
const TRIES: usize = 128;

/// Family of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of an address.
    pub fn of(ip: IpAddr) -> Family {
        if ip.is_ipv4() { Family::V4 } else { Family::V6 }
    }
}

/// A relayed address and the socket behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relayed {
    /// Names the socket.
    pub socket: SocketId,
    /// The address that peers see.
    pub address: SocketAddr,
}

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortWish {
    /// Family of the relayed address.
    pub family: Family,
    /// The port is to be even (RFC 8656 §18.6).
    pub even: bool,
    /// And the next one kept for another allocation.
    pub reserve_next: bool,
}

/// What was opened for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenedPorts {
    /// The allocation's own.
    pub relayed: Relayed,
    /// The next port, where it was asked for.
    pub reserved: Option<Relayed>,
}

/// Who owns the relayed addresses: real sockets, or numbers only.
pub trait RelayPorts {
    /// Whether there are addresses of this family.
    fn has(&self, family: Family) -> bool;
    /// Opens what is asked for; `None` when nothing of the kind is left.
    fn open(&mut self, wish: PortWish) -> Option<OpenedPorts>;
    /// Takes a relayed address back.
    fn close(&mut self, relayed: Relayed);
}

#[derive(Clone, Copy, Debug, Default)]
struct Port {
    is_taken: bool,
    /// Stands in the queue.
    is_queued: bool,
}

/// The ports of one range, the longest unused one first: what peers still send to a port that was given back should not
/// find somebody else there (RFC 8656 §7.2). It rests for no fixed time, or one client that comes and goes could use up
/// all ports.
#[derive(Debug)]
pub struct PortTable {
    first: u16,
    ports: Vec<Port>,
    queue: VecDeque<u16>,
}

impl PortTable {
    /// The ports `first..=last` in an order that `seed` chooses, since a port should not be guessed (RFC 6056).
    pub fn new(first: u16, last: u16, seed: u64) -> PortTable {
        let mut queue: Vec<u16> = (first..=last).collect();
        fastrand::Rng::with_seed(seed).shuffle(&mut queue);
        let ports = vec![Port { is_taken: false, is_queued: true }; queue.len()];
        PortTable { first, ports, queue: queue.into() }
    }

    /// Takes a port; with `pair` an even one whose neighbour is then taken too. `None` when there is none, or none was
    /// found among those that were looked at.
    pub fn take(&mut self, even: bool, pair: bool) -> Option<u16> {
        for _ in 0..TRIES.min(self.queue.len()) {
            let port = self.queue.pop_front()?;
            self.get(port)?.is_queued = false;
            if self.get(port)?.is_taken {
                // It comes back into the queue when it is given back.
                continue;
            }
            let fits = (!even && !pair || port % 2 == 0)
                && (!pair || port.checked_add(1).is_some_and(|next| self.is_free(next)));
            if !fits {
                self.enqueue(port);
                continue;
            }
            self.get(port)?.is_taken = true;
            if pair {
                self.get(port + 1)?.is_taken = true;
            }
            return Some(port);
        }
        None
    }

    /// Takes a port back.
    pub fn give_back(&mut self, port: u16) {
        let Some(place) = self.get(port) else { return };
        place.is_taken = false;
        self.enqueue(port);
    }

    fn enqueue(&mut self, port: u16) {
        if let Some(place) = self.get(port)
            && !place.is_queued
        {
            place.is_queued = true;
            self.queue.push_back(port);
        }
    }

    fn is_free(&mut self, port: u16) -> bool {
        self.get(port).is_some_and(|place| !place.is_taken)
    }

    fn get(&mut self, port: u16) -> Option<&mut Port> {
        self.ports.get_mut(usize::from(port.checked_sub(self.first)?))
    }
}

/// Relayed addresses that nobody can send to: numbers, never opened, for relaying into the process itself.
#[derive(Debug)]
pub struct PseudoPorts {
    addresses: Vec<(IpAddr, PortTable)>,
}

impl PseudoPorts {
    /// Numbers `first..=last` on each of the addresses that clients are told, one of a family.
    pub fn new(ips: &[IpAddr], first: u16, last: u16, seed: u64) -> PseudoPorts {
        PseudoPorts { addresses: ips.iter().map(|&ip| (ip, PortTable::new(first, last, seed))).collect() }
    }

    /// The socket that a relayed address is named by.
    pub fn socket(address: SocketAddr) -> SocketId {
        SocketId(u32::from(address.is_ipv6()) << 16 | u32::from(address.port()))
    }
}

impl RelayPorts for PseudoPorts {
    fn has(&self, family: Family) -> bool {
        self.addresses.iter().any(|(ip, _)| Family::of(*ip) == family)
    }

    fn open(&mut self, wish: PortWish) -> Option<OpenedPorts> {
        let (ip, table) = self.addresses.iter_mut().find(|(ip, _)| Family::of(*ip) == wish.family)?;
        let port = table.take(wish.even, wish.reserve_next)?;
        let relayed = |port| {
            let address = SocketAddr::new(*ip, port);
            Relayed { socket: PseudoPorts::socket(address), address }
        };
        Some(OpenedPorts { relayed: relayed(port), reserved: wish.reserve_next.then(|| relayed(port + 1)) })
    }

    fn close(&mut self, relayed: Relayed) {
        if let Some((_, table)) = self.addresses.iter_mut().find(|(ip, _)| *ip == relayed.address.ip()) {
            table.give_back(relayed.address.port());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_port_is_given_once_and_the_longest_unused_one_first() {
        let mut table = PortTable::new(100, 109, 7);
        let given: HashSet<u16> = (0..10).filter_map(|_| table.take(false, false)).collect();
        assert_eq!(given, (100..=109).collect());
        assert_eq!(table.take(false, false), None);
        table.give_back(104);
        table.give_back(101);
        assert_eq!((table.take(false, false), table.take(false, false)), (Some(104), Some(101)));
    }

    #[test]
    fn a_pair_is_even_and_has_its_neighbour() {
        let mut table = PortTable::new(101, 106, 7);
        let pairs: HashSet<u16> = (0..2).filter_map(|_| table.take(true, true)).collect();
        assert_eq!(pairs, HashSet::from([102, 104]));
        assert_eq!(table.take(true, true), None, "106 has no neighbour");
        assert_eq!(table.take(true, false), Some(106));
        assert_eq!(table.take(false, false), Some(101));
        assert_eq!(table.take(false, false), None);
    }

    proptest! {
        #[test]
        fn no_port_is_ever_given_twice(steps in proptest::collection::vec((0u8..3, any::<u16>()), 0..400)) {
            let mut table = PortTable::new(65_500, u16::MAX, 3);
            let mut taken = Vec::new();
            for (what, pick) in steps {
                match what {
                    0 | 1 => {
                        let pair = what == 1;
                        if let Some(port) = table.take(pair, pair) {
                            for port in port..=port + u16::from(pair) {
                                prop_assert!(!taken.contains(&port) && port >= 65_500);
                                taken.push(port);
                            }
                        }
                    }
                    _ if !taken.is_empty() => {
                        let port = taken.swap_remove(usize::from(pick) % taken.len());
                        table.give_back(port);
                    }
                    _ => {}
                }
                prop_assert!(table.queue.len() <= table.ports.len());
            }
        }
    }
}
