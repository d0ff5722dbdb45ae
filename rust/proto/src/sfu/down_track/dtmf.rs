//! Digits that a down track sends in place of its source.

use super::DownTrack;
use crate::codec::telephone_event;
use crate::sfu::dtmf_sender::{DtmfError, DtmfSender};
use crate::sfu::packet::Rewrite;
use crate::time::Time;
use std::time::Duration;

impl DownTrack {
    /// Queues DTMF digits; while a digit sounds the source's packets are dropped.
    pub fn send_dtmf(&mut self, digits: &str, duration: Duration, gap: Duration, now: Time) -> Result<(), DtmfError> {
        let entry = self.payloads.telephone_event().ok_or(DtmfError::NotNegotiated)?;
        self.dtmf.queue(digits, duration, gap, entry.codec.clock_rate(), now)
    }

    /// When [`DownTrack::poll_dtmf`] has a packet.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.dtmf.poll_timeout()
    }

    /// The DTMF packet that is due; its whole payload is the record's prefix.
    pub fn poll_dtmf(&mut self, now: Time) -> Option<Rewrite> {
        let Some(entry) = self.payloads.telephone_event().copied() else {
            self.dtmf = DtmfSender::default();
            return None;
        };
        let clock_rate = entry.codec.clock_rate();
        let report = self.dtmf.poll(now, clock_rate)?;
        if !self.active {
            return None;
        }
        if report.first {
            self.timestamp.begin(now, clock_rate);
            self.dtmf_timestamp = self.timestamp.at(now, self.timestamp.clock_rate());
        }
        let sequence = self.sequence.insert();
        let mut rewrite = self.blank(sequence, self.dtmf_timestamp, entry.payload_type, report.first);
        rewrite.prefix[..telephone_event::LEN].copy_from_slice(&report.event.to_bytes());
        rewrite.prefix_len = telephone_event::LEN as u8;
        self.count(telephone_event::LEN);
        Some(rewrite)
    }
}
