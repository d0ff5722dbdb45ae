//! The media of a shard: the router between transports, and the batches that go to and come from other shards.

use std::sync::Arc;

use slab::Slab;

use super::departures::{Departures, SendDrops};
use super::media_batch::MediaBatch;
use super::message::Shard;
use super::shared_pool::SharedPool;
use super::slot::Slot;
use crate::io::{ReceiveBatch, TransmitQueue};
use crate::rtcp::{WallClock, bye, receiver_report, sdes};
use crate::rtp::Ssrc;
use crate::sfu::{IdMap, PacketMeta, Router, TransportId, UpPacket, UpTrackId};
use crate::time::Time;

/// Buffers on the way to other shards; when all are under way packets for them are dropped.
const MEDIA_BUFFERS: usize = 128;

/// The router with what it needs around it.
#[derive(Debug)]
pub(super) struct Media {
    pub(super) router: Router,
    pub(super) wall: WallClock,
    /// Packets of the batch being handled: record, and where their datagram lies in the batch.
    pending: Vec<(PacketMeta, usize)>,
    keys: IdMap<TransportId, usize>,
    buffers: SharedPool<MediaBatch>,
    /// Which shards the packets of the batch being handled go to, and the buffer that collects them.
    collecting: Option<(u64, Arc<MediaBatch>)>,
    scratch: Vec<u8>,
    drops: SendDrops,
    no_buffer: u64,
}

impl Media {
    pub(super) fn new(wall: WallClock) -> Media {
        Media {
            router: Router::new(),
            wall,
            pending: Vec::new(),
            keys: IdMap::default(),
            buffers: SharedPool::new(MEDIA_BUFFERS),
            collecting: None,
            scratch: Vec::with_capacity(2048),
            drops: SendDrops::default(),
            no_buffer: 0,
        }
    }

    /// Takes a decrypted packet; it is forwarded by [`Media::finish_batch`].
    pub(super) fn handle_rtp(&mut self, transport: u64, entry: usize, packet: &[u8], now: Time) {
        // What is not forwarded is counted by the router.
        let Ok(received) = self.router.handle_rtp(TransportId(transport), packet, now) else { return };
        if received.remote_shards != 0 {
            self.collect(
                received.remote_shards,
                &UpPacket { meta: received.meta, payload: received.meta.payload(packet) },
            );
        }
        if received.local {
            self.pending.push((received.meta, entry));
        }
    }

    /// Takes a decrypted compound.
    pub(super) fn handle_rtcp(
        &mut self,
        transport: u64,
        packet: &[u8],
        slots: &mut Slab<Slot>,
        now: Time,
        out: &mut TransmitQueue,
    ) {
        let mut departures = Departures::new(slots, &self.keys, out, &mut self.scratch, &mut self.drops);
        self.router.handle_rtcp(TransportId(transport), packet, &self.wall, now, &mut departures);
    }

    /// Packets that will leave, all receivers together, for what is pending of a frame whose last packet is not there.
    pub(super) fn unfinished_copies(&self) -> usize {
        let Some((meta, _)) = self.pending.last().filter(|(meta, _)| meta.codec.is_video() && !meta.marker) else {
            return 0;
        };
        let packets = self.pending.iter().rev().take_while(|(other, _)| other.up == meta.up).count();
        packets * self.router.receivers(meta.up)
    }

    /// Forgets what was kept of a batch.
    pub(super) fn forget_batch(&mut self) {
        self.pending.clear();
    }

    /// Forwards the packets of the batch: all of one source to one receiver side by side, so that they leave as one run.
    pub(super) fn finish_batch(
        &mut self,
        batch: &ReceiveBatch,
        slots: &mut Slab<Slot>,
        now: Time,
        out: &mut TransmitQueue,
    ) {
        let mut pending = std::mem::take(&mut self.pending);
        let one_source = pending.windows(2).all(|pair| pair[0].0.up == pair[1].0.up);
        if !one_source {
            pending.sort_unstable_by_key(|(meta, entry)| (meta.up, *entry));
        }
        for run in pending.chunk_by(|a, b| a.0.up == b.0.up) {
            let packets = run.iter().filter_map(|(meta, entry)| {
                let datagram = batch.datagram(batch.entries().get(*entry)?);
                Some(UpPacket { meta: *meta, payload: meta.payload(datagram) })
            });
            self.forward(run[0].0.up, packets, slots, now, out);
        }
        pending.clear();
        self.pending = pending;
    }

    /// Forwards packets that another shard decrypted.
    pub(super) fn handle_media(
        &mut self,
        batch: &MediaBatch,
        slots: &mut Slab<Slot>,
        now: Time,
        out: &mut TransmitQueue,
    ) {
        for (up, packets) in batch.runs() {
            self.forward(up, packets, slots, now, out);
        }
    }

    fn forward<'a>(
        &mut self,
        up: UpTrackId,
        packets: impl Iterator<Item = UpPacket<'a>> + Clone,
        slots: &mut Slab<Slot>,
        now: Time,
        out: &mut TransmitQueue,
    ) {
        let mut departures = Departures::new(slots, &self.keys, out, &mut self.scratch, &mut self.drops);
        self.router.forward_batch(up, packets, now, &mut departures);
    }

    /// Does what is due.
    pub(super) fn handle_timeout(&mut self, slots: &mut Slab<Slot>, now: Time, out: &mut TransmitQueue) {
        let mut departures = Departures::new(slots, &self.keys, out, &mut self.scratch, &mut self.drops);
        self.router.handle_timeout(&self.wall, now, &mut departures);
    }

    /// Copies a packet into the buffer for other shards, once for all of them.
    fn collect(&mut self, shards: u64, packet: &UpPacket<'_>) {
        if self.collecting.is_none() {
            let Some(mut buffer) = self.buffers.take() else {
                self.no_buffer += 1;
                return;
            };
            if let Some(buffer) = Arc::get_mut(&mut buffer) {
                buffer.clear();
            }
            self.collecting = Some((0, buffer));
        }
        if let Some((all, buffer)) = &mut self.collecting
            && let Some(buffer) = Arc::get_mut(buffer)
        {
            *all |= shards;
            buffer.push(packet);
        }
    }

    /// What was collected for other shards since the last call.
    pub(super) fn collected(&mut self) -> impl Iterator<Item = (Shard, Arc<MediaBatch>)> + use<> {
        let mut collected = self.collecting.take();
        if let Some((_, buffer)) = &collected {
            self.buffers.keep(buffer);
        }
        std::iter::from_fn(move || {
            let (shards, buffer) = collected.as_mut().filter(|(shards, _)| *shards != 0)?;
            let shard = shards.trailing_zeros();
            *shards &= *shards - 1;
            Some((shard as Shard, buffer.clone()))
        })
    }

    /// A transport has its place.
    pub(super) fn insert(&mut self, transport: u64, slot: usize) {
        self.keys.insert(TransportId(transport), slot);
    }

    /// It goes.
    pub(super) fn remove(&mut self, transport: u64) {
        self.keys.remove(&TransportId(transport));
    }

    /// Tells the peer that SSRCs of ours are gone (RFC 3550 §6.6).
    pub(super) fn say_bye(&mut self, slot: &mut Slot, sources: &[Ssrc], cname: &str, out: &mut TransmitQueue) {
        let Some(&first) = sources.first() else { return };
        self.scratch.clear();
        // RFC 3550 §6.1: a compound begins with a report and has a CNAME, also one that says goodbye.
        receiver_report::write(&mut self.scratch, first, &[]);
        sdes::write_cname(&mut self.scratch, &[(first, cname)]);
        bye::write(&mut self.scratch, sources);
        // A peer that cannot be reached any more needs no goodbye.
        slot.transport.protect_rtcp(&self.scratch, out).ok();
    }

    /// Names and values of everything counted here.
    pub(super) fn counters(&self, each: &mut impl FnMut(&str, u64)) {
        for (name, value) in self.router.drops().iter() {
            each(name, value);
        }
        for (name, value) in self.router.faults().iter() {
            each(name, value);
        }
        for (name, value) in self.router.pacer_drops().iter() {
            each(name, value);
        }
        each("send_not_connected", self.drops.not_connected);
        each("send_index_used", self.drops.index_used);
        each("send_too_many_ssrcs", self.drops.too_many_ssrcs);
        each("send_malformed", self.drops.malformed);
        each("media_no_buffer", self.no_buffer);
    }
}
