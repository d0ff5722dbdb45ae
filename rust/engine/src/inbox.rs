//! What the control plane has for a thread.

use std::sync::Arc;

use mediaserver_proto::ice::UfragKey;
use mediaserver_proto::player;

use crate::command::Command;

/// What a thread is told. All but commands is for shards alone.
#[derive(Debug)]
pub enum Inbox {
    /// A command about an object of the thread.
    Command(Command),
    /// A clip for every shard; only one of them has the request to answer.
    LoadClip {
        /// Answered when given.
        request: Option<u64>,
        /// The clip, shared by all shards.
        clip: Arc<player::Clip>,
    },
    /// The clip may go.
    UnloadClip {
        /// The clip.
        id: u64,
        /// Answered when given.
        request: Option<u64>,
    },
    /// What the shard signs ufrags by from now on.
    SetUfragKey {
        /// The shard.
        id: u64,
        /// Answered when given.
        request: Option<u64>,
        /// The key, which carriers know already.
        key: Box<UfragKey>,
    },
}
