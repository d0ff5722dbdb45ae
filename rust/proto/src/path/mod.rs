//! The paths of an Edge: which visitor's address belongs to which session of which Core, and what it may send.
//!
//! A path is made for a STUN check with a valid token and for nothing else. It is unproven until its Core says that it
//! answered a challenge; an unproven one costs little, gets little, and never takes the place of a proven one.

mod admission;
mod drops;
mod id;
mod places;
mod prefixes;
mod revoked;
mod sessions;
mod table;
#[cfg(test)]
mod tests;

use crate::ice::LocalUfrag;

pub use admission::Admission;
pub use drops::{EdgeDrop, EdgeDrops};
pub use id::PathId;
pub(crate) use table::Restored;
pub use table::{Entry, Origin, PathLimits, PathTable};

/// A session of a Core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey {
    /// The Core.
    pub core: u16,
    /// Its id of the transport, with the shard in the upper 16 bits.
    pub transport: u64,
}

impl SessionKey {
    /// The session that a token names.
    pub fn of(token: &LocalUfrag) -> SessionKey {
        SessionKey { core: token.core, transport: token.transport_id() }
    }

    /// The shard of the Core to which it belongs.
    pub fn shard(self) -> u16 {
        (self.transport >> 48) as u16
    }
}
