//! What is typed towards a phone: in packets of 300 ms, each repeated in the two that follow, at a rate the phone takes.

use std::collections::VecDeque;
use std::time::Duration;

use super::{BYTE_ORDER_MARK, MISSING, blocks};
use crate::time::Time;
use crate::token_bucket::TokenBucket;

/// Time from packet to packet while there is something to say (RFC 4103 §5.1).
pub const INTERVAL: Duration = Duration::from_millis(300);
/// Packets that repeat what one has said.
pub const GENERATIONS: usize = 2;
/// Text that waits, in bytes; what is typed beyond it is lost.
pub const MOST_WAITING: usize = 8 * 1024;
/// Rates are counted in tenths of a character.
const CHARACTER: u32 = 10;
/// Text of one packet in bytes, so that three of them stay below any path's limit.
const MOST_BLOCK: usize = 300;

/// The text that waits, and what was sent last.
#[derive(Debug)]
pub struct Sender {
    waiting: VecDeque<char>,
    waiting_bytes: usize,
    /// The latest blocks with their times, the oldest first.
    earlier: [(Time, Vec<u8>); GENERATIONS],
    rate: TokenBucket,
    sent_at: Option<Time>,
}

/// What goes into one packet.
#[derive(Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The first text after a pause (RFC 4103 §5.2).
    pub marker: bool,
    /// RFC 2198 with the format `t140` in it, or one block alone.
    pub payload: Vec<u8>,
}

impl Sender {
    /// Begins a session with its byte order mark. At most `characters_per_second` leave, as a mean over any ten seconds.
    pub fn new(characters_per_second: u32) -> Sender {
        Sender {
            waiting: VecDeque::from([BYTE_ORDER_MARK]),
            waiting_bytes: BYTE_ORDER_MARK.len_utf8(),
            earlier: std::array::from_fn(|_| (Time::ZERO, Vec::new())),
            rate: rate(characters_per_second),
            sent_at: None,
        }
    }

    /// The phone has named another rate.
    pub fn set_rate(&mut self, characters_per_second: u32) {
        self.rate = rate(characters_per_second);
    }

    /// Takes text; how many characters were too many. Where some were lost the reader sees a mark.
    pub fn push(&mut self, text: &str) -> usize {
        let mut lost = 0;
        for character in text.chars().filter(|&character| character != BYTE_ORDER_MARK && character != '\0') {
            if self.waiting_bytes + character.len_utf8() <= MOST_WAITING {
                self.wait(character);
            } else {
                lost += 1;
            }
        }
        if lost > 0 && self.waiting.back() != Some(&MISSING) {
            // Three bytes beyond the bound, once.
            self.wait(MISSING);
        }
        lost
    }

    /// When something is to be sent.
    pub fn poll_timeout(&self) -> Option<Time> {
        let anything = !self.waiting.is_empty() || self.repeats();
        anything.then(|| self.sent_at.map_or(Time::ZERO, |sent| sent + INTERVAL))
    }

    /// The payload that is due; `redundant` is whether the phone takes redundancy, `t140` the format inside it.
    pub fn poll_transmit(&mut self, redundant: bool, t140: u8, now: Time) -> Option<Outgoing> {
        if self.poll_timeout()? > now {
            return None;
        }
        // RFC 4103 §5.2: the first packet after a pause has the marker.
        let marker = !self.repeats();
        let own = self.take_block(now);
        self.sent_at = Some(now);
        if own.is_empty() && (marker || !redundant) {
            // The rate has to recover, or there is nothing to repeat it in.
            self.remember(now, own);
            return None;
        }
        let mut payload = Vec::new();
        if redundant {
            let earlier = self.earlier.iter().map(|(at, block)| (now.since(*at).as_millis() as u64, &block[..]));
            blocks::write(t140, earlier, &own, &mut payload);
        } else {
            payload.extend_from_slice(&own);
        }
        self.remember(now, own);
        Some(Outgoing { marker, payload })
    }

    fn wait(&mut self, character: char) {
        self.waiting_bytes += character.len_utf8();
        self.waiting.push_back(character);
    }

    fn repeats(&self) -> bool {
        self.earlier.iter().any(|(_, block)| !block.is_empty())
    }

    fn take_block(&mut self, now: Time) -> Vec<u8> {
        let mut block = String::new();
        while let Some(&character) = self.waiting.front()
            && block.len() + character.len_utf8() <= MOST_BLOCK
            && self.rate.take(CHARACTER, now)
        {
            self.waiting.pop_front();
            block.push(character);
        }
        self.waiting_bytes -= block.len();
        block.into_bytes()
    }

    fn remember(&mut self, now: Time, own: Vec<u8>) {
        self.earlier.rotate_left(1);
        self.earlier[GENERATIONS - 1] = (now, own);
    }
}

/// RFC 4103 §6: the mean over any ten seconds. A second's worth may come at once; that and nine tenths of the rate are it.
fn rate(characters_per_second: u32) -> TokenBucket {
    let tenths = characters_per_second.max(1).saturating_mul(CHARACTER);
    TokenBucket::new(tenths - tenths / 10, tenths)
}

#[cfg(test)]
mod tests {
    use super::super::blocks::Blocks;
    use super::*;

    /// Runs a sender for `ms` on virtual time and gives its packets: when, the marker, the blocks.
    fn run(sender: &mut Sender, from: u64, ms: u64) -> Vec<(u64, bool, Vec<String>)> {
        let mut packets = Vec::new();
        for at in from..from + ms {
            if let Some(Outgoing { marker, payload }) = sender.poll_transmit(true, 98, Time::from_millis(at)) {
                let blocks = Blocks::parse(&payload, 98).unwrap();
                let text = |block: &&[u8]| String::from_utf8(block.to_vec()).unwrap();
                packets.push((at, marker, blocks.all().iter().map(text).collect()));
            }
        }
        packets
    }

    #[test]
    fn a_character_leaves_at_once_and_is_repeated_twice() {
        let mut sender = Sender::new(30);
        let mark = "\u{feff}";
        assert_eq!(
            run(&mut sender, 1000, 5000),
            [
                (1000, true, vec![String::new(), String::new(), mark.into()]),
                (1300, false, vec![String::new(), mark.into(), String::new()]),
                (1600, false, vec![mark.into(), String::new(), String::new()]),
            ]
        );
        assert_eq!(sender.push("a"), 0);
        let packets = run(&mut sender, 6000, 200);
        assert_eq!(packets, [(6000, true, vec![String::new(), String::new(), "a".into()])]);
        sender.push("b\u{8}c");
        let packets = run(&mut sender, 6200, 3000);
        assert_eq!(packets[0], (6300, false, vec![String::new(), "a".into(), "b\u{8}c".into()]));
        assert_eq!(packets[1], (6600, false, vec!["a".into(), "b\u{8}c".into(), String::new()]));
        assert_eq!(packets.len(), 3);
        assert_eq!(sender.poll_timeout(), None);
    }

    #[test]
    fn no_ten_seconds_have_more_characters_than_agreed() {
        let mut sender = Sender::new(5);
        assert_eq!(sender.push(&"x".repeat(400)), 0);
        let packets = run(&mut sender, 0, 60_000);
        let own: Vec<(u64, usize)> = packets.iter().map(|(at, _, blocks)| (*at, blocks[2].chars().count())).collect();
        let mut most = 0;
        for start in 0..50_000 {
            let within = own.iter().filter(|(at, _)| (start..start + 10_000).contains(at));
            most = most.max(within.map(|(_, count)| count).sum());
        }
        assert!((45..=50).contains(&most), "{most}");
        let sent: usize = own.iter().map(|(_, count)| count).sum();
        assert!((240..=310).contains(&sent), "{sent} in a minute");
    }

    #[test]
    fn beyond_the_bound_text_is_lost_and_marked_once() {
        let mut sender = Sender::new(1000);
        let fits = MOST_WAITING - BYTE_ORDER_MARK.len_utf8();
        assert_eq!(sender.push(&"x".repeat(fits)), 0);
        assert_eq!(sender.push("yz"), 2);
        assert_eq!(sender.push("y"), 1);
        let all: String = run(&mut sender, 0, 60_000).into_iter().map(|(_, _, mut blocks)| blocks.remove(2)).collect();
        assert_eq!(all, format!("\u{feff}{}\u{fffd}", "x".repeat(fits)));
    }

    #[test]
    fn without_redundancy_a_packet_is_the_text_itself() {
        let mut sender = Sender::new(30);
        sender.push("hej");
        let packet = sender.poll_transmit(false, 98, Time::from_millis(5)).unwrap();
        assert_eq!(packet, Outgoing { marker: true, payload: "\u{feff}hej".into() });
        for at in 6..3000 {
            assert_eq!(sender.poll_transmit(false, 98, Time::from_millis(at)), None);
        }
        assert_eq!(sender.poll_timeout(), None);
    }
}
