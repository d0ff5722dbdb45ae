//! Cuts a stream into datagrams, whatever the pieces are in which it comes.

use super::framing::{Framing, NoFrame};

/// What one piece of a stream brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fed {
    /// Datagrams that were given on.
    pub datagrams: u64,
    /// Datagrams that are longer than any that is taken; they are passed over and never stored.
    pub oversized: u64,
}

/// See the module. Keeps at most one datagram that has not come whole.
#[derive(Debug)]
pub struct Deframer {
    framing: Framing,
    longest: usize,
    begun: Vec<u8>,
    /// Bytes to come that belong to no datagram.
    skip: usize,
}

impl Deframer {
    /// For datagrams of at most `longest` bytes; longer ones are passed over.
    pub fn new(framing: Framing, longest: usize) -> Deframer {
        Deframer { framing, longest, begun: Vec::new(), skip: 0 }
    }

    /// Takes the next piece and gives each datagram that is whole. An error ends the stream.
    pub fn feed(&mut self, mut bytes: &[u8], mut each: impl FnMut(&[u8])) -> Result<Fed, NoFrame> {
        let mut fed = Fed::default();
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            if self.begun.is_empty() {
                // Mostly whole datagrams come, and are used where they lie.
                match self.framing.measure(bytes)? {
                    Some(frame) if frame.len > self.longest => {
                        fed.oversized += 1;
                        self.skip = frame.whole();
                    }
                    Some(frame) if bytes.len() >= frame.start + frame.len => {
                        fed.datagrams += 1;
                        each(&bytes[frame.start..frame.start + frame.len]);
                        self.skip = frame.whole();
                    }
                    _ => {
                        self.begun.extend_from_slice(bytes);
                        return Ok(fed);
                    }
                }
                continue;
            }
            let measured = self.framing.measure(&self.begun)?;
            let wanted = match measured {
                Some(frame) if frame.len > self.longest => {
                    fed.oversized += 1;
                    self.skip = frame.whole() - self.begun.len();
                    self.begun.clear();
                    continue;
                }
                Some(frame) => frame.start + frame.len,
                None => self.framing.head(),
            };
            let taken = wanted.saturating_sub(self.begun.len()).min(bytes.len());
            self.begun.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            if self.begun.len() < wanted {
                return Ok(fed);
            }
            if let Some(frame) = measured {
                fed.datagrams += 1;
                each(&self.begun[frame.start..]);
                self.skip = frame.padding;
                self.begun.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LONGEST: usize = 2048;

    fn feed(deframer: &mut Deframer, bytes: &[u8]) -> (Vec<Vec<u8>>, Fed) {
        let mut found = Vec::new();
        let fed = deframer.feed(bytes, |datagram| found.push(datagram.to_vec())).unwrap();
        (found, fed)
    }

    fn prefixed(datagrams: &[&[u8]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for datagram in datagrams {
            bytes.extend_from_slice(&(datagram.len() as u16).to_be_bytes());
            bytes.extend_from_slice(datagram);
        }
        bytes
    }

    #[test]
    fn frames_of_0_and_of_65535_bytes_are_found_and_the_long_one_is_never_stored() {
        let mut deframer = Deframer::new(Framing::Prefixed, LONGEST);
        let stream = prefixed(&[&[], &[7; 65_535], b"behind"]);
        let mut found = Vec::new();
        let mut sum = Fed::default();
        for piece in stream.chunks(1000) {
            let (datagrams, fed) = feed(&mut deframer, piece);
            assert!(deframer.begun.capacity() <= LONGEST * 2);
            sum = Fed { datagrams: sum.datagrams + fed.datagrams, oversized: sum.oversized + fed.oversized };
            found.extend(datagrams);
        }
        assert_eq!(found, [b"".to_vec(), b"behind".to_vec()]);
        assert_eq!(sum, Fed { datagrams: 2, oversized: 1 });
    }

    #[test]
    fn a_frame_whose_head_comes_alone_is_given_with_its_last_byte() {
        let mut deframer = Deframer::new(Framing::Prefixed, LONGEST);
        assert!(feed(&mut deframer, &[0]).0.is_empty());
        assert!(feed(&mut deframer, &[3, b'a']).0.is_empty());
        assert_eq!(feed(&mut deframer, b"bc\0").0, [b"abc"]);
        // An empty one is whole with its head.
        assert_eq!(feed(&mut deframer, &[0]).0, [b""]);
    }

    #[test]
    fn padding_of_channel_data_may_come_later_and_is_dropped() {
        let mut deframer = Deframer::new(Framing::Turn, LONGEST);
        assert_eq!(feed(&mut deframer, &[0x40, 0, 0, 1, 9]).0, [[0x40, 0, 0, 1, 9]]);
        let stun = [&[0, 1, 0, 4, 0x21, 0x12, 0xa4, 0x42][..], &[5; 16]].concat();
        assert_eq!(feed(&mut deframer, &[&[0, 0, 0][..], &stun].concat()).0, [stun]);
    }

    #[test]
    fn bytes_that_begin_no_frame_end_the_stream() {
        let mut deframer = Deframer::new(Framing::Turn, LONGEST);
        assert_eq!(deframer.feed(&[0x90, 1, 1, 1], |_| ()), Err(NoFrame));
        let mut deframer = Deframer::new(Framing::Turn, LONGEST);
        assert!(feed(&mut deframer, &[0x90, 1]).0.is_empty());
        assert_eq!(deframer.feed(&[1, 1, 1], |_| ()), Err(NoFrame));
    }

    proptest! {
        #[test]
        fn however_a_stream_is_cut_the_same_datagrams_come_out(
            lengths in proptest::collection::vec(0usize..3000, 1..12),
            cuts in proptest::collection::vec(1usize..1500, 1..40),
        ) {
            let datagrams: Vec<Vec<u8>> = lengths.iter().enumerate().map(|(n, &len)| vec![n as u8; len]).collect();
            let stream = prefixed(&datagrams.iter().map(Vec::as_slice).collect::<Vec<_>>());
            let mut deframer = Deframer::new(Framing::Prefixed, LONGEST);
            let (mut found, mut rest, mut cut) = (Vec::new(), &stream[..], cuts.iter().cycle());
            while !rest.is_empty() {
                let (piece, behind) = rest.split_at((*cut.next().unwrap()).min(rest.len()));
                found.extend(feed(&mut deframer, piece).0);
                rest = behind;
            }
            let wanted: Vec<_> = datagrams.into_iter().filter(|datagram| datagram.len() <= LONGEST).collect();
            prop_assert_eq!(found, wanted);
        }

        #[test]
        fn arbitrary_bytes_neither_panic_nor_are_kept(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..600), 0..20)) {
            for framing in [Framing::Prefixed, Framing::Turn] {
                let mut deframer = Deframer::new(framing, 512);
                for piece in &pieces {
                    if deframer.feed(piece, |datagram| assert!(datagram.len() <= 512)).is_err() {
                        break;
                    }
                    prop_assert!(deframer.begun.len() <= 514);
                }
            }
        }
    }
}
