//! The media half of a shard's control boundary: tracks, subscriptions, clips.

use mediaserver_proto::io::TransmitQueue;
use mediaserver_proto::time::Time;

use crate::command::{Action, Command};
use crate::event::{DownTrackStats, UpTrackStats};
use crate::shard::{Refusal, ShardControl};
use std::sync::Arc;

/// placeholder
#[derive(Debug)]
pub struct Clip;

/// What a shard is told.
#[derive(Debug)]
pub enum Inbox {
    /// A command about an object of the shard.
    Command(Command),
    /// A clip for every shard; only one of them has the request to answer.
    LoadClip { id: u64, request: Option<u64>, clip: Arc<Clip> },
    /// The clip may go.
    UnloadClip { id: u64, request: Option<u64> },
}

#[derive(Debug, Default)]
pub(crate) struct MediaControl {}
impl MediaControl {
    pub(crate) fn load_clip(&mut self, _id: u64, _clip: Arc<Clip>) {}
    pub(crate) fn unload_clip(&mut self, _id: u64) {}
}
impl ShardControl {
    pub(crate) fn apply_media(
        &mut self,
        _id: u64,
        _action: Action,
        _now: Time,
        _out: &mut TransmitQueue,
    ) -> Result<(), Refusal> {
        Err(Refusal::Invalid("command"))
    }
    pub(crate) fn track_stats(&self, _id: u64) -> (Vec<UpTrackStats>, Vec<DownTrackStats>) {
        (vec![], vec![])
    }
}

pub(crate) fn read_clip(_id: u64, _tracks: Vec<crate::command::ClipTrack>) -> Result<Arc<Clip>, &'static str> {
    Ok(Arc::new(Clip))
}
