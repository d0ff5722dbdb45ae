//! How many connections there may be: all together, and of one source before they have proven anything.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

use crate::config::ConnectionLimits;

/// Connections that have proven nothing; whoever comes then takes the place of the one that has waited longest.
pub(super) const MOST_WAITING: usize = 1_024;

/// A network that one visitor may have whole: 24 bits of IPv4, 56 of IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Source(IpAddr);

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Source {
        Source(match address {
            IpAddr::V4(address) => {
                let [a, b, c, _] = address.octets();
                IpAddr::from([a, b, c, 0])
            }
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 72 << 72).into(),
        })
    }
}

/// Why a connection is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closed {
    Full,
    SourceLimit,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Door {
    limits: ConnectionLimits,
    open: usize,
    waiting: usize,
    sources: HashMap<Source, usize>,
}

impl Door {
    /// Other bounds from now on. Who is in stays, and counts.
    pub(super) fn set_limits(&mut self, limits: ConnectionLimits) {
        self.limits = limits;
    }

    /// One more connection comes in; of a proxy's any number may wait, since each is somebody else's.
    pub(super) fn enter(&mut self, source: Source, is_proxy: bool) -> Result<(), Closed> {
        if self.open >= self.limits.connections {
            return Err(Closed::Full);
        }
        self.count(source, if is_proxy { MOST_WAITING } else { self.limits.waiting_per_prefix })?;
        self.open += 1;
        self.waiting += 1;
        Ok(())
    }

    /// One that waits turns out to be another source's, whom a proxy has named.
    pub(super) fn moved(&mut self, from: Source, to: Source) -> Result<(), Closed> {
        self.count(to, self.limits.waiting_per_prefix)?;
        self.forget(from);
        Ok(())
    }

    fn count(&mut self, source: Source, most: usize) -> Result<(), Closed> {
        let of_one = self.sources.get(&source).copied().unwrap_or(0);
        if of_one >= most {
            return Err(Closed::SourceLimit);
        }
        self.sources.insert(source, of_one + 1);
        Ok(())
    }

    fn forget(&mut self, source: Source) {
        if let Some(count) = self.sources.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.sources.remove(&source);
            }
        }
    }

    /// Somebody must go before another one comes.
    pub(super) fn is_crowded(&self) -> bool {
        self.waiting > MOST_WAITING
    }

    /// One has proven itself.
    pub(super) fn proven(&mut self, source: Source) {
        self.waiting -= 1;
        self.forget(source);
    }

    /// One has gone.
    pub(super) fn leave(&mut self, source: Source, was_proven: bool) {
        self.open -= 1;
        if !was_proven {
            self.proven(source);
        }
    }

    /// Connections that are open.
    pub(super) fn open(&self) -> usize {
        self.open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OF_ONE: usize = 64;

    #[test]
    fn a_source_is_a_network_and_its_bound_counts_only_who_has_proven_nothing() {
        let source = |text: &str| Source::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(source("192.0.2.1"), source("192.0.2.255"));
        assert_ne!(source("192.0.2.1"), source("192.0.3.1"));
        assert_eq!(source("2001:db8:1:ff00::1"), source("2001:db8:1:ffff::2"));
        assert_ne!(source("2001:db8:1:ff00::1"), source("2001:db8:1:fe00::1"));

        let (mut door, here) = (Door::default(), source("192.0.2.1"));
        for _ in 0..OF_ONE {
            door.enter(here, false).unwrap();
        }
        assert_eq!(door.enter(here, false), Err(Closed::SourceLimit));
        assert_eq!(door.enter(source("198.51.100.1"), false), Ok(()));
        door.proven(here);
        assert_eq!(door.enter(here, false), Ok(()));
        for _ in 0..OF_ONE {
            door.leave(here, false);
        }
        door.leave(here, true);
        assert_eq!((door.open, door.waiting, door.sources.len()), (1, 1, 1));
    }

    #[test]
    fn whom_a_proxy_names_counts_for_himself_and_the_proxy_for_nobody() {
        let source = |text: &str| Source::from(text.parse::<IpAddr>().unwrap());
        let (proxy, visitor) = (source("10.0.0.1"), source("203.0.113.9"));
        let mut door = Door::default();
        for _ in 0..OF_ONE {
            door.enter(proxy, true).unwrap();
            door.moved(proxy, visitor).unwrap();
        }
        door.enter(proxy, true).unwrap();
        assert_eq!(door.moved(proxy, visitor), Err(Closed::SourceLimit));
        assert_eq!(door.moved(proxy, source("198.51.100.1")), Ok(()));
        assert_eq!(door.sources.len(), 2);
    }

    #[test]
    fn a_new_bound_counts_who_is_in_and_sends_nobody_away() {
        let source = |last: u8| Source::from(IpAddr::from([198, 51, last, 1]));
        let mut door = Door::default();
        (0..4).for_each(|_| door.enter(source(1), false).unwrap());
        door.set_limits(ConnectionLimits { connections: 5, waiting_per_prefix: 2 });
        assert_eq!(door.enter(source(1), false), Err(Closed::SourceLimit));
        assert_eq!(door.enter(source(2), false), Ok(()));
        assert_eq!(door.enter(source(3), false), Err(Closed::Full));
        door.leave(source(2), false);
        assert_eq!(door.enter(source(3), false), Ok(()));
        assert_eq!(door.open(), 5);
    }
}
