//! The RTP fixed header (RFC 3550 §5.1): a zero-copy view of a packet, and a writer.

use super::Ssrc;
use super::bytes::{u16_at, u32_at};
use super::extension::ExtensionWriter;

/// Length of the header without CSRCs and extensions, in bytes.
pub const FIXED_LEN: usize = 12;

/// Why bytes are not an RTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RtpError {
    /// Fewer than twelve bytes.
    #[error("the packet is shorter than an RTP header")]
    Short,
    /// Not version 2.
    #[error("the RTP version is not 2")]
    Version,
    /// The CSRC list runs over the end.
    #[error("the CSRC list runs over the end of the packet")]
    Csrc,
    /// The header extension runs over the end.
    #[error("the header extension runs over the end of the packet")]
    Extension,
    /// The padding count is zero or larger than the payload.
    #[error("the padding count does not fit the payload")]
    Padding,
}

/// A parsed RTP packet that borrows the datagram.
#[derive(Clone, Copy, Debug)]
pub struct RtpPacket<'a> {
    /// Marker bit.
    pub marker: bool,
    /// Payload type, 0 to 127.
    pub payload_type: u8,
    /// Sequence number on the wire.
    pub sequence: u16,
    /// Timestamp on the wire.
    pub timestamp: u32,
    /// Synchronisation source.
    pub ssrc: Ssrc,
    /// The `defined by profile` word of the header extension; zero when there is none.
    pub extension_profile: u16,
    /// Body of the header extension, without its four-byte head; empty when there is none.
    pub extension: &'a [u8],
    /// Where that starts in the datagram, in bytes.
    pub extension_offset: usize,
    /// Payload without padding; empty for a padding-only packet.
    pub payload: &'a [u8],
    /// Where the payload starts in the datagram, in bytes: the end of the header.
    pub payload_offset: usize,
    /// Padding bytes at the end, the count byte included.
    pub padding: u8,
}

impl<'a> RtpPacket<'a> {
    /// Parses a plaintext RTP packet; every length inside is checked against the datagram.
    pub fn parse(datagram: &'a [u8]) -> Result<RtpPacket<'a>, RtpError> {
        if datagram.len() < FIXED_LEN {
            return Err(RtpError::Short);
        }
        if datagram[0] >> 6 != 2 {
            return Err(RtpError::Version);
        }
        let mut offset = FIXED_LEN + 4 * usize::from(datagram[0] & 0x0f);
        if datagram.len() < offset {
            return Err(RtpError::Csrc);
        }
        let (mut extension_profile, mut extension, mut extension_offset) = (0, &datagram[..0], 0);
        if datagram[0] & 0x10 != 0 {
            extension_profile = u16_at(datagram, offset).ok_or(RtpError::Extension)?;
            let words = u16_at(datagram, offset + 2).ok_or(RtpError::Extension)?;
            let start = offset + 4;
            offset = start + 4 * usize::from(words);
            extension = datagram.get(start..offset).ok_or(RtpError::Extension)?;
            extension_offset = start;
        }
        let mut payload = &datagram[offset..];
        let mut padding = 0;
        if datagram[0] & 0x20 != 0 {
            padding = payload.last().copied().ok_or(RtpError::Padding)?;
            let len = payload.len().checked_sub(usize::from(padding)).ok_or(RtpError::Padding)?;
            if padding == 0 {
                return Err(RtpError::Padding);
            }
            payload = &payload[..len];
        }
        Ok(RtpPacket {
            marker: datagram[1] & 0x80 != 0,
            payload_type: datagram[1] & 0x7f,
            sequence: u16_at(datagram, 2).ok_or(RtpError::Short)?,
            timestamp: u32_at(datagram, 4).ok_or(RtpError::Short)?,
            ssrc: Ssrc(u32_at(datagram, 8).ok_or(RtpError::Short)?),
            extension_profile,
            extension,
            extension_offset,
            payload,
            payload_offset: offset,
            padding,
        })
    }
}

/// The fields of a header to be written; extensions are added by a closure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderWriter {
    /// Marker bit.
    pub marker: bool,
    /// Payload type, 0 to 127.
    pub payload_type: u8,
    /// Sequence number.
    pub sequence: u16,
    /// Timestamp.
    pub timestamp: u32,
    /// Synchronisation source.
    pub ssrc: Ssrc,
}

impl HeaderWriter {
    /// Appends the header with the elements that `extend` adds, and returns its length in bytes.
    ///
    /// Without an element no extension block is written.
    pub fn write(&self, out: &mut Vec<u8>, extend: impl FnOnce(&mut ExtensionWriter<'_>)) -> usize {
        let start = out.len();
        let marker = if self.marker { 0x80 } else { 0 };
        out.extend_from_slice(&[0x80, marker | (self.payload_type & 0x7f)]);
        out.extend_from_slice(&self.sequence.to_be_bytes());
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        out.extend_from_slice(&self.ssrc.0.to_be_bytes());
        let mut writer = ExtensionWriter::begin(out);
        extend(&mut writer);
        if writer.finish() {
            out[start] |= 0x10;
        }
        out.len() - start
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FIXTURE: &[u8] = &[
        0xb1, 0xe0, 0x12, 0x34, 0x00, 0x00, 0x00, 0x64, 0xca, 0xfe, 0xba, 0xbe, // P, X, one CSRC, marker, PT 96
        0x00, 0x00, 0x00, 0x07, // CSRC
        0xbe, 0xde, 0x00, 0x01, 0x10, 0x2a, 0x00, 0x00, // one element: id 1, one byte
        0x01, 0x02, 0x03, 0x00, 0x02, // payload and two bytes of padding
    ];

    #[test]
    fn a_packet_with_csrc_extension_and_padding_is_parsed() {
        let packet = RtpPacket::parse(FIXTURE).unwrap();
        assert!(packet.marker);
        assert_eq!((packet.payload_type, packet.sequence, packet.timestamp), (96, 0x1234, 100));
        assert_eq!(packet.ssrc, Ssrc(0xcafe_babe));
        assert_eq!(packet.extension, &[0x10, 0x2a, 0, 0]);
        assert_eq!((packet.payload, packet.payload_offset, packet.padding), (&[1u8, 2, 3][..], 24, 2));
    }

    #[test]
    fn a_packet_cut_anywhere_in_its_header_is_an_error() {
        for len in 0..24 {
            assert!(RtpPacket::parse(&FIXTURE[..len]).is_err(), "length {len}");
        }
    }

    #[test]
    fn padding_of_zero_or_beyond_the_payload_is_an_error() {
        let mut packet = FIXTURE.to_vec();
        *packet.last_mut().unwrap() = 0;
        assert_eq!(RtpPacket::parse(&packet).unwrap_err(), RtpError::Padding);
        *packet.last_mut().unwrap() = 6;
        assert_eq!(RtpPacket::parse(&packet).unwrap_err(), RtpError::Padding);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = RtpPacket::parse(&bytes);
        }

        #[test]
        fn what_is_written_is_parsed_again(
            marker: bool, payload_type in 0u8..128, sequence: u16, timestamp: u32, ssrc: u32,
            value in proptest::collection::vec(any::<u8>(), 0..20), id in 1u8..=255,
        ) {
            let writer = HeaderWriter { marker, payload_type, sequence, timestamp, ssrc: Ssrc(ssrc) };
            let mut out = Vec::new();
            let len = writer.write(&mut out, |extensions| { extensions.push(id, &value); });
            prop_assert_eq!(len, out.len());
            let packet = RtpPacket::parse(&out).unwrap();
            prop_assert_eq!(packet.sequence, sequence);
            prop_assert_eq!(packet.timestamp, timestamp);
            prop_assert_eq!(packet.ssrc, Ssrc(ssrc));
            prop_assert_eq!(packet.marker, marker);
            prop_assert_eq!(packet.payload_type, payload_type);
            let found = super::super::extension::elements(packet.extension_profile, packet.extension).next();
            prop_assert_eq!(found, Some((id, &value[..])));
        }
    }
}
