//! Whose a datagram is that came in at a carrier: told, and proven, by the token of a STUN check.

use std::time::Duration;

use mediaserver_proto::ice::{UfragError, minute_of};
use mediaserver_proto::stun::local_ufrag;
use mediaserver_proto::time::Time;

use crate::key_ring::KeyRing;

/// See the module.
#[derive(Clone, Debug)]
pub struct Admission {
    /// Know local ufrags.
    pub keys: KeyRing,
    /// Shards; others have no transports.
    pub shards: usize,
    /// Time since the Unix epoch at `Time::ZERO`.
    pub unix_epoch: Duration,
}

impl Admission {
    /// The shard of the transport that a STUN Binding request names by its ufrag; `None` for what is no such request.
    pub fn shard_of(&self, datagram: &[u8], now: Time) -> Option<Result<usize, UfragError>> {
        let token = local_ufrag(datagram)?;
        let minute = minute_of(self.unix_epoch + now.since(Time::ZERO));
        Some(self.keys.verify(token, minute).and_then(|fields| {
            let shard = usize::from(fields.shard);
            if shard < self.shards { Ok(shard) } else { Err(UfragError::Foreign) }
        }))
    }
}
