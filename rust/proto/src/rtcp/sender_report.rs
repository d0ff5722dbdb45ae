//! Sender reports (RFC 3550 §6.4.1).

use super::report_block::{self, MAX_BLOCKS, ReportBlock};
use super::{NtpTime, RtcpError, packet_type, write_packet};
use crate::rtp::Ssrc;
use crate::rtp::bytes::{u32_at, u64_at};

/// What a sender says about its own stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SenderInfo {
    /// The sender.
    pub ssrc: Ssrc,
    /// Wall-clock time of the report on the sender's clock.
    pub ntp: NtpTime,
    /// The RTP timestamp of the same instant.
    pub rtp_timestamp: u32,
    /// Packets sent since the beginning, modulo 2^32.
    pub packets: u32,
    /// Payload bytes sent since the beginning, modulo 2^32.
    pub octets: u32,
}

/// A parsed sender report.
#[derive(Clone, Copy, Debug)]
pub struct SenderReport<'a> {
    /// The sender's part.
    pub info: SenderInfo,
    blocks: &'a [u8],
}

impl<'a> SenderReport<'a> {
    pub(super) fn parse(count: u8, body: &'a [u8]) -> Result<SenderReport<'a>, RtcpError> {
        let field = |at| u32_at(body, at).ok_or(RtcpError::Short);
        let info = SenderInfo {
            ssrc: Ssrc(field(0)?),
            ntp: NtpTime(u64_at(body, 4).ok_or(RtcpError::Short)?),
            rtp_timestamp: field(12)?,
            packets: field(16)?,
            octets: field(20)?,
        };
        let blocks = body.get(24..24 + usize::from(count) * report_block::LEN).ok_or(RtcpError::Short)?;
        Ok(SenderReport { info, blocks })
    }

    /// The report blocks, in order.
    pub fn blocks(&self) -> impl Iterator<Item = ReportBlock> + Clone + use<'a> {
        report_block::iterate(self.blocks)
    }
}

/// Appends a sender report with at most 31 blocks; more are left out.
pub fn write(out: &mut Vec<u8>, info: &SenderInfo, blocks: &[ReportBlock]) {
    let blocks = &blocks[..blocks.len().min(MAX_BLOCKS)];
    write_packet(out, packet_type::SR, blocks.len() as u8, |out| {
        out.extend_from_slice(&info.ssrc.0.to_be_bytes());
        out.extend_from_slice(&info.ntp.0.to_be_bytes());
        for word in [info.rtp_timestamp, info.packets, info.octets] {
            out.extend_from_slice(&word.to_be_bytes());
        }
        for block in blocks {
            block.write(out);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtcp::{RtcpPacket, packets};

    const FIXTURE: &[u8] = &[
        0x81, 0xc8, 0x00, 0x0c, 0x11, 0x22, 0x33, 0x44, // SR, one block
        0xe9, 0x00, 0x00, 0x01, 0x80, 0x00, 0x00, 0x00, // NTP
        0x00, 0x00, 0x03, 0xe8, 0x00, 0x00, 0x00, 0x05, 0x00, 0x00, 0x02, 0x00, // RTP time, packets, octets
        0x55, 0x66, 0x77, 0x88, 0x40, 0x00, 0x00, 0x03, 0x00, 0x01, 0x00, 0x10, // block
        0x00, 0x00, 0x00, 0x09, 0x00, 0x01, 0x80, 0x00, 0x00, 0x00, 0x80, 0x00,
    ];

    #[test]
    fn a_report_with_one_block_is_parsed_and_written_alike() {
        let Some(Ok(RtcpPacket::SenderReport(report))) = packets(FIXTURE).next() else {
            panic!("not a sender report");
        };
        assert_eq!(report.info.ssrc, Ssrc(0x1122_3344));
        assert_eq!(report.info.ntp.compact(), 0x0001_8000);
        assert_eq!((report.info.rtp_timestamp, report.info.packets, report.info.octets), (1000, 5, 512));
        let blocks: Vec<_> = report.blocks().collect();
        assert_eq!((blocks[0].fraction_lost, blocks[0].cumulative_lost), (0x40, 3));
        let mut out = Vec::new();
        write(&mut out, &report.info, &blocks);
        assert_eq!(out, FIXTURE);
    }

    #[test]
    fn a_count_beyond_the_blocks_is_an_error() {
        let mut bytes = FIXTURE.to_vec();
        bytes[0] = 0x82;
        assert_eq!(packets(&bytes).next().unwrap().unwrap_err(), RtcpError::Short);
    }
}
