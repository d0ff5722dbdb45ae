//! What an Edge's worker is told: keys, links, and sessions that have ended.

use std::time::Duration;

use mediaserver_proto::ice::{UFRAG_LIFE_MINUTES, UfragKey, minute_of};
use mediaserver_proto::link::{EdgeLink, LinkKey, LinkName};
use mediaserver_proto::path::{PathLimits, SessionKey};
use mediaserver_proto::time::Time;
use serde_bytes::ByteBuf;

use crate::command::Action;

/// Does what a command says; an error is the reason of its refusal. `unix_epoch` is the time since 1970 at `Time::ZERO`.
pub(super) fn apply(edge: &mut EdgeLink, action: &Action, unix_epoch: Duration, now: Time) -> Result<(), &'static str> {
    match action {
        Action::SetCoreKey { core, key_id, key } => {
            let key = UfragKey::new(*core, *key_id, secret(key)?);
            if edge.set_key(key) { Ok(()) } else { Err("limit cores") }
        }
        Action::RemoveCoreKey { core, key_id } => {
            edge.remove_key(*core, *key_id);
            Ok(())
        }
        Action::SetMediaLink { core, shard, key } => {
            let key = LinkKey::new(secret(key)?);
            if edge.set_link(LinkName { core: *core, shard: *shard }, key) { Ok(()) } else { Err("limit links") }
        }
        Action::RemoveMediaLink { core, shard } => {
            edge.remove_link(LinkName { core: *core, shard: *shard });
            Ok(())
        }
        Action::RevokeSessions { core, sessions } => {
            // No token of theirs is younger than now.
            let until = minute_of(unix_epoch + now.since(Time::ZERO)).saturating_add(UFRAG_LIFE_MINUTES);
            for &transport in sessions {
                edge.revoke(SessionKey { core: *core, transport }, until, now);
            }
            Ok(())
        }
        Action::SetPathLimits { paths, unproven_per_prefix } => {
            edge.set_limits(PathLimits { paths: *paths, unproven_per_prefix: *unproven_per_prefix });
            Ok(())
        }
        Action::AimEdgePorts { .. } => super::ports::aim(edge, action, now),
        // That the thread answers is all that is asked.
        Action::Ping => Ok(()),
        _ => Err("invalid command for an edge"),
    }
}

fn secret(key: &ByteBuf) -> Result<&[u8; 32], &'static str> {
    key.as_slice().try_into().map_err(|_| "invalid key: it must have 32 bytes")
}
