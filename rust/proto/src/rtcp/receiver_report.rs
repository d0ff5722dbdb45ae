//! Receiver reports (RFC 3550 §6.4.2).

use super::report_block::{self, MAX_BLOCKS, ReportBlock};
use super::{RtcpError, packet_type, write_packet};
use crate::rtp::Ssrc;
use crate::rtp::bytes::u32_at;

/// A parsed receiver report.
#[derive(Clone, Copy, Debug)]
pub struct ReceiverReport<'a> {
    /// Who reports.
    pub sender: Ssrc,
    blocks: &'a [u8],
}

impl<'a> ReceiverReport<'a> {
    pub(super) fn parse(count: u8, body: &'a [u8]) -> Result<ReceiverReport<'a>, RtcpError> {
        let sender = Ssrc(u32_at(body, 0).ok_or(RtcpError::Short)?);
        let blocks = body.get(4..4 + usize::from(count) * report_block::LEN).ok_or(RtcpError::Short)?;
        Ok(ReceiverReport { sender, blocks })
    }

    /// The report blocks, in order.
    pub fn blocks(&self) -> impl Iterator<Item = ReportBlock> + Clone + use<'a> {
        report_block::iterate(self.blocks)
    }
}

/// Appends a receiver report with at most 31 blocks; more are left out.
pub fn write(out: &mut Vec<u8>, sender: Ssrc, blocks: &[ReportBlock]) {
    let blocks = &blocks[..blocks.len().min(MAX_BLOCKS)];
    write_packet(out, packet_type::RR, blocks.len() as u8, |out| {
        out.extend_from_slice(&sender.0.to_be_bytes());
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
        0x81, 0xc9, 0x00, 0x07, 0x00, 0x00, 0x00, 0x01, // RR, one block, sender SSRC 1 as browsers use
        0x55, 0x66, 0x77, 0x88, 0x00, 0xff, 0xff, 0xff, 0x00, 0x01, 0x00, 0x10, // lost -1
        0x00, 0x00, 0x00, 0x09, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    ];

    #[test]
    fn a_report_is_parsed_and_written_alike() {
        let Some(Ok(RtcpPacket::ReceiverReport(report))) = packets(FIXTURE).next() else {
            panic!("not a receiver report");
        };
        let blocks: Vec<_> = report.blocks().collect();
        assert_eq!((report.sender, blocks.len(), blocks[0].cumulative_lost), (Ssrc(1), 1, -1));
        let mut out = Vec::new();
        write(&mut out, report.sender, &blocks);
        assert_eq!(out, FIXTURE);
    }
}
