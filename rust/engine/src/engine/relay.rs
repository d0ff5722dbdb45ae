//! The engine's relay: what it is told of the rest, and its thread.

use rtrb::RingBuffer;

use super::{Engine, EngineError, INBOX, RingEnds, ShardHandle, io_error};
use crate::metrics::Published;
use crate::relay::{Inward, RelaySetup, RelayWorker};
use crate::scheduling::Scheduling;
use crate::socket::{Marks, Sender, UdpSocket};

impl Engine {
    /// The TURN server with its sockets, where there is one.
    pub(super) fn relay_setup<'a>(
        &self,
        media: impl Iterator<Item = &'a [UdpSocket]>,
    ) -> Result<Option<RelaySetup>, EngineError> {
        let Some(turn) = &self.config.turn else { return Ok(None) };
        let mut inner = Vec::new();
        for sockets in media {
            for address in self.announced(sockets, &[])?.shared {
                // Shards may share a port.
                if !inner.contains(&address) {
                    inner.push(address);
                }
            }
        }
        let member = u16::try_from(self.relay_index()).unwrap_or(u16::MAX);
        // Where an Edge has a public socket, its threads find out what is TURN.
        let public = self.config.edge.as_ref().map_or(&[][..], |edge| &edge.public_binds);
        let own: Vec<_> = turn.binds.iter().filter(|text| !public.contains(text)).cloned().collect();
        RelaySetup::new(turn, &own, member, &inner, self.unix_epoch(), self.config.receive_buffer_bytes).map(Some)
    }

    /// The relay's index among all threads.
    pub(super) fn relay_index(&self) -> usize {
        self.config.shards + self.config.audio_threads
    }

    pub(super) fn start_relay(&mut self, ends: RingEnds, setup: RelaySetup) -> Result<(), EngineError> {
        let index = self.relay_index();
        let (inbox, consumer) = RingBuffer::new(INBOX);
        let published = Published::default();
        let links = self.links(consumer, ends, published.clone());
        let inward = Inward::new(self.admission());
        let sender = Sender::new(self.config.gso, Marks::default());
        let poller = RelayWorker::poller(index, &setup, &links).map_err(io_error("relay thread"))?;
        let epoch = self.epoch;
        // It has no CPU of its own: with as many shards as CPUs there is none left.
        let scheduling = Scheduling::new(None, self.config.real_time);
        let run = move || RelayWorker::new(index, epoch, scheduling, setup, inward, sender, poller, links).run();
        let thread =
            std::thread::Builder::new().name("relay".to_owned()).spawn(run).map_err(io_error("relay thread"))?;
        self.shards.push(ShardHandle { inbox, published, thread: Some(thread) });
        Ok(())
    }
}
