//! A bound on the bytes of control messages that wait in one place.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::limits::{MESSAGE_BYTES, MESSAGE_COST, MESSAGES_WAITING_BYTES};

/// Room for messages that wait; each gives its part back when it is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Budget(Arc<Semaphore>);

impl Default for Budget {
    fn default() -> Budget {
        Budget(Arc::new(Semaphore::new(MESSAGES_WAITING_BYTES)))
    }
}

/// A message and the room that it takes.
#[derive(Debug)]
pub(crate) struct Charged {
    pub(crate) bytes: bytes::Bytes,
    pub(crate) _room: OwnedSemaphorePermit,
}

fn cost(length: usize) -> u32 {
    u32::try_from(length.clamp(MESSAGE_COST, MESSAGE_BYTES)).unwrap_or(u32::MAX)
}

impl Budget {
    /// The message with its room; `None` when there is none now.
    pub(crate) fn try_charge(&self, bytes: bytes::Bytes) -> Option<Charged> {
        let room = self.0.clone().try_acquire_many_owned(cost(bytes.len())).ok()?;
        Some(Charged { bytes, _room: room })
    }

    /// The message with its room, when there is some. The semaphore is never closed.
    pub(crate) async fn charge(&self, bytes: bytes::Bytes) -> Option<Charged> {
        let room = self.0.clone().acquire_many_owned(cost(bytes.len())).await.ok()?;
        Some(Charged { bytes, _room: room })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn small_messages_are_bounded_by_number_and_large_ones_by_bytes() {
        for (length, most) in [(0, MESSAGES_WAITING_BYTES / MESSAGE_COST), (MESSAGE_BYTES, 16)] {
            let budget = Budget::default();
            let message = Bytes::from(vec![0; length]);
            let mut kept: Vec<Charged> = std::iter::from_fn(|| budget.try_charge(message.clone())).collect();
            assert_eq!(kept.len(), most);
            kept.pop();
            assert!(budget.try_charge(message).is_some());
        }
    }
}
