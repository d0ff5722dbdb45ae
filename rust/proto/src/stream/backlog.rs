//! What waits to be written to a stream: bounded, and given up by whole frames when it has become too late.

use std::collections::VecDeque;
use std::time::Duration;

use super::framing::Framing;
use crate::time::Time;

#[derive(Clone, Copy, Debug)]
struct Waiting {
    /// Bytes of it that are not written.
    left: usize,
    since: Time,
}

/// See the module.
#[derive(Debug)]
pub struct Backlog {
    framing: Framing,
    bound: usize,
    longest_wait: Duration,
    bytes: Vec<u8>,
    /// Where in `bytes` begins what is not written.
    at: usize,
    frames: VecDeque<Waiting>,
    /// Some of the first frame is written: it cannot be given up any more.
    begun: bool,
}

impl Backlog {
    /// At most `bound` bytes wait, and none begins to be written after `longest_wait`.
    pub fn new(framing: Framing, bound: usize, longest_wait: Duration) -> Backlog {
        Backlog { framing, bound, longest_wait, bytes: Vec::new(), at: 0, frames: VecDeque::new(), begun: false }
    }

    /// Puts a datagram behind the others; false when there is no room for it.
    pub fn push(&mut self, datagram: &[u8], now: Time) -> bool {
        let Some((head, padding)) = self.framing.surround(datagram) else { return false };
        let left = head.bytes().len() + datagram.len() + padding;
        if self.len() + left > self.bound {
            return false;
        }
        if self.at > 0 && self.bytes.len() + left > self.bytes.capacity() {
            self.bytes.drain(..self.at);
            self.at = 0;
        }
        self.bytes.extend_from_slice(head.bytes());
        self.bytes.extend_from_slice(datagram);
        self.bytes.resize(self.bytes.len() + padding, 0);
        self.frames.push_back(Waiting { left, since: now });
        true
    }

    /// Gives up what has waited too long; how many datagrams that were.
    pub fn give_up_late(&mut self, now: Time) -> u64 {
        let mut late = 0;
        while !self.begun
            && let Some(first) = self.frames.front()
            && now.since(first.since) > self.longest_wait
        {
            self.at += first.left;
            self.frames.pop_front();
            late += 1;
        }
        self.forget_if_empty();
        late
    }

    /// What is to be written next.
    pub fn pending(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    /// So many bytes of it were written; how many datagrams are whole with them.
    pub fn written(&mut self, mut count: usize) -> u64 {
        let before = self.frames.len();
        count = count.min(self.len());
        self.at += count;
        while let Some(first) = self.frames.front_mut() {
            if count < first.left {
                first.left -= count;
                self.begun |= count > 0;
                break;
            }
            count -= first.left;
            self.begun = false;
            self.frames.pop_front();
        }
        let whole = before - self.frames.len();
        self.forget_if_empty();
        whole as u64
    }

    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    fn forget_if_empty(&mut self) {
        if self.frames.is_empty() {
            self.bytes.clear();
            self.at = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WAIT: Duration = Duration::from_millis(500);

    fn at(ms: u64) -> Time {
        Time::from_millis(ms)
    }

    #[test]
    fn what_finds_no_room_is_refused_whole() {
        let mut backlog = Backlog::new(Framing::Prefixed, 20, WAIT);
        assert!(backlog.push(&[1; 8], at(0)) && backlog.push(&[2; 8], at(0)));
        assert!(!backlog.push(&[], at(0)));
        assert_eq!(backlog.pending(), [&[0, 8][..], &[1; 8], &[0, 8], &[2; 8]].concat());
        backlog.written(10);
        assert!(backlog.push(&[3; 8], at(0)));
    }

    #[test]
    fn what_has_waited_too_long_is_given_up_but_never_in_its_middle() {
        let mut backlog = Backlog::new(Framing::Prefixed, 1000, WAIT);
        for (n, ms) in [(1, 0), (2, 0), (3, 100)] {
            assert!(backlog.push(&[n; 8], at(ms)));
        }
        assert_eq!(backlog.written(3), 0);
        assert_eq!(backlog.give_up_late(at(501)), 0, "the first one is half written");
        assert_eq!(backlog.written(7), 1);
        assert_eq!(backlog.give_up_late(at(501)), 1);
        assert_eq!(backlog.pending(), [&[0, 8][..], &[3; 8]].concat());
        assert_eq!(backlog.give_up_late(at(601)), 1);
        assert!(backlog.is_empty() && backlog.pending().is_empty());
    }

    #[test]
    fn channel_data_is_padded_and_stun_is_not() {
        let mut backlog = Backlog::new(Framing::Turn, 1000, WAIT);
        assert!(backlog.push(&[0x40, 0, 0, 1, 9], at(0)) && backlog.push(&[0, 1, 0, 0], at(0)));
        assert_eq!(backlog.pending(), [0x40, 0, 0, 1, 9, 0, 0, 0, 0, 1, 0, 0]);
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_was_pushed_in_order(
            steps in proptest::collection::vec((0usize..40, 0usize..60), 1..60),
        ) {
            let mut backlog = Backlog::new(Framing::Prefixed, 200, WAIT);
            let (mut wanted, mut written) = (Vec::new(), Vec::new());
            for (n, (len, count)) in steps.into_iter().enumerate() {
                let datagram = vec![n as u8; len];
                if backlog.push(&datagram, at(0)) {
                    wanted.extend_from_slice(&(len as u16).to_be_bytes());
                    wanted.extend_from_slice(&datagram);
                }
                prop_assert!(backlog.len() <= 200);
                let count = count.min(backlog.len());
                written.extend_from_slice(&backlog.pending()[..count]);
                backlog.written(count);
            }
            written.extend_from_slice(backlog.pending());
            prop_assert_eq!(written, wanted);
        }
    }
}
