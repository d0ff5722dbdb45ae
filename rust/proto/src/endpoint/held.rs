//! Messages of one data channel that wait: for a topic, or for somebody in it who hears them.

use std::collections::VecDeque;
use std::time::Duration;

use super::topics::TopicMessage;
use crate::time::Time;

/// Bounds of one channel. A page may send as soon as its channel is open, which is before the control plane has heard
/// of it; and who is called may need some seconds more until its own channel is there.
pub(super) const MOST_HELD: usize = 256;
pub(super) const MOST_HELD_BYTES: usize = 256 * 1024;
/// Bytes over all channels of a transport.
pub(super) const MOST_HELD_BYTES_OF_ALL: usize = 512 * 1024;
/// What is older is news no more.
pub(super) const HELD_FOR: Duration = Duration::from_secs(20);

/// Messages in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Held {
    messages: VecDeque<(Time, TopicMessage)>,
    bytes: usize,
}

impl Held {
    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether a message of `len` bytes fits, where the transport's channels hold `of_all`.
    pub(super) fn fits(&self, len: usize, of_all: usize) -> bool {
        self.messages.len() < MOST_HELD && self.bytes + len <= MOST_HELD_BYTES && of_all + len <= MOST_HELD_BYTES_OF_ALL
    }

    pub(super) fn push(&mut self, message: TopicMessage, now: Time) {
        self.bytes += message.payload.len();
        self.messages.push_back((now, message));
    }

    /// Lets go what has waited too long; how many that were.
    pub(super) fn expire(&mut self, now: Time) -> u64 {
        let mut expired = 0;
        while let Some((since, message)) = self.messages.front()
            && now.since(*since) > HELD_FOR
        {
            self.bytes -= message.payload.len();
            self.messages.pop_front();
            expired += 1;
        }
        expired
    }

    /// Everything, the oldest first; nothing is held afterwards.
    pub(super) fn take(&mut self) -> impl Iterator<Item = TopicMessage> + use<> {
        self.bytes = 0;
        std::mem::take(&mut self.messages).into_iter().map(|(_, message)| message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sctp::MessageKind;

    fn message(len: usize) -> TopicMessage {
        TopicMessage { kind: MessageKind::Binary, payload: vec![0; len] }
    }

    #[test]
    fn it_is_bounded_in_messages_and_in_bytes_of_the_channel_and_of_all() {
        let mut held = Held::default();
        for _ in 0..MOST_HELD {
            assert!(held.fits(1, 0));
            held.push(message(1), Time::ZERO);
        }
        assert!(!held.fits(1, 0));
        assert_eq!(held.take().count(), MOST_HELD);
        held.push(message(MOST_HELD_BYTES - 1), Time::ZERO);
        assert!(held.fits(1, 0) && !held.fits(2, 0) && !held.fits(1, MOST_HELD_BYTES_OF_ALL));
    }

    #[test]
    fn what_is_too_old_goes_and_gives_its_room_back() {
        let mut held = Held::default();
        held.push(message(MOST_HELD_BYTES), Time::ZERO);
        held.push(message(0), Time::from_millis(1));
        assert_eq!(held.expire(Time::ZERO + HELD_FOR), 0);
        assert_eq!(held.expire(Time::ZERO + HELD_FOR + Duration::from_micros(1)), 1);
        assert_eq!((held.len(), held.bytes()), (1, 0));
    }
}
