//! Generic NACK (RFC 4585 §6.2.1).

use super::{RtcpError, packet_type, write_packet};
use crate::rtp::Ssrc;
use crate::rtp::bytes::{u16_at, u32_at};

pub(super) const FORMAT: u8 = 1;

/// A parsed NACK.
#[derive(Clone, Copy, Debug)]
pub struct Nack<'a> {
    /// Who asks.
    pub sender: Ssrc,
    /// Whose packets are missing.
    pub media: Ssrc,
    items: &'a [u8],
}

impl<'a> Nack<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Result<Nack<'a>, RtcpError> {
        let sender = Ssrc(u32_at(body, 0).ok_or(RtcpError::Short)?);
        let media = Ssrc(u32_at(body, 4).ok_or(RtcpError::Short)?);
        Ok(Nack { sender, media, items: &body[8..] })
    }

    /// The missing sequence numbers, in the order of the packet.
    pub fn sequences(&self) -> impl Iterator<Item = u16> + use<'a> {
        self.items.chunks_exact(4).flat_map(|item| {
            let first = u16_at(item, 0).unwrap_or_default();
            let mask = u16_at(item, 2).unwrap_or_default();
            let more = (0..16u16).filter(move |bit| mask & (1 << bit) != 0);
            std::iter::once(first).chain(more.map(move |bit| first.wrapping_add(bit + 1)))
        })
    }
}

/// Appends a NACK for `sequences`, which must be in ascending (wrapping) order; an empty list writes nothing.
pub fn write(out: &mut Vec<u8>, sender: Ssrc, media: Ssrc, sequences: &[u16]) {
    if sequences.is_empty() {
        return;
    }
    write_packet(out, packet_type::RTPFB, FORMAT, |out| {
        out.extend_from_slice(&sender.0.to_be_bytes());
        out.extend_from_slice(&media.0.to_be_bytes());
        let mut rest = sequences;
        while let Some((&first, following)) = rest.split_first() {
            let mut mask = 0u16;
            let mut taken = 0;
            for sequence in following {
                let distance = sequence.wrapping_sub(first);
                if !(1..=16).contains(&distance) {
                    break;
                }
                mask |= 1 << (distance - 1);
                taken += 1;
            }
            out.extend_from_slice(&first.to_be_bytes());
            out.extend_from_slice(&mask.to_be_bytes());
            rest = &following[taken..];
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtcp::{RtcpPacket, packets};
    use proptest::prelude::*;

    fn read(bytes: &[u8]) -> Vec<u16> {
        let Some(Ok(RtcpPacket::Nack(nack))) = packets(bytes).next() else { panic!("not a NACK") };
        nack.sequences().collect()
    }

    #[test]
    fn the_mask_names_the_sixteen_that_follow() {
        let fixture = [0x81, 0xcd, 0, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0xff, 0xff, 0x80, 0x01];
        assert_eq!(read(&fixture), [65535, 0, 15]);
        let mut out = Vec::new();
        write(&mut out, Ssrc(1), Ssrc(2), &[65535, 0, 15]);
        assert_eq!(out, fixture);
    }

    proptest! {
        #[test]
        fn ascending_lists_round_trip(first: u16, steps in proptest::collection::vec(1u16..40, 0..20)) {
            let mut list = vec![first];
            for step in steps {
                list.push(list.last().unwrap().wrapping_add(step));
            }
            let mut out = Vec::new();
            write(&mut out, Ssrc(1), Ssrc(2), &list);
            prop_assert_eq!(read(&out), list);
        }
    }
}
