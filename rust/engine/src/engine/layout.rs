//! Which threads an engine has, and where each stands among all: the order of their indices, which ids, rings and carried
//! sockets name.

use std::ops::Range;

use super::EngineError;
use crate::config::EngineConfig;

/// A packet names the threads that want it in 64 bits.
const MOST_THREADS: usize = 64;

/// The threads by kind, in the order of their indices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// Threads that move packets of transports; they are the first ones.
    pub(super) shards: usize,
    audio: usize,
    relay: bool,
    edge: usize,
    streams: bool,
    carries_frames: bool,
}

impl Layout {
    /// As the configuration has it; refused where there would be too many threads, or none.
    pub(super) fn new(config: &EngineConfig) -> Result<Layout, EngineError> {
        let least = usize::from(config.edge.is_none());
        if !(least..=MOST_THREADS).contains(&config.shards) {
            return Err(EngineError::Config(format!("shards must be 1 to {MOST_THREADS}, not {}", config.shards)));
        }
        let layout = Layout {
            shards: config.shards,
            audio: config.audio_threads,
            relay: config.turn.is_some(),
            edge: config.edge.as_ref().map_or(0, |edge| edge.workers),
            streams: listens_for_tcp(config),
            carries_frames: config.edge.is_some() || config.media_over_tls,
        };
        let threads = layout.threads();
        if threads > MOST_THREADS {
            return Err(EngineError::Config(format!("there must be {MOST_THREADS} threads at most, not {threads}")));
        }
        Ok(layout)
    }

    /// How many there are that are connected with each other.
    pub(super) fn threads(&self) -> usize {
        self.own_threads() + usize::from(self.carries_frames)
    }

    /// Those for sound.
    pub(super) fn audio(&self) -> Range<usize> {
        self.shards..self.shards + self.audio
    }

    /// The one that has the TURN server.
    pub(super) fn relay(&self) -> Option<usize> {
        self.relay.then_some(self.audio().end)
    }

    /// An Edge's workers.
    pub(super) fn edge(&self) -> Range<usize> {
        let first = self.audio().end + usize::from(self.relay);
        first..first + self.edge
    }

    /// The one that has all TCP.
    pub(super) fn streams(&self) -> Option<usize> {
        self.streams.then_some(self.edge().end)
    }

    /// The thread of the links, where it carries frames for others: the last one. It is started with the first link.
    pub(super) fn frames_carrier(&self) -> Option<u16> {
        self.carries_frames.then_some(self.own_threads() as u16)
    }

    /// The name of the thread with this index.
    pub(super) fn name(&self, index: usize) -> String {
        let (audio, edge) = (self.audio(), self.edge());
        if index < self.shards {
            format!("shard-{index}")
        } else if audio.contains(&index) {
            format!("audio-{}", index - audio.start)
        } else if edge.contains(&index) {
            format!("edge-{}", index - edge.start)
        } else if self.relay() == Some(index) {
            "relay".to_owned()
        } else {
            "streams".to_owned()
        }
    }

    /// All but that of the links.
    fn own_threads(&self) -> usize {
        self.edge().end + usize::from(self.streams)
    }
}

fn listens_for_tcp(config: &EngineConfig) -> bool {
    let turn = config.turn.as_ref().is_some_and(|turn| !turn.tcp_binds.is_empty());
    let shared = config.shared_tls.as_ref().is_some_and(|shared| !shared.binds.is_empty());
    let sip = config.edge.as_ref().is_some_and(|edge| !edge.sip_tls_binds.is_empty());
    !config.webrtc_tcp_binds.is_empty() || turn || shared || sip
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(layout: Layout) -> Vec<String> {
        (0..layout.own_threads()).map(|index| layout.name(index)).collect()
    }

    #[test]
    fn each_kind_of_thread_stands_behind_the_one_before_it() {
        let layout = Layout { shards: 2, audio: 2, relay: true, edge: 2, streams: true, carries_frames: true };
        let all = ["shard-0", "shard-1", "audio-0", "audio-1", "relay", "edge-0", "edge-1", "streams"];
        assert_eq!(names(layout), all);
        assert_eq!((layout.audio(), layout.relay(), layout.edge()), (2..4, Some(4), 5..7));
        assert_eq!((layout.streams(), layout.frames_carrier(), layout.threads()), (Some(7), Some(8), 9));
    }

    #[test]
    fn what_is_not_there_has_no_place_and_leaves_none_free() {
        let layout = Layout { shards: 0, audio: 0, relay: false, edge: 1, streams: true, carries_frames: false };
        assert_eq!(names(layout), ["edge-0", "streams"]);
        assert_eq!((layout.relay(), layout.streams(), layout.frames_carrier()), (None, Some(1), None));
        let alone = Layout { shards: 1, edge: 0, streams: false, ..layout };
        assert_eq!((names(alone), alone.streams(), alone.threads()), (vec!["shard-0".to_owned()], None, 1));
    }

    #[test]
    fn there_is_a_thread_and_there_are_no_more_than_a_packet_can_name() {
        let with = |shards: usize, audio_threads: usize| {
            let given = std::collections::BTreeMap::from([("shards", shards), ("audio_threads", audio_threads)]);
            let config = crate::config::read_config(&rmp_serde::to_vec_named(&given).unwrap()).unwrap();
            Layout::new(&config).map_err(|error| error.to_string())
        };
        assert_eq!(with(0, 1), Err("shards must be 1 to 64, not 0".to_owned()));
        assert_eq!(with(60, 5), Err("there must be 64 threads at most, not 65".to_owned()));
        assert_eq!(with(60, 4).map(|layout| layout.threads()), Ok(64));
    }
}
