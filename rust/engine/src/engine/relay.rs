//! The engine's relay: what it is told of the rest, and its thread.

use super::{Engine, EngineError};
use crate::relay::{Inward, RelaySetup, RelayWorker};
use crate::scheduling::Scheduling;
use crate::socket::{Marks, Sender, UdpSocket};

impl Engine {
    /// The TURN server with its sockets, where there is one.
    pub(super) fn relay_setup<'a>(
        &self,
        media: impl Iterator<Item = &'a [UdpSocket]>,
    ) -> Result<Option<RelaySetup>, EngineError> {
        let (Some(turn), Some(index)) = (&self.config.turn, self.layout.relay()) else { return Ok(None) };
        let mut inner = Vec::new();
        for sockets in media {
            for address in self.announced(sockets, &[])?.shared {
                // Shards may share a port.
                if !inner.contains(&address) {
                    inner.push(address);
                }
            }
        }
        // Where an Edge has a public socket, its threads find out what is TURN.
        let public = self.config.edge.as_ref().map_or(&[][..], |edge| &edge.public_binds);
        let own: Vec<_> = turn.binds.iter().filter(|text| !public.contains(text)).cloned().collect();
        let buffer = self.config.receive_buffer_bytes;
        RelaySetup::new(turn, &own, index as u16, &inner, self.unix_epoch(), buffer).map(Some)
    }

    pub(super) fn start_relay(&mut self, setup: RelaySetup) -> Result<(), EngineError> {
        let (seat, links) = self.seat();
        let (index, epoch) = (seat.index, self.epoch);
        let inward = Inward::new(self.admission());
        let sender = Sender::new(self.config.gso, Marks::default());
        let poller = RelayWorker::poller(index, &setup, &links).map_err(seat.failed())?;
        // It has no CPU of its own: with as many shards as CPUs there is none left.
        let scheduling = Scheduling::new(None, self.config.real_time);
        self.spawn(seat, move || {
            RelayWorker::new(index, epoch, scheduling, setup, inward, sender, poller, links).run();
        })
    }
}
