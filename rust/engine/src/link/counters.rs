//! What a link counts: refusals by reason, connections, streams and frames.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counted {
    ($($variant:ident $name:literal,)*) => {
        /// What is counted, under which name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs)]
        pub enum Count { $($variant,)* }

        impl Count {
            const NAMES: &'static [&'static str] = &[$($name,)*];
        }
    };
}

counted! {
    Connected "connections",
    StreamsOpened "streams_opened",
    StreamsReset "streams_reset",
    MessagesSent "messages_sent",
    MessagesReceived "messages_received",
    FramesSent "media_frames_sent",
    FramesReceived "media_frames_received",
    HandshakesBound "drop.handshakes_bound",
    HandshakeTime "drop.handshake_time",
    HandshakeFailed "drop.handshake_failed",
    NoAlpn "drop.no_protocol_name",
    AcceptFailed "drop.accept_failed",
    StreamsBound "drop.streams_bound",
    StreamInvalid "drop.stream_invalid",
    StreamNoSocket "drop.stream_no_socket",
    StreamStalled "drop.stream_stalled",
    EventsLost "drop.events_lost",
    FrameLate "drop.media_frame_late",
    FramesBound "drop.media_frames_bound",
    FrameSize "drop.media_frame_size",
}

/// Counters of all links of a process.
#[derive(Clone, Debug)]
pub struct LinkCounters(Arc<[AtomicU64]>);

impl Default for LinkCounters {
    fn default() -> LinkCounters {
        LinkCounters(Count::NAMES.iter().map(|_| AtomicU64::new(0)).collect())
    }
}

impl LinkCounters {
    pub(crate) fn add(&self, what: Count, count: u64) {
        self.0[what as usize].fetch_add(count, Ordering::Relaxed);
    }

    /// How often it happened.
    pub fn get(&self, what: Count) -> u64 {
        self.0[what as usize].load(Ordering::Relaxed)
    }

    /// All of them under their names.
    pub fn read(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        Count::NAMES.iter().zip(self.0.iter()).map(|(name, value)| (*name, value.load(Ordering::Relaxed)))
    }
}
