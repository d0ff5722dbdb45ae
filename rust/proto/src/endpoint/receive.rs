//! A batch of datagrams: whose each is, and what follows from it once all are looked at.

use std::ops::Range;

use super::event::LinkedPath;
use super::message::{Shard, ShardMessage};
use super::routes::Owner;
use super::slot::AnyTransport;
use super::{Endpoint, EndpointEvent};
use crate::demux::{Kind, classify};
use crate::ice::{UfragError, minute_of};
use crate::io::{Path, ReceiveBatch, TransmitQueue};
use crate::sfu::TransportId;
use crate::stun::local_ufrag;
use crate::time::Time;
use crate::transport::{IceTransport, Received, TransportEvent};

impl Endpoint {
    /// Takes the datagrams `entries` of a batch from this shard's own sockets. What they cause is in `out` when it
    /// returns, so the caller bounds the queue by giving a large batch in parts.
    pub fn handle_batch(
        &mut self,
        batch: &mut ReceiveBatch,
        entries: Range<usize>,
        now: Time,
        out: &mut TransmitQueue,
    ) {
        self.handle_batch_from(None, batch, entries, now, out);
    }

    /// Takes a batch; `via` is the shard at whose socket it came in, when that is another one.
    pub(super) fn handle_batch_from(
        &mut self,
        via: Option<Shard>,
        batch: &mut ReceiveBatch,
        entries: Range<usize>,
        now: Time,
        out: &mut TransmitQueue,
    ) {
        self.take_from(via, batch, entries, now, out);
        self.finish_from(via, batch, now, out);
    }

    /// Takes datagrams as [`Endpoint::handle_batch`] does, and keeps their media back until [`Endpoint::finish_batch`], which
    /// is to be called with the same batch, whatever was added to it. Returns how many packets will leave for a frame of which
    /// more is to come: when those are many, it is worth a look whether it has come.
    pub fn take_batch(
        &mut self,
        batch: &mut ReceiveBatch,
        entries: Range<usize>,
        now: Time,
        out: &mut TransmitQueue,
    ) -> usize {
        self.take_from(None, batch, entries, now, out);
        self.media.unfinished_copies()
    }

    /// Forwards what [`Endpoint::take_batch`] kept back.
    pub fn finish_batch(&mut self, batch: &ReceiveBatch, now: Time, out: &mut TransmitQueue) {
        self.finish_from(None, batch, now, out);
    }

    fn take_from(
        &mut self,
        via: Option<Shard>,
        batch: &mut ReceiveBatch,
        entries: Range<usize>,
        now: Time,
        out: &mut TransmitQueue,
    ) {
        for entry in entries.start..entries.end.min(batch.len()) {
            let received = batch.entries()[entry];
            match self.owner(received.path, batch.datagram(&received), now) {
                Some(Owner::Here(index)) => {
                    self.current = Some(index);
                    self.handle_datagram(index, entry, batch, now, out);
                }
                // What was handed over to us is never handed on: it would go round for ever.
                Some(Owner::There(shard)) if via.is_none() => {
                    self.handed_over += 1;
                    let datagram = batch.datagram(&received);
                    if let Some(full) = self.routes.collect(shard, received.path, datagram, now) {
                        self.messages.push_back((shard, full));
                    }
                }
                Some(Owner::There(_)) => self.drops.unknown_transport += 1,
                None => {}
            }
        }
        self.current = None;
    }

    fn finish_from(&mut self, via: Option<Shard>, batch: &ReceiveBatch, now: Time, out: &mut TransmitQueue) {
        self.media.finish_batch(batch, &mut self.slots, now, out);
        self.messages.extend(self.routes.collected());
        self.via = via;
        self.settle(now, out);
        self.via = None;
    }

    /// Whose a datagram is: by its local ufrag for STUN requests, otherwise by its tuple. `None`: dropped and counted.
    fn owner(&mut self, path: Path, datagram: &[u8], now: Time) -> Option<Owner> {
        if self.routes.has_socket(path.socket) {
            return self.routes.owner(path);
        }
        if classify(datagram) == Kind::Stun
            && let Some(ufrag) = local_ufrag(datagram)
        {
            return self.owner_of_ufrag(path, ufrag, now);
        }
        let owner = self.routes.owner(path);
        if owner.is_none() {
            self.drops.unbound_tuple += 1;
        }
        owner
    }

    fn owner_of_ufrag(&mut self, path: Path, ufrag: &[u8], now: Time) -> Option<Owner> {
        let minute = self.minute(now);
        let transport = match self.ufrag_keys.verify(ufrag, minute) {
            Ok(fields) => fields.transport_id(),
            Err(UfragError::Forged) => {
                self.drops.forged_ufrag += 1;
                return None;
            }
            Err(_) => {
                self.drops.foreign_ufrag += 1;
                return None;
            }
        };
        let shard = (transport >> 48) as Shard;
        if shard != self.config.shard {
            if path.socket.link().is_some() {
                // An Edge gives each shard its own: another one has no way back to the visitor.
                self.drops.unknown_transport += 1;
                return None;
            }
            return (shard < self.config.shards).then_some(Owner::There(shard));
        }
        let owner = self.ids.get(&transport).map(|&slot| Owner::Here(slot));
        if owner.is_none() {
            self.drops.unknown_transport += 1;
        }
        owner
    }

    fn handle_datagram(
        &mut self,
        index: usize,
        entry: usize,
        batch: &mut ReceiveBatch,
        now: Time,
        out: &mut TransmitQueue,
    ) {
        let Some(slot) = self.slots.get_mut(index) else { return };
        let received = batch.entries()[entry];
        let datagram = batch.datagram_mut(&received);
        match slot.transport.handle_datagram(received.path, datagram, now, out) {
            Received::Rtp { len, .. } => {
                slot.traffic.packets_received += 1;
                slot.traffic.bytes_received += received.len as u64;
                match &mut slot.text {
                    Some(text) => text.handle_rtp(&datagram[..len], now),
                    None => self.media.handle_rtp(slot.id, entry, &datagram[..len], now),
                }
            }
            Received::Rtcp { len } => {
                slot.traffic.packets_received += 1;
                slot.traffic.bytes_received += received.len as u64;
                match &mut slot.text {
                    Some(text) => text.handle_rtcp(&datagram[..len], now),
                    None => {
                        let id = slot.id;
                        self.media.handle_rtcp(id, &datagram[..len], &mut self.slots, now, out);
                    }
                }
            }
            Received::Consumed | Received::Dropped(_) => return self.touch(index),
        }
        if received.path.socket.is_edge_port() {
            self.prove_at_edge(index, received.path);
        }
        self.touch(index);
    }

    /// Media of a phone or trunk was taken that came in at an Edge: whoever sends it is no stranger there.
    fn prove_at_edge(&mut self, index: usize, path: Path) {
        if let Some(slot) = self.slots.get_mut(index)
            && let Some((rtp, _)) = slot.sockets
        {
            let taken = &mut slot.taken_at_edge[usize::from(path.socket != rtp)];
            if taken.replace(path) != Some(path) {
                self.tell_link(LinkedPath::Proven(path));
            }
        }
    }

    /// After a batch, timeout or command: takes the events of every transport that was touched and arms its timer.
    pub(super) fn settle(&mut self, now: Time, out: &mut TransmitQueue) {
        while let Some(index) = self.dirty.pop() {
            let Some(slot) = self.slots.get_mut(index) else { continue };
            slot.dirty = false;
            self.transport_drops.merge(&slot.transport.drops_mut().take());
            if let Some(text) = &mut slot.text {
                self.transport_drops.merge(&text.drops_mut().take());
            }
            while let Some(event) = self.slots.get_mut(index).and_then(|slot| slot.transport.poll_event()) {
                self.handle_transport_event(index, event, now);
            }
            self.take_data_events(index, now, out);
            let Some(slot) = self.slots.get_mut(index) else { continue };
            if slot.closed.is_some() {
                self.remove_transport(index, now, out);
                continue;
            }
            let round_trip = slot.transport.round_trip();
            if round_trip != slot.told_round_trip {
                slot.told_round_trip = round_trip;
                if let Some(round_trip) = round_trip {
                    // The router knows every transport that has a slot.
                    self.media.router.set_round_trip(TransportId(slot.id), round_trip).ok();
                }
            }
            self.timers.arm(index, slot.poll_timeout(), &mut slot.armed);
        }
        self.take_media_outputs();
    }

    fn handle_transport_event(&mut self, index: usize, event: TransportEvent, now: Time) {
        let Some(slot) = self.slots.get_mut(index) else { return };
        let id = slot.id;
        match event {
            TransportEvent::PathBound(path) => self.bind_path(index, path),
            TransportEvent::PathProven(path) => self.tell_link(LinkedPath::Proven(path)),
            TransportEvent::PathUnbound(path) => self.unbind_path(index, path),
            TransportEvent::Connected { path, suite } => {
                let first = !std::mem::replace(&mut slot.connected, true);
                if first && slot.sockets.is_none() {
                    self.half_open = self.half_open.saturating_sub(1);
                }
                // A phone's association may be made anew, a browser's is not.
                if slot.transport.waits_for_keys() {
                    // What was forwarded before had no keys to leave with, the keyframe among it.
                    self.media.router.restart_down_tracks(TransportId(id), now);
                }
                self.events.push_back(EndpointEvent::TransportConnected { id, remote: path.remote, suite });
            }
            TransportEvent::PathChanged(path) => {
                self.events.push_back(EndpointEvent::TransportPathChanged { id, remote: path.remote });
            }
            TransportEvent::MediaTimeout { silent_ms } => {
                self.events.push_back(EndpointEvent::MediaTimeout { id, silent_ms });
            }
            TransportEvent::MediaResumed => self.events.push_back(EndpointEvent::MediaResumed { id }),
            TransportEvent::Closed(reason) => {
                slot.closed.get_or_insert(reason.name());
            }
        }
    }

    fn bind_path(&mut self, index: usize, path: Path) {
        if let Some(Owner::Here(other)) = self.routes.bound(path)
            && other != index
            && self.slots.get(other).is_some_and(|slot| slot.connected)
        {
            // A check with a spoofed source must not take a tuple from a transport that has proven it.
            self.drops.path_taken += 1;
            return;
        }
        self.routes.bind(path, index);
        // The kernel delivers one tuple always to one socket: only that shard needs to know.
        if let Some(via) = self.via {
            self.messages.push_back((via, ShardMessage::PathBound(path)));
        }
    }

    fn unbind_path(&mut self, index: usize, path: Path) {
        self.routes.unbind(path, index);
        self.tell_unbound(path);
    }

    /// A carrier has lost a tuple: its transport goes on with another one, if it has one.
    pub(super) fn close_path(&mut self, carrier: Shard, path: Path, now: Time, out: &mut TransmitQueue<'_>) {
        if path.socket.carrier() == Some(carrier) {
            self.lose_path(path, now, out);
        }
    }

    /// An Edge has ended a path. The transport, if its media went there and has no other way now.
    pub fn close_linked_path(&mut self, path: Path, now: Time, out: &mut TransmitQueue<'_>) -> Option<u64> {
        path.socket.link()?;
        let Owner::Here(index) = self.routes.bound(path)? else { return None };
        let selected = |endpoint: &Endpoint| match &endpoint.slots.get(index)?.transport {
            AnyTransport::Ice(transport) => transport.selected_path(),
            _ => None,
        };
        let was_used = selected(self) == Some(path);
        self.lose_path(path, now, out);
        let id = self.slots.get(index).filter(|slot| slot.closed.is_none())?.id;
        (was_used && selected(self).is_none()).then_some(id)
    }

    fn lose_path(&mut self, path: Path, now: Time, out: &mut TransmitQueue<'_>) {
        if let Some(Owner::Here(index)) = self.routes.bound(path)
            && let Some(slot) = self.slots.get_mut(index)
        {
            slot.transport.close_path(path);
            self.touch(index);
            self.settle(now, out);
        }
    }

    /// An Edge is lost, or shall be left: media goes over its link no longer where there is another proven way. The
    /// transports whose media went there.
    pub fn leave_link(&mut self, link: u32, now: Time, out: &mut TransmitQueue) -> Vec<u64> {
        self.each_of_link(now, out, |transport| transport.leave_link(link))
    }

    /// Forgets the paths over an Edge's link by which no media goes. The transports whose media still does.
    pub fn forget_link(&mut self, link: u32, now: Time, out: &mut TransmitQueue) -> Vec<u64> {
        self.each_of_link(now, out, |transport| transport.forget_link(link))
    }

    fn each_of_link(
        &mut self,
        now: Time,
        out: &mut TransmitQueue,
        mut each: impl FnMut(&mut IceTransport) -> bool,
    ) -> Vec<u64> {
        let mut found = Vec::new();
        let mut changed = Vec::new();
        for (index, slot) in &mut self.slots {
            if let AnyTransport::Ice(transport) = &mut slot.transport {
                if each(transport) {
                    found.push(slot.id);
                }
                if transport.has_events() {
                    changed.push(index);
                }
            }
        }
        for index in changed {
            self.touch(index);
        }
        self.settle(now, out);
        found
    }

    /// Tells every other shard that a tuple is nobody's now; or the thread that carries it, which alone can know of it.
    pub(super) fn tell_unbound(&mut self, path: Path) {
        if path.socket.link().is_some() {
            if self.routes.bound(path).is_none() {
                self.tell_link(LinkedPath::Unbound(path));
            }
            return;
        }
        if let Some(carrier) = path.socket.carrier() {
            self.messages.push_back((carrier, ShardMessage::PathUnbound(path)));
            return;
        }
        for shard in (0..self.config.shards).filter(|&shard| shard != self.config.shard) {
            self.messages.push_back((shard, ShardMessage::PathUnbound(path)));
        }
    }

    fn tell_link(&mut self, news: LinkedPath) {
        let (LinkedPath::Proven(path) | LinkedPath::Unbound(path)) = news;
        if path.socket.link().is_some() || path.socket.is_edge_port() {
            self.linked.push_back(news);
        }
    }

    /// Minutes since 2020: what a ufrag's 24 bits of expiry count.
    pub(super) fn minute(&self, now: Time) -> u32 {
        minute_of(self.config.unix_epoch + now.since(Time::ZERO))
    }
}
