//! What an audio thread and the shards give each other: who wants which track, and packets in batches.

use std::collections::HashMap;
use std::sync::Arc;

use mediaserver_proto::endpoint::media_batch::MediaBatch;
use mediaserver_proto::endpoint::shared_pool::SharedPool;
use mediaserver_proto::endpoint::{Shard, ShardMessage};
use mediaserver_proto::sfu::UpPacket;

use crate::command::shard_of;

/// Batches on their way to shards; when all are under way what would go with them is dropped.
const BATCHES: usize = 64;

/// See the module.
#[derive(Debug)]
pub struct Delivery {
    shards: Shard,
    /// How many down tracks of which shards want a track that is made here, whether it exists yet or not.
    wants: HashMap<u64, Vec<(Shard, u32)>>,
    batches: SharedPool<MediaBatch>,
    /// What goes to each shard after this tick.
    collecting: Vec<Option<Arc<MediaBatch>>>,
    messages: Vec<(Shard, ShardMessage)>,
    no_buffer: u64,
}

impl Delivery {
    /// To and from `shards` shards.
    pub fn new(shards: Shard) -> Delivery {
        Delivery {
            shards,
            wants: HashMap::new(),
            batches: SharedPool::new(BATCHES),
            collecting: vec![None; usize::from(shards)],
            messages: Vec::new(),
            no_buffer: 0,
        }
    }

    /// Packets that were dropped because all batches were under way.
    pub fn no_buffer(&self) -> u64 {
        self.no_buffer
    }

    /// What goes to the shards, in order.
    pub fn take_messages(&mut self) -> std::vec::Drain<'_, (Shard, ShardMessage)> {
        self.messages.drain(..)
    }

    /// Whether an up track is on a shard.
    pub fn has_source(&self, up: u64) -> bool {
        shard_of(up) < usize::from(self.shards)
    }

    /// Asks for the packets of an up track; to be taken back as often.
    pub fn want(&mut self, up: u64) {
        self.messages.push((shard_of(up) as Shard, ShardMessage::Want { up }));
    }

    /// Asks for them no more.
    pub fn unwant(&mut self, up: u64) {
        self.messages.push((shard_of(up) as Shard, ShardMessage::Unwant { up }));
    }

    /// A shard wants the packets of a track that is made here.
    pub fn is_wanted(&mut self, from: Shard, up: u64) {
        let shards = self.wants.entry(up).or_default();
        match shards.iter_mut().find(|(shard, _)| *shard == from) {
            Some((_, count)) => *count += 1,
            None => shards.push((from, 1)),
        }
    }

    /// One of its down tracks wants them no more.
    pub fn is_unwanted(&mut self, from: Shard, up: u64) {
        let Some(shards) = self.wants.get_mut(&up) else { return };
        if let Some((_, count)) = shards.iter_mut().find(|(shard, _)| *shard == from) {
            *count -= 1;
        }
        shards.retain(|(_, count)| *count > 0);
        if shards.is_empty() {
            self.wants.remove(&up);
        }
    }

    /// Puts a packet into the batches of those who want it.
    pub fn give(&mut self, packet: &UpPacket<'_>) {
        let shards = self.wants.get(&packet.meta.up.0).map(Vec::as_slice).unwrap_or_default();
        for &(shard, _) in shards {
            let Some(slot) = self.collecting.get_mut(usize::from(shard)) else { continue };
            if !collect(slot, &mut self.batches, packet) {
                self.no_buffer += 1;
            }
        }
    }

    /// Sends the batches off.
    pub fn flush(&mut self) {
        for (shard, batch) in self.collecting.iter_mut().enumerate() {
            if let Some(batch) = batch.take() {
                self.batches.keep(&batch);
                self.messages.push((shard as Shard, ShardMessage::Media(batch)));
            }
        }
    }
}

/// Adds a packet to the batch for a shard; false where no buffer is free.
fn collect(slot: &mut Option<Arc<MediaBatch>>, batches: &mut SharedPool<MediaBatch>, packet: &UpPacket<'_>) -> bool {
    if slot.is_none() {
        let Some(mut batch) = batches.take() else { return false };
        if let Some(batch) = Arc::get_mut(&mut batch) {
            batch.clear();
        }
        *slot = Some(batch);
    }
    if let Some(batch) = slot.as_mut().and_then(Arc::get_mut) {
        batch.push(packet);
    }
    true
}
