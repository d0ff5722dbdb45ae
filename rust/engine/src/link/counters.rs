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
    Connected "link_connections",
    StreamsOpened "link_streams_opened",
    StreamsReset "link_streams_reset",
    MessagesSent "link_messages_sent",
    MessagesReceived "link_messages_received",
    FramesSent "link_media_frames_sent",
    FramesReceived "link_media_frames_received",
    HandshakesBound "drop.link_handshakes_bound",
    HandshakeTime "drop.link_handshake_time",
    HandshakeFailed "drop.link_handshake_failed",
    NoAlpn "drop.link_no_protocol_name",
    AcceptFailed "drop.link_accept_failed",
    StreamsBound "drop.link_streams_bound",
    StreamInvalid "drop.link_stream_invalid",
    StreamNoSocket "drop.link_stream_no_socket",
    StreamStalled "drop.link_stream_stalled",
    EventsLost "drop.link_events_lost",
    FrameLate "drop.link_media_frame_late",
    FramesBound "drop.link_media_frames_bound",
    FrameDown "drop.link_media_frame_down",
    FramesHandover "drop.link_media_frames_handover",
    FrameUnrouted "drop.link_media_frame_unrouted",
    FrameSize "drop.link_media_frame_size",
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
    #[cfg(test)]
    pub(crate) fn get(&self, what: Count) -> u64 {
        self.0[what as usize].load(Ordering::Relaxed)
    }

    /// All of them under their names.
    pub fn read(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        Count::NAMES.iter().zip(self.0.iter()).map(|(name, value)| (*name, value.load(Ordering::Relaxed)))
    }
}
