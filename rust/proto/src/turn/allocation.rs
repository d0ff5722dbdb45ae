//! One allocation: a client, its relayed address, and whom it may talk with.

use std::net::SocketAddr;

use super::authentication::Holder;
use super::channels::Channels;
use super::permissions::Permissions;
use super::ports::Relayed;
use super::reservations::Token;
use crate::io::Path;
use crate::stun::TransactionId;
use crate::time::Time;

/// RFC 8656 §7.2: the lifetime of an allocation whose client asks for none, in seconds.
pub const DEFAULT_LIFETIME_S: u32 = 600;
/// The longest lifetime.
pub const MAX_LIFETIME_S: u32 = 3600;

/// What is kept for a client.
#[derive(Debug)]
pub(super) struct Allocation {
    /// The 5-tuple.
    pub(super) client: Path,
    pub(super) relayed: Relayed,
    /// Under which the next port was kept for another allocation.
    pub(super) token: Option<Token>,
    pub(super) holder: Holder,
    /// The request that made it: the same one is answered in the same way.
    pub(super) transaction: TransactionId,
    pub(super) expires: Time,
    pub(super) permissions: Permissions,
    pub(super) channels: Channels,
}

impl Allocation {
    /// Whether a peer's address is of the family that is relayed.
    pub(super) fn is_of_family(&self, peer: SocketAddr) -> bool {
        self.relayed.address.is_ipv4() == peer.is_ipv4()
    }

    /// Bytes of memory of its own, tables included.
    pub(super) fn memory(&self) -> usize {
        size_of::<Allocation>() + self.permissions.heap_bytes() + self.channels.heap_bytes()
    }
}

/// RFC 8656 §7.2: what is asked for, within bounds.
pub(super) fn lifetime_s(asked_s: Option<u32>) -> u32 {
    asked_s.map_or(DEFAULT_LIFETIME_S, |asked_s| asked_s.clamp(DEFAULT_LIFETIME_S, MAX_LIFETIME_S))
}
