//! One text of the packets that arrive: each block once, what was lost from the redundancy behind it, or a mark for it.

use super::blocks::Blocks;
use super::{BYTE_ORDER_MARK, MISSING};
use crate::error::{Drop, DropCounters};
use crate::rtp::Ssrc;

/// Marks for one gap: a stream that jumps does not fill the reader's screen.
const MOST_MARKS: u16 = 8;
/// A jump of more packets than this, either way, is a sender that began anew.
const RESTART: u16 = 3_000;

/// What has been received of one stream.
#[derive(Debug, Default)]
pub struct Receiver {
    /// The stream and its highest sequence number.
    latest: Option<(Ssrc, u16)>,
}

impl Receiver {
    /// Takes the blocks of one packet and appends to `text` what is new of it.
    ///
    /// RFC 4103 §5.3: what is missing comes from the redundancy; what that does not reach gets a mark for each packet. A
    /// packet that comes later than the one after it brings nothing more, because its text was taken from that one: we
    /// do not use the permission of §5.4 to wait.
    pub fn take(&mut self, ssrc: Ssrc, sequence: u16, blocks: &Blocks, text: &mut String, drops: &mut DropCounters) {
        let all = blocks.all();
        let missed = match self.latest {
            Some((known, latest)) if known == ssrc => sequence.wrapping_sub(latest.wrapping_add(1)),
            // What stands before the first packet that came is either earlier text or nothing.
            _ => all.len() as u16 - 1,
        };
        let fresh = self.latest.is_none_or(|(known, _)| known != ssrc);
        if !fresh && missed > u16::MAX - RESTART {
            return drops.count(Drop::TextLate);
        }
        self.latest = Some((ssrc, sequence));
        let repeated = missed.min(all.len() as u16 - 1);
        let lost = if missed > RESTART { 1 } else { (missed - repeated).min(MOST_MARKS) };
        for _ in 0..lost {
            drops.count(Drop::TextLost);
            text.push(MISSING);
        }
        for block in &all[all.len() - 1 - usize::from(repeated)..] {
            append(block, text, drops);
        }
    }
}

/// Text without byte order marks, which are no text, and without what is no character.
fn append(block: &[u8], text: &mut String, drops: &mut DropCounters) {
    let start = text.len();
    let decoded = String::from_utf8_lossy(block);
    if matches!(decoded, std::borrow::Cow::Owned(_)) {
        drops.count(Drop::TextNotUtf8);
    }
    text.extend(decoded.chars().filter(|&character| character != BYTE_ORDER_MARK && character != '\0'));
    debug_assert!(text.len() - start <= 3 * block.len());
}

#[cfg(test)]
mod tests {
    use super::super::blocks;
    use super::*;

    /// A receiver, and packets of the letters a, b, c … by number, with two generations in front of each.
    #[derive(Default)]
    struct Typed {
        receiver: Receiver,
        text: String,
        drops: DropCounters,
    }

    impl Typed {
        fn take(&mut self, sequence: u16, payload: &[&[u8]]) {
            let mut bytes = Vec::new();
            let (own, earlier) = payload.split_last().unwrap();
            blocks::write(98, earlier.iter().map(|block| (300, *block)), own, &mut bytes);
            let blocks = Blocks::parse(&bytes, 98).unwrap();
            self.receiver.take(Ssrc(7), sequence, &blocks, &mut self.text, &mut self.drops);
        }

        fn letter(&mut self, number: u16) {
            let letter = |back: u16| [b'a' + u8::try_from((number + 26 - back) % 26).unwrap()];
            self.take(number, &[&letter(2), &letter(1), &letter(0)]);
        }
    }

    #[test]
    fn two_packets_lost_in_a_row_cost_no_text() {
        let mut typed = Typed::default();
        for number in [2, 3, 6, 7, 9] {
            typed.letter(number);
        }
        assert_eq!(typed.text, "abcdefghij");
        assert_eq!(typed.drops, DropCounters::default());
    }

    #[test]
    fn what_the_redundancy_does_not_reach_is_marked_and_counted() {
        let mut typed = Typed::default();
        typed.letter(2);
        typed.letter(7);
        assert_eq!(typed.text, "abc\u{fffd}\u{fffd}fgh");
        assert_eq!(typed.drops.get(Drop::TextLost), 2);
    }

    #[test]
    fn late_and_repeated_packets_bring_nothing() {
        let mut typed = Typed::default();
        for number in [2, 4, 3, 4, 2] {
            typed.letter(number);
        }
        assert_eq!(typed.text, "abcde");
        assert_eq!(typed.drops.get(Drop::TextLate), 3);
    }

    #[test]
    fn numbers_go_round_and_marks_are_bounded() {
        let mut typed = Typed::default();
        typed.take(65535, &[b"x"]);
        typed.take(0, &[b"y"]);
        typed.take(1000, &[b"z"]);
        assert_eq!(typed.text, format!("xy{}z", "\u{fffd}".repeat(8)));
        typed.take(30_000, &[b"new"]);
        assert!(typed.text.ends_with("z\u{fffd}new"), "a sender that began anew: {}", typed.text);
    }

    #[test]
    fn another_stream_begins_by_itself() {
        let mut typed = Typed::default();
        typed.take(5, &[b"one"]);
        let two = Blocks::single(b"two");
        typed.receiver.take(Ssrc(8), 900, &two, &mut typed.text, &mut typed.drops);
        assert_eq!(typed.text, "onetwo");
    }

    #[test]
    fn marks_of_byte_order_are_no_text_and_broken_characters_are_counted() {
        let mut typed = Typed::default();
        typed.take(1, &["\u{feff}Hej\u{8}\u{2028}".as_bytes()]);
        typed.take(2, &[b"\xc3"]);
        assert_eq!(typed.text, "Hej\u{8}\u{2028}\u{fffd}");
        assert_eq!(typed.drops.get(Drop::TextNotUtf8), 1);
    }
}
