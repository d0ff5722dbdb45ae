//! Datagrams on a stream: the same ones come out however it is cut, none is longer than allowed, and what is written is read.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use mediaserver_proto::stream::{Backlog, Deframer, Framing};
use mediaserver_proto::time::Time;

const LONGEST: usize = 600;
const BOUND: usize = 4_000;

/// The datagrams of some pieces, and whether the stream came to its end by an error.
fn cut<'a>(framing: Framing, pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Vec<u8>>, bool) {
    let (mut deframer, mut found) = (Deframer::new(framing, LONGEST), Vec::new());
    for piece in pieces {
        let result = deframer.feed(piece, |datagram| {
            assert!(datagram.len() <= LONGEST);
            found.push(datagram.to_vec());
        });
        if result.is_err() {
            return (found, true);
        }
    }
    (found, false)
}

fuzz_target!(|pieces: Vec<&[u8]>| {
    let whole = pieces.concat();
    for framing in [Framing::Prefixed, Framing::Turn] {
        let at_once = cut(framing, std::iter::once(&whole[..]));
        assert_eq!(cut(framing, pieces.iter().copied()), at_once);
        assert_eq!(cut(framing, whole.chunks(1)), at_once);
    }
    let mut backlog = Backlog::new(Framing::Prefixed, BOUND, Duration::from_secs(1));
    let kept: Vec<&[u8]> = pieces.iter().copied().filter(|piece| backlog.push(piece, Time::ZERO)).collect();
    assert!(backlog.len() <= BOUND);
    let written = backlog.pending().to_vec();
    assert_eq!(backlog.written(written.len()), kept.len() as u64);
    let short: Vec<&[u8]> = kept.into_iter().filter(|piece| piece.len() <= LONGEST).collect();
    assert_eq!(cut(Framing::Prefixed, std::iter::once(&written[..])).0, short);
});
