//! The last step of a packet: record and shared payload become protected bytes in the transmit queue.

use slab::Slab;

use super::slot::Slot;
use crate::io::{Carries, Paced, TransmitQueue};
use crate::sfu::{Departure, IdMap, Output, Rewrite, TransportId};
use crate::transport::SendError;

/// Packets that did not leave, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub(super) struct SendDrops {
    pub(super) not_connected: u64,
    pub(super) index_used: u64,
    pub(super) too_many_ssrcs: u64,
    pub(super) malformed: u64,
}

impl SendDrops {
    fn count(&mut self, error: SendError) {
        match error {
            SendError::NotConnected => self.not_connected += 1,
            SendError::IndexUsed => self.index_used += 1,
            SendError::TooManySsrcs => self.too_many_ssrcs += 1,
            SendError::Malformed => self.malformed += 1,
        }
    }
}

/// Protects what the router gives out, at once and in one pass.
pub(super) struct Departures<'a, 'o> {
    pub(super) slots: &'a mut Slab<Slot>,
    pub(super) keys: &'a IdMap<TransportId, usize>,
    pub(super) out: &'a mut TransmitQueue<'o>,
    pub(super) scratch: &'a mut Vec<u8>,
    pub(super) drops: &'a mut SendDrops,
    /// Packets of one receiver come one after the other.
    pub(super) last: Option<(TransportId, usize)>,
}

impl<'a, 'o> Departures<'a, 'o> {
    pub(super) fn new(
        slots: &'a mut Slab<Slot>,
        keys: &'a IdMap<TransportId, usize>,
        out: &'a mut TransmitQueue<'o>,
        scratch: &'a mut Vec<u8>,
        drops: &'a mut SendDrops,
    ) -> Departures<'a, 'o> {
        Departures { slots, keys, out, scratch, drops, last: None }
    }

    fn slot(&mut self, transport: TransportId) -> Option<usize> {
        match self.last {
            Some((last, key)) if last == transport => Some(key),
            _ => {
                self.out.relieve();
                let key = *self.keys.get(&transport)?;
                self.last = Some((transport, key));
                Some(key)
            }
        }
    }
}

impl Output for Departures<'_, '_> {
    fn rtp(
        &mut self,
        transport: TransportId,
        rewrite: &Rewrite,
        departure: &Departure,
        payload: &[u8],
    ) -> Option<usize> {
        let key = self.slot(transport)?;
        let slot = self.slots.get_mut(key)?;
        self.scratch.clear();
        self.out.carries = rewrite.carries;
        let header_len = rewrite.write_header(departure, payload, self.scratch);
        let payload = payload.get(rewrite.skip()..).unwrap_or_default();
        let result = if rewrite.prefix().is_empty() {
            slot.transport.protect_rtp(&self.scratch[..header_len], payload, self.out)
        } else {
            self.scratch.extend_from_slice(rewrite.prefix());
            self.scratch.extend_from_slice(payload);
            let (header, payload) = self.scratch.split_at(header_len);
            slot.transport.protect_rtp(header, payload, self.out)
        };
        self.out.carries = Carries::Control;
        match result {
            Ok(()) => {
                let size = self.out.entries().last().map_or(0, |entry| entry.len);
                slot.traffic.packets_sent += 1;
                slot.traffic.bytes_sent += size as u64;
                Some(size)
            }
            Err(error) => {
                self.drops.count(error);
                None
            }
        }
    }

    fn paced(&mut self, paced: Paced) {
        self.out.note_paced(paced);
    }

    fn rtcp(&mut self, transport: TransportId, compound: &[u8]) {
        let Some(key) = self.slot(transport) else { return };
        let Some(slot) = self.slots.get_mut(key) else { return };
        match slot.transport.protect_rtcp(compound, self.out) {
            Ok(()) => {
                slot.traffic.packets_sent += 1;
                slot.traffic.bytes_sent += self.out.entries().last().map_or(0, |entry| entry.len as u64);
            }
            Err(error) => self.drops.count(error),
        }
    }
}
