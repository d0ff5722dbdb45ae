//! Whom a connection may speak to: told by the first datagram on it, which must be a check with a valid token.

use std::time::Duration;

use mediaserver_proto::demux::{Kind, classify};
use mediaserver_proto::ice::{UfragError, UfragKey, minute_of};
use mediaserver_proto::stun::local_ufrag;
use mediaserver_proto::time::Time;

use super::line::End;

/// See the module.
#[derive(Clone, Debug)]
pub struct Admission {
    /// Signs local ufrags.
    pub key: UfragKey,
    /// Shards; others have no transports.
    pub shards: usize,
    /// Time since the Unix epoch at `Time::ZERO`.
    pub unix_epoch: Duration,
}

impl Admission {
    /// The shard of the transport that a STUN Binding request names by its ufrag, which says and proves whose it is.
    pub(super) fn shard_of(&self, datagram: &[u8], now: Time) -> Result<usize, End> {
        if classify(datagram) != Kind::Stun {
            return Err(End::NoCheck);
        }
        let token = local_ufrag(datagram).ok_or(End::NoCheck)?;
        let minute = minute_of(self.unix_epoch + now.since(Time::ZERO));
        match self.key.verify(token, minute) {
            Ok(fields) if usize::from(fields.shard) < self.shards => Ok(usize::from(fields.shard)),
            Ok(_) | Err(UfragError::Foreign | UfragError::UnknownKey) => Err(End::ForeignUfrag),
            Err(UfragError::Forged) => Err(End::ForgedUfrag),
            Err(UfragError::Expired) => Err(End::ExpiredUfrag),
        }
    }
}
