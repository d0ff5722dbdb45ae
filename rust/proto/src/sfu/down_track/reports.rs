//! What a down track tells its receiver of itself, and hears of it.

use super::DownTrack;
use crate::rtcp::ntp::from_compact;
use crate::rtcp::{ReportBlock, SenderInfo, WallClock};
use crate::time::Time;

/// Packets between two reports that are believed.
const MOST_REPORTED: u32 = 0x8000;

/// In 1/65536 s, as the two that are compared with it.
const MOST_ROUND_TRIP: u32 = 60 << 16;
const CLOCK_ERROR: u32 = (1 << 16) / 100;

impl DownTrack {
    /// The sender's part of our next report, in the receiver's timeline;
    /// `None` before the first packet and while it is not active.
    pub fn sender_info(&self, now: Time, wall: &WallClock) -> Option<SenderInfo> {
        if self.stats.packets == 0 || !self.active {
            return None;
        }
        Some(SenderInfo {
            ssrc: self.config.ssrc,
            ntp: wall.ntp_at(now),
            rtp_timestamp: self.timestamp.report(now)?,
            packets: self.stats.packets as u32,
            octets: self.stats.octets as u32,
        })
    }

    /// Takes what the receiver reports about this track; what is new in it.
    pub fn handle_report(&mut self, block: &ReportBlock, now: Time, wall: &WallClock) -> ReportNews {
        self.mid_known = true;
        let mut news = ReportNews::between(self.reported, block, self.stats.remote_lost);
        self.reported = Some(block.highest_sequence);
        self.stats.remote_lost = block.cumulative_lost;
        self.stats.remote_jitter = block.jitter;
        if block.last_sr != 0 {
            // RFC 3550 §6.4.1: A - LSR - DLSR, in 1/65536 s.
            let elapsed = wall.ntp_at(now).compact().wrapping_sub(block.last_sr);
            let round_trip = elapsed.wrapping_sub(block.delay_since_last_sr);
            // Backwards is very far forwards here; a clock may be off by a little.
            news.impossible_time = (MOST_ROUND_TRIP..CLOCK_ERROR.wrapping_neg()).contains(&round_trip);
            if round_trip < MOST_ROUND_TRIP {
                self.stats.round_trip = Some(from_compact(round_trip));
            }
        }
        news
    }
}

/// What a report tells beyond the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportNews {
    /// Packets lost.
    pub lost: u32,
    /// Packets that should have come.
    pub packets: u32,
    /// It says that it came before the report that it is about, or a minute after.
    pub impossible_time: bool,
}

impl ReportNews {
    /// RFC 3550 §6.4.1. Nothing for a first report, and for one that goes back or jumps further than packets were sent.
    fn between(before: Option<u32>, block: &ReportBlock, lost_before: i32) -> ReportNews {
        let packets = before.map_or(0, |before| block.highest_sequence.wrapping_sub(before));
        if packets > MOST_REPORTED {
            return ReportNews::default();
        }
        let lost = u32::try_from(i64::from(block.cumulative_lost) - i64::from(lost_before)).unwrap_or(0);
        ReportNews { lost: lost.min(packets), packets, impossible_time: false }
    }
}
