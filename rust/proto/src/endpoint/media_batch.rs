//! Decrypted packets of one up track on their way to the down tracks of another shard.

use crate::sfu::{PacketMeta, UpPacket, UpTrackId};
use crate::time::Time;

/// Payloads side by side in one buffer, each with its record.
#[derive(Debug, Default)]
pub struct MediaBatch {
    bytes: Vec<u8>,
    packets: Vec<(PacketMeta, usize)>,
}

impl MediaBatch {
    /// Forgets the packets and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.packets.clear();
    }

    /// Adds a packet by copy.
    pub fn push(&mut self, packet: &UpPacket<'_>) {
        self.packets.push((packet.meta, self.bytes.len()));
        self.bytes.extend_from_slice(packet.payload);
    }

    /// The packets, in the order of their arrival, those of one up track that follow each other together.
    pub fn runs(&self) -> impl Iterator<Item = (UpTrackId, impl Iterator<Item = UpPacket<'_>> + Clone)> {
        self.packets.chunk_by(|a, b| a.0.up == b.0.up).map(|run| {
            let packets = run.iter().map(|&(meta, start)| UpPacket {
                meta,
                payload: self.bytes.get(start..start + usize::from(meta.payload_len)).unwrap_or_default(),
            });
            (run[0].0.up, packets)
        })
    }

    /// When the first packet arrived.
    pub fn arrival(&self) -> Option<Time> {
        self.packets.first().map(|(meta, _)| meta.arrival)
    }

    /// Number of packets.
    pub fn len(&self) -> usize {
        self.packets.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }
}
