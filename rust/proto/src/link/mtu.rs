//! How large a datagram may be that passes both ways (RFC 8899): larger ones are tried, and what comes back counts.

use std::time::Duration;

use super::BASE_MTU;
use crate::io::MAX_DATAGRAM;
use crate::time::Time;

/// What is tried, for IPv4: Ethernet, jumbo frames. IPv6 has headers that are longer by 20 bytes.
const SIZES: [usize; 2] = [1500 - 28, 9000 - 28];
const LONGER_IPV6_HEADER: usize = 20;
/// Each size is tried so often.
const TRIES: u32 = 3;
const BETWEEN: Duration = Duration::from_millis(100);

/// The search of one session.
#[derive(Clone, Debug)]
pub(super) struct MtuSearch {
    is_ipv6: bool,
    known: usize,
    next: usize,
    tries: u32,
    due: Time,
}

impl MtuSearch {
    pub(super) fn new(is_ipv6: bool, now: Time) -> MtuSearch {
        MtuSearch { is_ipv6, known: BASE_MTU, next: 0, tries: 0, due: now }
    }

    /// Nothing to look for: what goes is cut and put together again by others.
    pub(super) fn settled() -> MtuSearch {
        MtuSearch { is_ipv6: false, known: MAX_DATAGRAM, next: SIZES.len(), tries: 0, due: Time::FAR_FUTURE }
    }

    /// Bytes that are known to pass.
    pub(super) fn known(&self) -> usize {
        self.known
    }

    /// The size of a datagram that is to be sent now.
    pub(super) fn poll(&mut self, now: Time) -> Option<usize> {
        if self.due > now {
            return None;
        }
        let size = self.size()?;
        if self.tries == TRIES {
            // What is too large once is so for the rest of the session.
            self.next = SIZES.len();
            return None;
        }
        self.tries += 1;
        self.due = now + BETWEEN;
        Some(size)
    }

    pub(super) fn poll_timeout(&self) -> Option<Time> {
        self.size().map(|_| self.due)
    }

    /// A datagram of this size came back; whether more is known to pass now.
    pub(super) fn passed(&mut self, size: usize, now: Time) -> bool {
        let is_larger = self.size() == Some(size);
        if is_larger {
            self.known = size;
            self.next += 1;
            self.tries = 0;
            self.due = now;
        }
        is_larger
    }

    fn size(&self) -> Option<usize> {
        SIZES.get(self.next).map(|size| size - if self.is_ipv6 { LONGER_IPV6_HEADER } else { 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found on a way that passes `most` bytes, and what was sent for it.
    fn search(is_ipv6: bool, most: usize) -> (usize, Vec<usize>) {
        let mut search = MtuSearch::new(is_ipv6, Time::ZERO);
        let mut sent = Vec::new();
        while let Some(due) = search.poll_timeout() {
            if let Some(size) = search.poll(due) {
                sent.push(size);
                if size <= most {
                    search.passed(size, due);
                }
            }
        }
        (search.known(), sent)
    }

    #[test]
    fn the_largest_size_that_comes_back_is_found() {
        assert_eq!(search(false, 1472), (1472, vec![1472, 8972, 8972, 8972]));
        assert_eq!(search(true, 1452).0, 1452);
        assert_eq!(search(false, 9000), (8972, vec![1472, 8972]));
        assert_eq!(search(false, 1400), (BASE_MTU, vec![1472; 3]));
    }

    #[test]
    fn an_answer_that_was_not_asked_for_says_nothing() {
        let mut search = MtuSearch::new(false, Time::ZERO);
        assert!(!search.passed(8972, Time::ZERO));
        assert_eq!(search.known(), BASE_MTU);
    }
}
