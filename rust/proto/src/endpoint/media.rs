//! placeholder
use super::slot::Slot;
use crate::io::{ReceiveBatch, TransmitQueue};
use crate::time::Time;
use slab::Slab;
#[derive(Debug, Default)]
pub struct Media {}
impl Media {
    pub fn finish_batch(
        &mut self,
        _batch: &mut ReceiveBatch,
        _slots: &mut Slab<Slot>,
        _now: Time,
        _out: &mut TransmitQueue,
    ) {
    }
    pub fn handle_rtp(
        &mut self,
        _slot: usize,
        _entry: usize,
        _packet: &[u8],
        _header_len: usize,
        _index: u64,
        _now: Time,
    ) {
    }
    pub fn handle_rtcp(&mut self, _slot: usize, _packet: &[u8], _now: Time) {}
    pub fn transport_connected(&mut self, _slot: usize, _now: Time) {}
    pub fn remove_transport(&mut self, _slot: usize, _now: Time) {}
    pub fn say_bye(&mut self, _slot: usize, _slots: &mut Slab<Slot>, _now: Time, _out: &mut TransmitQueue) {}
}
