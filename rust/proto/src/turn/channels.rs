//! Numbers that name peers (RFC 8656 §12).

use std::net::SocketAddr;

use super::address::{PackedIp, pack_ip, seconds, unpack};
use crate::time::Time;

/// RFC 8656 §12: how long a channel is bound, in seconds.
pub const CHANNEL_LIFETIME_S: u32 = 600;
/// Channels that one allocation may have.
pub const MOST_CHANNELS: usize = 32;
/// The numbers that are taken. RFC 8656 §12 ends at 0x4FFF; clients of RFC 5766 go on to 0x7FFE.
pub(super) const NUMBERS: std::ops::RangeInclusive<u16> = 0x4000..=0x7FFE;

/// Why a number was not bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BindError {
    /// The number names another peer, or the peer has another number.
    Conflict,
    /// No place for one more.
    Full,
}

#[derive(Clone, Copy, Debug)]
struct Channel {
    ip: PackedIp,
    port: u16,
    number: u16,
    expires_s: u32,
}

/// The channels of one allocation.
#[derive(Debug, Default)]
pub(super) struct Channels(Vec<Channel>);

impl Channels {
    /// The peer that a number names.
    pub(super) fn peer(&self, number: u16, now: Time) -> Option<SocketAddr> {
        let channel = self.0.iter().find(|channel| channel.number == number)?;
        (channel.expires_s > seconds(now)).then(|| unpack(channel.ip, channel.port))
    }

    /// The number of a peer.
    pub(super) fn number(&self, peer: SocketAddr, now: Time) -> Option<u16> {
        let (ip, port) = (pack_ip(peer.ip()), peer.port());
        let channel = self.0.iter().find(|channel| channel.port == port && channel.ip == ip)?;
        (channel.expires_s > seconds(now)).then_some(channel.number)
    }

    /// Whether [`Channels::bind`] would bind.
    pub(super) fn check(&self, number: u16, peer: SocketAddr, now: Time) -> Result<(), BindError> {
        let (ip, port, now_s) = (pack_ip(peer.ip()), peer.port(), seconds(now));
        let mut live = 0;
        // What is over counts no more.
        for channel in self.0.iter().filter(|channel| channel.expires_s > now_s) {
            match (channel.number == number, channel.port == port && channel.ip == ip) {
                (true, true) => return Ok(()),
                (false, false) => live += 1,
                _ => return Err(BindError::Conflict),
            }
        }
        if live < MOST_CHANNELS { Ok(()) } else { Err(BindError::Full) }
    }

    /// Binds a number to a peer, or lets it stay bound.
    pub(super) fn bind(&mut self, number: u16, peer: SocketAddr, now: Time) -> Result<(), BindError> {
        self.check(number, peer, now)?;
        let now_s = seconds(now);
        self.0.retain(|channel| channel.expires_s > now_s && channel.number != number);
        let expires_s = now_s.saturating_add(CHANNEL_LIFETIME_S);
        self.0.push(Channel { ip: pack_ip(peer.ip()), port: peer.port(), number, expires_s });
        Ok(())
    }

    /// Bytes of memory behind the table.
    pub(super) fn heap_bytes(&self) -> usize {
        self.0.capacity() * size_of::<Channel>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    #[test]
    fn a_number_and_its_peer_stay_together_for_ten_minutes() {
        let mut channels = Channels::default();
        channels.bind(0x4000, peer(1), Time::ZERO).unwrap();
        assert_eq!(channels.bind(0x4000, peer(2), Time::ZERO), Err(BindError::Conflict));
        assert_eq!(channels.bind(0x4001, peer(1), Time::ZERO), Err(BindError::Conflict));
        assert_eq!(channels.bind(0x4000, peer(1), Time::from_millis(500_000)), Ok(()));
        assert_eq!(channels.peer(0x4000, Time::from_millis(1_099_999)), Some(peer(1)));
        assert_eq!(channels.number(peer(1), Time::from_millis(1_099_999)), Some(0x4000));
        assert_eq!(channels.peer(0x4000, Time::from_millis(1_100_000)), None);
        assert_eq!(channels.number(peer(1), Time::from_millis(1_100_000)), None);
    }

    #[test]
    fn what_is_over_can_be_bound_anew_and_never_stands_twice() {
        let mut channels = Channels::default();
        channels.bind(0x4000, peer(1), Time::ZERO).unwrap();
        channels.bind(0x4001, peer(2), Time::ZERO).unwrap();
        let later = Time::from_millis(600_000);
        channels.bind(0x4002, peer(1), later).unwrap();
        assert_eq!(channels.number(peer(1), later), Some(0x4002));
        assert_eq!(channels.peer(0x4000, later), None);
        assert_eq!(channels.bind(0x4001, peer(1), later), Err(BindError::Conflict));
        channels.bind(0x4000, peer(2), later).unwrap();
        assert_eq!((channels.peer(0x4000, later), channels.0.len()), (Some(peer(2)), 2));
    }

    #[test]
    fn the_table_is_bounded() {
        let mut channels = Channels::default();
        for index in 0..MOST_CHANNELS as u16 {
            channels.bind(0x4000 + index, peer(1 + index), Time::ZERO).unwrap();
        }
        assert_eq!(channels.bind(0x5000, peer(999), Time::ZERO), Err(BindError::Full));
        assert_eq!(channels.bind(0x5000, peer(999), Time::from_millis(600_000)), Ok(()));
        assert_eq!(channels.0.len(), 1, "what was over is gone");
    }
}
