//! Bounds what is answered to addresses that have proven nothing: by source prefix, in a table that never grows.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;

use crate::time::Time;

/// Places of the table. Prefixes that fall onto one place share its bound; nobody can choose which do.
const PLACES: usize = 1 << 14;

/// One clock for each place: the moment up to which answers are used up.
#[derive(Debug)]
pub(super) struct AnswerLimit {
    used_up: Vec<u64>,
    hasher: RandomState,
    interval_ns: u64,
}

impl AnswerLimit {
    /// At most so many answers a second to one prefix, and as many at once.
    pub(super) fn new(per_second: u32) -> AnswerLimit {
        AnswerLimit { used_up: vec![0; PLACES], hasher: RandomState::new(), interval_ns: interval_ns(per_second) }
    }

    /// Another bound from now on.
    pub(super) fn set_rate(&mut self, per_second: u32) {
        self.interval_ns = interval_ns(per_second);
    }

    /// Whether one more answer may go to `ip`; counts it.
    pub(super) fn admit(&mut self, ip: IpAddr, now: Time) -> bool {
        let place = self.hasher.hash_one(prefix(ip)) as usize % PLACES;
        let Some(used_up) = self.used_up.get_mut(place) else { return false };
        let start = (*used_up).max(now.0);
        if start - now.0 >= 1_000_000_000 {
            return false;
        }
        *used_up = start + self.interval_ns;
        true
    }
}

fn interval_ns(per_second: u32) -> u64 {
    1_000_000_000 / u64::from(per_second.max(1))
}

/// What one owner of addresses is likely to have: /24 of IPv4, /56 of IPv6.
fn prefix(ip: IpAddr) -> (bool, u64) {
    match ip {
        IpAddr::V4(ip) => (false, u64::from(ip.to_bits() >> 8)),
        IpAddr::V6(ip) => (true, (ip.to_bits() >> 72) as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_has_its_share_each_second_and_others_have_theirs() {
        let mut limit = AnswerLimit::new(10);
        let admitted = |limit: &mut AnswerLimit, now| {
            (0..=255).filter(|&last| limit.admit(IpAddr::from([192, 0, 2, last]), now)).count()
        };
        assert_eq!(admitted(&mut limit, Time::ZERO), 10);
        assert_eq!(admitted(&mut limit, Time::from_millis(500)), 5);
        assert_eq!(admitted(&mut limit, Time::from_millis(5_000)), 10);
        limit.set_rate(100);
        assert_eq!(admitted(&mut limit, Time::from_millis(10_000)), 100);
    }

    #[test]
    fn prefixes_are_those_of_one_owner() {
        let of = |text: &str| prefix(text.parse().unwrap());
        assert_eq!(of("192.0.2.1"), of("192.0.2.254"));
        assert_ne!(of("192.0.2.1"), of("192.0.3.1"));
        assert_eq!(of("2001:db8:0:ff00::1"), of("2001:db8:0:ffff::1"));
        assert_ne!(of("2001:db8:0:fe00::1"), of("2001:db8:0:ff00::1"));
    }
}
