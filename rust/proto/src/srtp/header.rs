//! The part of an RTP header that SRTP has to read: how long it is, whose it is, which number it has.

/// What SRTP needs of an RTP header (RFC 3550 §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpHeader {
    /// Sequence number.
    pub sequence: u16,
    /// Synchronisation source.
    pub ssrc: u32,
    /// Bytes of fixed header, CSRCs and extension: the part that is authenticated, not encrypted.
    pub len: usize,
}

impl RtpHeader {
    /// Reads the header; `None` when it is not version 2 or does not fit.
    pub fn parse(packet: &[u8]) -> Option<RtpHeader> {
        let fixed = packet.first_chunk::<12>()?;
        if fixed[0] >> 6 != 2 {
            return None;
        }
        let mut len = 12 + usize::from(fixed[0] & 0x0f) * 4;
        if fixed[0] & 0x10 != 0 {
            // RFC 3550 §5.3.1: the extension's length counts 32-bit words after its own four bytes.
            let words = packet.get(len + 2..len + 4)?;
            len += 4 + usize::from(u16::from_be_bytes([words[0], words[1]])) * 4;
        }
        if packet.len() < len {
            return None;
        }
        Some(RtpHeader {
            sequence: u16::from_be_bytes([fixed[2], fixed[3]]),
            ssrc: u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]),
            len,
        })
    }
}

/// The SSRC of the first packet of a compound RTCP packet, under which SRTCP counts; `None` when there is none.
pub fn rtcp_ssrc(packet: &[u8]) -> Option<u32> {
    let header = packet.first_chunk::<8>()?;
    (header[0] >> 6 == 2).then(|| u32::from_be_bytes([header[4], header[5], header[6], header[7]]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn csrcs_and_extension_belong_to_the_header() {
        let mut packet = vec![0x92, 111, 0x12, 0x34, 0, 0, 0, 1, 0, 0, 0, 2];
        packet.extend_from_slice(&[0; 8]);
        packet.extend_from_slice(&[0xBE, 0xDE, 0, 1, 0x10, 0xff, 0, 0]);
        packet.extend_from_slice(b"payload");
        assert_eq!(RtpHeader::parse(&packet), Some(RtpHeader { sequence: 0x1234, ssrc: 2, len: 28 }));
        assert_eq!(RtpHeader::parse(&packet[..27]), None);
    }

    #[test]
    fn other_versions_are_refused() {
        assert_eq!(RtpHeader::parse(&[0x40; 12]), None);
        assert_eq!(rtcp_ssrc(&[0x40; 8]), None);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Some(header) = RtpHeader::parse(&bytes) {
                prop_assert!(header.len <= bytes.len());
            }
            let _ = rtcp_ssrc(&bytes);
        }
    }
}
