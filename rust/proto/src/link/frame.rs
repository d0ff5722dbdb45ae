//! The 8-byte header of a frame, and the frames of a datagram.
//!
//! `type u8, flags u8, length u16 (of what follows), path u32`, then the frame's body. Bits 0 and 1 of the flags are ECN
//! (RFC 3168 §5), bits 2 and 3 say what the datagram carries, so that the Edge can mark it; bit 4 says that the Edge
//! knows the path to be proven.

use crate::io::Carries;
use crate::path::PathId;

/// Bytes before a frame's body.
pub const HEADER: usize = 8;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// A datagram of a path, as it was.
    Data = 1,
    /// The same, with all that a Core must know of a path that it has not acknowledged.
    Open = 2,
    /// A Core wants to be known at the address from which this came.
    Hello = 3,
    /// The Edge's answer: whoever has this cookie receives at that address.
    Cookie = 4,
    /// The address is proven.
    Welcome = 5,
    /// The Core asks whether the way is still there.
    KeepAlive = 6,
    /// It is.
    Echo = 7,
    /// The Core knows a path.
    OpenAck = 8,
    /// A path has answered the Core's challenge.
    Proven = 9,
    /// A path has ended.
    Close = 10,
    /// Paths that an Edge is to have again after its restart.
    Replay = 11,
    /// Under which names it has them.
    ReplayAck = 12,
    /// A datagram for a peer that the Edge has no path to, from a port that it opened for the Core; and who that is.
    Aim = 13,
}

impl FrameKind {
    fn read(byte: u8) -> Option<FrameKind> {
        use FrameKind::*;
        const ALL: [FrameKind; 13] =
            [Data, Open, Hello, Cookie, Welcome, KeepAlive, Echo, OpenAck, Proven, Close, Replay, ReplayAck, Aim];
        ALL.get(usize::from(byte).checked_sub(1)?).copied()
    }
}

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What follows.
    pub kind: FrameKind,
    /// What the datagram carries.
    pub carries: Carries,
    /// Whether the Edge knows the path to be proven.
    pub is_proven: bool,
    /// Bytes of the body.
    pub length: u16,
    /// The path, named by the Edge.
    pub path: PathId,
}

impl Header {
    /// A frame of control traffic.
    pub const fn new(kind: FrameKind, length: u16, path: PathId) -> Header {
        Header { kind, carries: Carries::Control, is_proven: false, length, path }
    }

    /// The bytes.
    pub fn write(&self) -> [u8; HEADER] {
        let carries: u8 = match self.carries {
            Carries::Control => 0,
            Carries::Audio => 1,
            Carries::Video => 2,
            Carries::Screen => 3,
        };
        let [high, low] = self.length.to_be_bytes();
        let [a, b, c, d] = self.path.0.to_be_bytes();
        [self.kind as u8, carries << 2 | u8::from(self.is_proven) << 4, high, low, a, b, c, d]
    }

    /// Reads the header at the beginning of `bytes`.
    pub fn read(bytes: &[u8]) -> Option<Header> {
        let &[kind, flags, high, low, a, b, c, d] = bytes.first_chunk::<HEADER>()?;
        Some(Header {
            kind: FrameKind::read(kind)?,
            carries: match flags >> 2 & 3 {
                0 => Carries::Control,
                1 => Carries::Audio,
                2 => Carries::Video,
                _ => Carries::Screen,
            },
            is_proven: flags & 1 << 4 != 0,
            length: u16::from_be_bytes([high, low]),
            path: PathId(u32::from_be_bytes([a, b, c, d])),
        })
    }
}

/// A frame in a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Its header.
    pub header: Header,
    /// Where the body begins in the datagram.
    pub start: usize,
    /// The frame with its header.
    pub bytes: &'a [u8],
}

impl<'a> Frame<'a> {
    /// What follows the header.
    pub fn body(&self) -> &'a [u8] {
        &self.bytes[HEADER..]
    }
}

/// The frames of a datagram, in order; the last item is an error when what is left is no whole frame.
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    datagram: &'a [u8],
    next: usize,
}

/// Reads a datagram of a link.
pub fn frames(datagram: &[u8]) -> Frames<'_> {
    Frames { datagram, next: 0 }
}

/// What is left of a datagram is no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl<'a> Iterator for Frames<'a> {
    type Item = Result<Frame<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.datagram.get(self.next..).filter(|rest| !rest.is_empty())?;
        let frame = Header::read(rest).and_then(|header| {
            let bytes = rest.get(..HEADER + usize::from(header.length))?;
            Some(Frame { header, start: self.next + HEADER, bytes })
        });
        self.next = frame.map_or(self.datagram.len(), |frame| self.next + frame.bytes.len());
        Some(frame.ok_or(Malformed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(length: u16) -> Header {
        Header {
            carries: Carries::Screen,
            is_proven: true,
            ..Header::new(FrameKind::Data, length, PathId(0x0102_0304))
        }
    }

    #[test]
    fn a_header_has_eight_bytes_and_says_what_it_was_told() {
        let bytes = header(0x1234).write();
        assert_eq!(bytes, [1, 0b1_1100, 0x12, 0x34, 1, 2, 3, 4]);
        assert_eq!(Header::read(&bytes), Some(header(0x1234)));
        for carries in [Carries::Control, Carries::Audio, Carries::Video, Carries::Screen] {
            let header = Header { carries, ..header(0) };
            assert_eq!(Header::read(&header.write()), Some(header));
        }
    }

    #[test]
    fn every_kind_is_read_as_it_is_written_and_no_other() {
        let kinds: Vec<FrameKind> = (0..=255).filter_map(FrameKind::read).collect();
        assert_eq!(kinds.len(), 13);
        assert!(kinds.iter().all(|&kind| FrameKind::read(kind as u8) == Some(kind)));
    }

    #[test]
    fn several_frames_share_a_datagram_and_a_cut_one_is_told() {
        let mut datagram = Vec::new();
        for length in [0u16, 3, 1200] {
            datagram.extend_from_slice(&header(length).write());
            datagram.resize(datagram.len() + usize::from(length), length as u8);
        }
        let starts: Vec<_> =
            frames(&datagram).map(|frame| frame.map(|frame| (frame.start, frame.body().len()))).collect();
        assert_eq!(starts, [Ok((8, 0)), Ok((16, 3)), Ok((27, 1200))]);
        datagram.pop();
        assert_eq!(frames(&datagram).last(), Some(Err(Malformed)));
        assert_eq!(frames(&datagram[..12]).map(|frame| frame.is_ok()).collect::<Vec<_>>(), [true, false]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic_and_to_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut covered = 0;
            for frame in frames(&bytes).flatten() {
                prop_assert_eq!(frame.start, covered + HEADER);
                covered += frame.bytes.len();
            }
            prop_assert!(covered <= bytes.len());
        }
    }
}
