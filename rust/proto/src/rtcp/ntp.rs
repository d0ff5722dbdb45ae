//! NTP timestamps of RTCP (RFC 3550 §4): 32.32 fixed point seconds since 1900.

use crate::time::Time;
use std::time::Duration;

/// A point of wall-clock time, or of a remote sender's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NtpTime(pub u64);

impl NtpTime {
    /// Seconds between the NTP epoch (1900) and the UNIX epoch (1970).
    const UNIX_EPOCH_S: u64 = 2_208_988_800;

    /// From time passed since the UNIX epoch.
    pub fn from_unix(since_epoch: Duration) -> NtpTime {
        let seconds = since_epoch.as_secs().wrapping_add(Self::UNIX_EPOCH_S);
        let fraction = (u64::from(since_epoch.subsec_nanos()) << 32) / 1_000_000_000;
        NtpTime((seconds << 32) | fraction)
    }

    /// The middle 32 bits, as in LSR (RFC 3550 §6.4.1).
    pub fn compact(self) -> u32 {
        (self.0 >> 16) as u32
    }

    /// Nanoseconds on the same clock; the 32-bit second counter wraps in 2036.
    pub fn as_nanos(self) -> u64 {
        (self.0 >> 32) * 1_000_000_000 + (((self.0 & 0xffff_ffff) * 1_000_000_000) >> 32)
    }
}

/// The wall clock as seen at one point of engine time, handed in by whoever owns the clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WallClock {
    /// Engine time of the reading.
    pub at: Time,
    /// Wall-clock time of the reading.
    pub ntp: NtpTime,
}

impl WallClock {
    /// Wall-clock time at `time`, which may lie before or after the reading.
    pub fn ntp_at(&self, time: Time) -> NtpTime {
        let (span, later) = if time >= self.at { (time.0 - self.at.0, true) } else { (self.at.0 - time.0, false) };
        let units = ((u128::from(span) << 32) / 1_000_000_000) as u64;
        NtpTime(if later { self.ntp.0.wrapping_add(units) } else { self.ntp.0.wrapping_sub(units) })
    }
}

/// A duration in the 16.16 seconds of DLSR (RFC 3550 §6.4.1), saturated.
pub fn to_compact(duration: Duration) -> u32 {
    u32::try_from((duration.as_nanos() << 16) / 1_000_000_000).unwrap_or(u32::MAX)
}

/// The duration of a 16.16 value.
pub fn from_compact(units: u32) -> Duration {
    Duration::from_nanos((u64::from(units) * 1_000_000_000) >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unix_epoch_is_2208988800_in_ntp() {
        assert_eq!(NtpTime::from_unix(Duration::ZERO).0 >> 32, 2_208_988_800);
        assert_eq!(NtpTime::from_unix(Duration::from_millis(500)).0 & 0xffff_ffff, 0x8000_0000);
    }

    #[test]
    fn a_wall_clock_is_extrapolated_both_ways() {
        let clock = WallClock { at: Time::from_millis(10_000), ntp: NtpTime(100 << 32) };
        assert_eq!(clock.ntp_at(Time::from_millis(11_500)), NtpTime((101 << 32) + 0x8000_0000));
        assert_eq!(clock.ntp_at(Time::from_millis(9_000)), NtpTime(99 << 32));
    }

    #[test]
    fn compact_durations_round_trip_to_the_unit() {
        assert_eq!(to_compact(Duration::from_secs(2)), 2 << 16);
        assert_eq!(from_compact(3 << 15), Duration::from_millis(1500));
    }
}
