//! The two ways in which datagrams follow each other on a stream.

use thiserror::Error;

/// Length of the largest head: the first four bytes of a STUN message or of ChannelData.
pub(super) const MOST_HEAD: usize = 4;
/// RFC 8489 §5.
const STUN_HEADER: usize = 20;

/// How a stream is cut into datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// A length of 16 bits before each one (RFC 4571 §2), as ICE over TCP has it (RFC 6544 §3).
    Prefixed,
    /// STUN messages and ChannelData tell their own length; ChannelData is padded to four bytes (RFC 8656 §12.5).
    Turn,
}

/// Where a datagram lies behind its first byte on the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Bytes before the datagram.
    pub start: usize,
    /// Length of the datagram.
    pub len: usize,
    /// Bytes behind it.
    pub padding: usize,
}

impl Frame {
    /// Bytes that it takes on the stream.
    pub fn whole(&self) -> usize {
        self.start + self.len + self.padding
    }
}

/// The stream is not cut as it should be; there is no way to find the next datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("what came is neither a STUN message nor ChannelData")]
pub struct NoFrame;

impl Framing {
    /// Bytes that say how long a frame is.
    pub(super) fn head(self) -> usize {
        match self {
            Framing::Prefixed => 2,
            Framing::Turn => MOST_HEAD,
        }
    }

    /// What the first bytes of a frame say about it; `None` when they are too few.
    pub fn measure(self, bytes: &[u8]) -> Result<Option<Frame>, NoFrame> {
        let Some(head) = bytes.get(..self.head()) else { return Ok(None) };
        match (self, head) {
            (Framing::Prefixed, &[high, low]) => {
                Ok(Some(Frame { start: 2, len: usize::from(u16::from_be_bytes([high, low])), padding: 0 }))
            }
            (Framing::Turn, &[kind, _, high, low]) => {
                let length = usize::from(u16::from_be_bytes([high, low]));
                match kind >> 6 {
                    0b00 if length % 4 == 0 => Ok(Some(Frame { start: 0, len: STUN_HEADER + length, padding: 0 })),
                    // RFC 8656 §12: channel numbers begin with the bits 01.
                    0b01 => {
                        let len = MOST_HEAD + length;
                        Ok(Some(Frame { start: 0, len, padding: len.next_multiple_of(4) - len }))
                    }
                    _ => Err(NoFrame),
                }
            }
            _ => Ok(None),
        }
    }

    /// What is written before a datagram of `len` bytes and behind it; `None` where the framing cannot say so much.
    pub(super) fn surround(self, datagram: &[u8]) -> Option<(Head, usize)> {
        let len = u16::try_from(datagram.len()).ok()?;
        match self {
            Framing::Prefixed => Some((Head::Length(len.to_be_bytes()), 0)),
            Framing::Turn => {
                let is_channel = datagram.first().is_some_and(|&first| first >> 6 == 0b01);
                Some((Head::None, if is_channel { datagram.len().next_multiple_of(4) - datagram.len() } else { 0 }))
            }
        }
    }
}

/// What stands before a datagram.
#[derive(Clone, Copy, Debug)]
pub(super) enum Head {
    None,
    Length([u8; 2]),
}

impl Head {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Head::None => &[],
            Head::Length(length) => length,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_tells_every_length_from_0_to_65535() {
        assert_eq!(Framing::Prefixed.measure(&[0]), Ok(None));
        let frame = |len| Ok(Some(Frame { start: 2, len, padding: 0 }));
        assert_eq!(Framing::Prefixed.measure(&[0, 0]), frame(0));
        assert_eq!(Framing::Prefixed.measure(&[0xff, 0xff, 1]), frame(65_535));
    }

    #[test]
    fn stun_has_a_header_beyond_its_length_and_channel_data_is_padded() {
        let frame = |len, padding| Ok(Some(Frame { start: 0, len, padding }));
        assert_eq!(Framing::Turn.measure(&[0, 1, 0]), Ok(None));
        assert_eq!(Framing::Turn.measure(&[0, 1, 0, 8]), frame(28, 0));
        assert_eq!(Framing::Turn.measure(&[0x40, 0, 0, 5]), frame(9, 3));
        assert_eq!(Framing::Turn.measure(&[0x7f, 0xfe, 0, 8]), frame(12, 0));
        assert_eq!(Framing::Turn.measure(&[0x40, 0, 0xff, 0xff]), frame(65_539, 1));
    }

    #[test]
    fn what_is_neither_stun_nor_channel_data_is_refused() {
        assert_eq!(Framing::Turn.measure(&[0x80, 0, 0, 0]), Err(NoFrame));
        assert_eq!(Framing::Turn.measure(&[0xc0, 0, 0, 0]), Err(NoFrame));
        // RFC 8489 §5: the length of a STUN message is a multiple of four.
        assert_eq!(Framing::Turn.measure(&[0, 1, 0, 7]), Err(NoFrame));
    }
}
