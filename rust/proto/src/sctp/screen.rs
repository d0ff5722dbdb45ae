//! What is looked at in an SCTP packet before the association sees it: chunks that would cost it memory out of proportion.

/// RFC 9260 §3.1.
const COMMON_HEADER: usize = 12;
/// RFC 9260 §3.3.1.
const DATA: u8 = 0;
const DATA_HEADER: usize = 16;
const LAST_FRAGMENT: u8 = 0x01;
/// A fragment that is not the last and has fewer bytes than this serves nobody: senders fill packets.
const LEAST_FRAGMENT: usize = 8;

/// Why a packet is kept from the association.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// DATA on a stream that we did not offer; each stream costs the association a table entry for good.
    Stream,
    /// A message in crumbs; each costs the association far more than its bytes, and only bytes are bounded there.
    Fragment,
}

/// Looks at the DATA chunks. What does not even parse is left to the association, which counts and ignores it.
pub fn screen(packet: &[u8], streams: u16) -> Result<(), Unfit> {
    let mut rest = packet.get(COMMON_HEADER..).unwrap_or_default();
    // RFC 9260 §3.2: type, flags, length with header and without padding.
    while let [kind, flags, l0, l1, ..] = *rest {
        let len = usize::from(u16::from_be_bytes([l0, l1]));
        let Some(chunk) = rest.get(..len).filter(|chunk| chunk.len() >= 4) else { break };
        if kind == DATA
            && let Some(header) = chunk.first_chunk::<DATA_HEADER>()
        {
            if u16::from_be_bytes([header[8], header[9]]) >= streams {
                return Err(Unfit::Stream);
            }
            if flags & LAST_FRAGMENT == 0 && len - DATA_HEADER < LEAST_FRAGMENT {
                return Err(Unfit::Fragment);
            }
        }
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(chunks: &[(u8, u8, u16, usize)]) -> Vec<u8> {
        let mut bytes = vec![0; COMMON_HEADER];
        for &(kind, flags, stream, payload) in chunks {
            let len = u16::try_from(DATA_HEADER + payload).unwrap();
            bytes.extend([kind, flags]);
            bytes.extend(len.to_be_bytes());
            bytes.extend([0; 4]);
            bytes.extend(stream.to_be_bytes());
            bytes.extend(vec![0; 6 + payload.next_multiple_of(4)]);
        }
        bytes
    }

    #[test]
    fn streams_beyond_the_offer_and_crumbs_are_found_in_any_chunk() {
        assert_eq!(screen(&packet(&[(DATA, 3, 1023, 1), (DATA, 2, 0, 8)]), 1024), Ok(()));
        assert_eq!(screen(&packet(&[(DATA, 3, 1023, 1), (DATA, 3, 1024, 1)]), 1024), Err(Unfit::Stream));
        assert_eq!(screen(&packet(&[(DATA, 3, 0, 5), (DATA, 2, 0, 7)]), 1024), Err(Unfit::Fragment));
        assert_eq!(screen(&packet(&[(3, 0, 9999, 1)]), 1024), Ok(()), "only DATA has streams");
    }

    #[test]
    fn lengths_that_lie_end_the_walk() {
        let mut bytes = packet(&[(DATA, 3, 0, 4), (DATA, 3, 9999, 4)]);
        bytes[COMMON_HEADER + 3] = 0;
        assert_eq!(screen(&bytes, 1024), Ok(()));
        bytes[COMMON_HEADER + 2] = 0xff;
        assert_eq!(screen(&bytes, 1024), Ok(()));
        assert_eq!(screen(&[1, 2, 3], 1024), Ok(()));
    }
}
