//! Batches in: from ready sockets to the endpoint, a frame that goes to many as a whole if its rest comes in time.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use mediaserver_proto::endpoint::ShardMessage;
use mediaserver_proto::io::{ReceiveBatch, SocketId};
use mediaserver_proto::time::Time;

use super::{WAKE_TOKEN, Worker};
use crate::socket::RECEIVE_SLOTS;
use crate::sockets::FIRST_OWN_SOCKET;

/// Messages that one receive call takes from a socket of one transport.
const OWN_SOCKET_MESSAGES: usize = 8;
/// Datagrams handled before what they caused is sent.
const DATAGRAMS_PER_PART: usize = 32;
/// While a frame that goes to many is not whole, more of it is looked for as long as this for each packet that will leave, a
/// fortieth of what that costs: what comes in time leaves in one run with the rest.
const LOOK_PER_COPY: Duration = Duration::from_nanos(50);
/// A look costs about this much.
const LOOK: Duration = Duration::from_nanos(600);

impl Worker {
    /// Reads every ready socket once; a batch goes to the endpoint when its slots are full, and at the end.
    pub(super) fn receive(&mut self, now: Time) {
        let mut slot = 0;
        for index in 0..self.poller.ready() {
            let token = self.poller.token(index);
            if token == WAKE_TOKEN {
                self.links.wakers[self.shard].reset();
                continue;
            }
            let id = SocketId(u32::try_from(token).unwrap_or(u32::MAX));
            // A link has the visitors of a whole Edge.
            let is_shared = id.0 < FIRST_OWN_SOCKET || self.control.links.has(id);
            let most = if is_shared { RECEIVE_SLOTS } else { OWN_SOCKET_MESSAGES };
            if slot + most.min(OWN_SOCKET_MESSAGES) > RECEIVE_SLOTS {
                self.handle_batch(now);
                slot = 0;
            }
            slot += self.receive_from(id, slot, most, now);
            if is_shared {
                slot = self.receive_rest(id, slot, now);
            }
        }
        self.handle_batch(now);
    }

    /// Reads a socket into the batch from `slot` on; how many slots were used.
    fn receive_from(&mut self, id: SocketId, slot: usize, most: usize, now: Time) -> usize {
        let first = self.batch.len();
        let slots = self.receive_raw(id, slot, most);
        if self.control.links.has(id) {
            self.unpack(first, now);
        }
        slots
    }

    /// Puts what visitors sent in place of the frames in which it came.
    fn unpack(&mut self, first: usize, now: Time) {
        let (links, batch, out) = (&mut self.control.links, &mut self.batch, &mut self.out);
        let result = catch_unwind(AssertUnwindSafe(|| links.unpack(batch, first, now, out)));
        self.recover(now, result.is_err());
    }

    /// Takes frames that came over TLS, which the thread with index `from` has; their buffer goes back there.
    pub(super) fn take_frames(&mut self, from: usize, mut batch: Box<ReceiveBatch>, now: Time) {
        let arrived = batch.arrival.unwrap_or(now);
        let (links, out) = (&mut self.control.links, &mut self.out);
        let result = catch_unwind(AssertUnwindSafe(|| links.unpack(&mut batch, 0, now, out)));
        self.recover(now, result.is_err());
        let all = 0..batch.len();
        self.drive(now, Some(arrived), |endpoint, now, out, _| endpoint.handle_batch(&mut batch, all, now, out));
        self.send(Some(arrived));
        // One that finds no room is made anew there.
        self.links.rings.pass(from, ShardMessage::Returned(batch)).ok();
    }

    fn receive_raw(&mut self, id: SocketId, slot: usize, most: usize) -> usize {
        let Some(socket) = self.control.sockets.get_mut(id) else { return 0 };
        match self.receiver.receive(socket, &mut self.batch, slot, most) {
            Ok(count) => {
                self.metrics.received(&count);
                count.messages
            }
            Err(_) => {
                self.metrics.receive_errors += 1;
                0
            }
        }
    }

    /// Looks for the rest of a frame that goes to many; the first slot that is free then.
    fn receive_rest(&mut self, id: SocketId, mut slot: usize, now: Time) -> usize {
        self.take_batch(now);
        loop {
            let patience = LOOK_PER_COPY * u32::try_from(self.unfinished).unwrap_or(u32::MAX);
            if patience < LOOK || slot >= RECEIVE_SLOTS || self.now().since(now) > patience {
                return slot;
            }
            slot += self.receive_from(id, slot, RECEIVE_SLOTS, now);
            self.take_batch(now);
        }
    }

    /// Gives the endpoint what it has not taken of the batch, in parts.
    fn take_batch(&mut self, now: Time) {
        while self.taken < self.batch.len() {
            let part = self.taken..self.batch.len().min(self.taken + DATAGRAMS_PER_PART);
            let is_full = part.len() == DATAGRAMS_PER_PART;
            self.taken = part.end;
            let mut unfinished = 0;
            self.drive(now, Some(now), |endpoint, now, out, batch| {
                unfinished = endpoint.take_batch(batch, part, now, out);
            });
            self.unfinished = unfinished;
            if is_full {
                self.finish_batch(now);
            }
        }
    }

    fn finish_batch(&mut self, now: Time) {
        self.unfinished = 0;
        self.drive(now, Some(now), |endpoint, now, out, batch| endpoint.finish_batch(batch, now, out));
        self.send(Some(now));
    }

    fn handle_batch(&mut self, now: Time) {
        if self.batch.is_empty() {
            return;
        }
        self.metrics.batches += 1;
        self.metrics.bytes_received += self.batch.entries().iter().map(|entry| entry.len as u64).sum::<u64>();
        self.take_batch(now);
        self.finish_batch(now);
        self.batch.recycle();
        self.taken = 0;
    }
}
