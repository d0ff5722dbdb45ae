//! Tags of control frames: who has the link's key wrote this, now and for the first time.
//!
//! HMAC-SHA256 cut to 128 bits. The frames of the hello are signed with the link's own key, those after it with keys
//! derived of that key and of what both sides have chosen anew, one for each direction, with a number in each frame.

use aws_lc_rs::{constant_time, hmac};

use super::frame::{FrameKind, HEADER, Header};
use crate::io::{Path, TransmitQueue};
use crate::path::PathId;

/// Bytes of a tag.
pub(super) const TAG: usize = 16;
/// Bytes of a frame's number.
const NUMBER: usize = 8;
/// Bytes of a nonce or cookie.
pub(super) const NONCE: usize = 16;

/// What makes two hellos different.
pub(super) type Nonce = [u8; NONCE];

/// The key of a link, as both ends were given it over the encrypted channel.
#[derive(Clone)]
pub struct LinkKey(hmac::Key);

impl std::fmt::Debug for LinkKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LinkKey")
    }
}

impl LinkKey {
    /// A key of 32 random bytes.
    pub fn new(secret: &[u8; 32]) -> LinkKey {
        LinkKey(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// Queues a frame of the hello with its tag.
    pub(super) fn push(&self, out: &mut TransmitQueue, to: Path, kind: FrameKind, body: &[&[u8]]) {
        push(out, to, kind, PathId::NONE, body, &self.0);
    }

    /// The body of a frame of the hello, if the tag is right.
    pub(super) fn open<'a>(&self, frame: &'a [u8]) -> Option<&'a [u8]> {
        open(&self.0, frame)
    }
}

/// What both sides chose for one session of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    /// The Core's.
    pub(super) nonce: Nonce,
    /// The Edge's.
    pub(super) cookie: Nonce,
    /// The Edge's life.
    pub(super) edge: u64,
}

/// Which end of a link we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The Edge.
    Edge,
    /// The Core.
    Core,
}

/// The two keys of a session, and the numbers of its frames.
#[derive(Clone)]
pub(super) struct Seal {
    sends: hmac::Key,
    receives: hmac::Key,
    next: u64,
    seen: Seen,
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seal").field("next", &self.next).finish_non_exhaustive()
    }
}

/// Why a control frame is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unbelieved {
    Forged,
    Replayed,
}

impl Seal {
    /// The keys of one end.
    pub(super) fn new(key: &LinkKey, chosen: &Chosen, end: End) -> Seal {
        let mut context = hmac::Context::with_key(&key.0);
        for part in [&b"mediaserver link"[..], &chosen.nonce, &chosen.cookie, &chosen.edge.to_be_bytes()] {
            context.update(part);
        }
        let session = hmac::Key::new(hmac::HMAC_SHA256, context.sign().as_ref());
        let derive = |name: &[u8]| hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&session, name).as_ref());
        let (edge, core) = (derive(b"edge"), derive(b"core"));
        let (sends, receives) = if end == End::Edge { (edge, core) } else { (core, edge) };
        Seal { sends, receives, next: 1, seen: Seen::default() }
    }

    /// Queues a control frame.
    pub(super) fn push(&mut self, out: &mut TransmitQueue, to: Path, kind: FrameKind, path: PathId, body: &[&[u8]]) {
        let number = self.next.to_be_bytes();
        self.next += 1;
        let mut parts = [&[][..]; 4];
        parts[0] = &number;
        for (place, part) in parts[1..].iter_mut().zip(body) {
            *place = part;
        }
        push(out, to, kind, path, &parts, &self.sends);
    }

    /// The body of a control frame of the other end, which counts once.
    pub(super) fn open<'a>(&mut self, frame: &'a [u8]) -> Result<&'a [u8], Unbelieved> {
        let body = open(&self.receives, frame).ok_or(Unbelieved::Forged)?;
        let (number, body) = body.split_first_chunk::<NUMBER>().ok_or(Unbelieved::Forged)?;
        if self.seen.insert(u64::from_be_bytes(*number)) { Ok(body) } else { Err(Unbelieved::Replayed) }
    }
}

/// The numbers of the last 64 frames.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    highest: u64,
    /// Bit n: `highest - n` was seen.
    bits: u64,
}

impl Seen {
    /// False for a number that was seen, or is too old to tell.
    fn insert(&mut self, number: u64) -> bool {
        if number > self.highest {
            let shift = u32::try_from(number - self.highest).unwrap_or(u32::MAX);
            self.bits = self.bits.checked_shl(shift).unwrap_or(0) | 1;
            self.highest = number;
            return number > 0;
        }
        let bit = u32::try_from(self.highest - number).ok().and_then(|back| 1u64.checked_shl(back)).unwrap_or(0);
        let fresh = bit != 0 && self.bits & bit == 0 && number > 0;
        self.bits |= bit;
        fresh
    }
}

fn push(out: &mut TransmitQueue, to: Path, kind: FrameKind, path: PathId, body: &[&[u8]], key: &hmac::Key) {
    let length: usize = body.iter().map(|part| part.len()).sum::<usize>() + TAG;
    // Bodies are bounded by their writers, far below 64 KiB.
    let header = Header::new(kind, u16::try_from(length).unwrap_or(u16::MAX), path);
    let Ok(()) = out.push_with(to, |bytes| {
        let start = bytes.len();
        bytes.extend_from_slice(&header.write());
        for part in body {
            bytes.extend_from_slice(part);
        }
        let tag = hmac::sign(key, &bytes[start..]);
        bytes.extend_from_slice(&tag.as_ref()[..TAG]);
        Ok::<(), std::convert::Infallible>(())
    });
}

fn open<'a>(key: &hmac::Key, frame: &'a [u8]) -> Option<&'a [u8]> {
    let (signed, tag) = frame.split_last_chunk::<TAG>()?;
    let body = signed.get(HEADER..)?;
    constant_time::verify_slices_are_equal(&hmac::sign(key, signed).as_ref()[..TAG], tag).ok()?;
    Some(body)
}

/// Random-looking bytes that only the holder of `key` can make: the first 128 bits of an HMAC over `parts`.
pub(super) fn derive(key: &hmac::Key, parts: &[&[u8]]) -> Nonce {
    let mut context = hmac::Context::with_key(key);
    for part in parts {
        context.update(part);
    }
    let mut nonce = [0; NONCE];
    nonce.copy_from_slice(&context.sign().as_ref()[..NONCE]);
    nonce
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::SocketId;

    const TO: Path = Path {
        socket: SocketId(0),
        remote: std::net::SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1),
    };
    const CHOSEN: Chosen = Chosen { nonce: [1; 16], cookie: [2; 16], edge: 3 };

    fn pair() -> (Seal, Seal) {
        let key = LinkKey::new(&[4; 32]);
        (Seal::new(&key, &CHOSEN, End::Edge), Seal::new(&key, &CHOSEN, End::Core))
    }

    fn sealed(seal: &mut Seal) -> Vec<u8> {
        let mut out = TransmitQueue::default();
        seal.push(&mut out, TO, FrameKind::Close, PathId(9), &[b"body"]);
        out.bytes().to_vec()
    }

    #[test]
    fn a_control_frame_counts_once_and_in_one_direction() {
        let (mut edge, mut core) = pair();
        let frame = sealed(&mut edge);
        assert_eq!(edge.open(&frame), Err(Unbelieved::Forged), "our own frame is sent back to us");
        assert_eq!(core.open(&frame), Ok(&b"body"[..]));
        assert_eq!(core.open(&frame), Err(Unbelieved::Replayed));
    }

    #[test]
    fn every_changed_bit_is_noticed() {
        let (mut edge, core) = pair();
        let frame = sealed(&mut edge);
        for bit in 0..frame.len() * 8 {
            let mut forged = frame.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(core.clone().open(&forged), Err(Unbelieved::Forged), "bit {bit}");
        }
        for cut in 0..frame.len() {
            assert_eq!(core.clone().open(&frame[..cut]), Err(Unbelieved::Forged), "{cut} bytes");
        }
    }

    #[test]
    fn frames_may_overtake_each_other_by_63() {
        let (mut edge, mut core) = pair();
        let frames: Vec<_> = (0..200).map(|_| sealed(&mut edge)).collect();
        assert!(core.open(&frames[100]).is_ok());
        assert_eq!(core.open(&frames[36]), Err(Unbelieved::Replayed));
        assert!(core.open(&frames[37]).is_ok());
        assert!((38..100).all(|at| core.open(&frames[at]).is_ok()));
        assert!((37..=100).all(|at| core.open(&frames[at]) == Err(Unbelieved::Replayed)));
        assert!(core.open(&frames[199]).is_ok());
    }

    #[test]
    fn another_session_of_the_same_link_has_other_keys() {
        let key = LinkKey::new(&[4; 32]);
        let (mut edge, _) = pair();
        let frame = sealed(&mut edge);
        for chosen in
            [Chosen { nonce: [9; 16], ..CHOSEN }, Chosen { cookie: [9; 16], ..CHOSEN }, Chosen { edge: 9, ..CHOSEN }]
        {
            assert_eq!(Seal::new(&key, &chosen, End::Core).open(&frame), Err(Unbelieved::Forged));
        }
    }
}
