//! What shards say to each other; the engine only carries it, in order, from one shard to another. Threads that carry
//! datagrams for shards (relay, TCP) speak the same: to a shard they look like one more, with tuples but no transports.

use std::sync::Arc;

use super::media_batch::MediaBatch;
use super::topics::TopicMessage;
use crate::io::{Path, ReceiveBatch};
use crate::sfu::{LayerTable, Want};
use crate::time::Time;

/// Index of a shard.
pub type Shard = u16;

/// A message from one shard to another.
#[derive(Debug)]
pub enum ShardMessage {
    /// Datagrams that came in at the sender's socket and are the receiver's; towards a carrier, such as are to leave by it.
    Datagrams(Box<ReceiveBatch>),
    /// The buffer of such datagrams goes back to whom it belongs.
    Returned(Box<ReceiveBatch>),
    /// Datagrams from this tuple are mine: it passed a check of one of my transports.
    PathBound(Path),
    /// They no longer are.
    PathUnbound(Path),
    /// The tuple, which I carry, is gone: nothing comes from there any more, and nothing gets there.
    PathClosed(Path),
    /// Media of one of my up tracks, for your down tracks; the buffer is mine again when nobody holds it any more.
    Media(Arc<MediaBatch>),
    /// A message to the members of a topic that you have.
    Topic {
        /// The topic.
        topic: u64,
        /// Whom it is from.
        sender: Arc<str>,
        /// The message, shared by all shards.
        message: Arc<TopicMessage>,
    },
    /// I have members of this topic, or have none any more.
    TopicMembers {
        /// The topic.
        topic: u64,
        /// Whether there are some.
        present: bool,
    },
    /// One more of my down tracks wants your up track.
    Want {
        /// The up track.
        up: u64,
    },
    /// One of my down tracks does not want it any more.
    Unwant {
        /// The up track.
        up: u64,
    },
    /// These are the layers of my up track, of which you have receivers.
    Layers {
        /// The up track.
        up: u64,
        /// Its layers, shared by all shards.
        table: Arc<LayerTable>,
    },
    /// My receivers may be given these layers of your up track.
    LayersWanted {
        /// The up track.
        up: u64,
        /// Bit by layer.
        wanted: u8,
    },
    /// My best receiver can be given so much of your up track.
    Affordable {
        /// The up track.
        up: u64,
        /// Bits per second.
        bps: u32,
    },
    /// One of my down tracks needs a keyframe of your up track.
    KeyframeWanted {
        /// The up track.
        up: u64,
        /// Index of the layer.
        layer: u8,
        /// Why.
        want: Want,
    },
}

impl ShardMessage {
    /// When the media in it arrived at its shard.
    pub fn arrival(&self) -> Option<Time> {
        match self {
            ShardMessage::Media(batch) => batch.arrival(),
            ShardMessage::Datagrams(batch) => batch.arrival,
            _ => None,
        }
    }

    /// Whether losing it only costs packets, so that it may be dropped when the way is full.
    pub fn is_expendable(&self) -> bool {
        matches!(
            self,
            ShardMessage::Datagrams(_)
                | ShardMessage::Media(_)
                | ShardMessage::Topic { .. }
                | ShardMessage::KeyframeWanted { .. }
        )
    }
}
