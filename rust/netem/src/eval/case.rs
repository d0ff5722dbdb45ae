//! What a run consists of: a line in either direction, media flows and TCP flows.

use crate::link::LinkConfig;

/// Which of the two directions of the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The one under test.
    Forward,
    /// The one in which its feedback travels.
    Backward,
}

/// What a media flow sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// Exactly what the estimate allows, in 30 frames a second.
    Elastic,
    /// One of three simulcast layers, with retransmission of what was lost.
    Layers,
}

/// A media flow.
#[derive(Clone, Debug)]
pub struct MediaSpec {
    /// Where its packets go.
    pub direction: Direction,
    /// Start and end in seconds.
    pub active_s: (f64, f64),
    /// Nothing is sent between these, in seconds.
    pub pause_s: Option<(f64, f64)>,
    /// One-way delay of its own beside the line's, in milliseconds.
    pub extra_ms: u64,
    /// What it sends.
    pub source: SourceKind,
}

/// What a TCP flow transfers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TcpLoad {
    /// Without end.
    Long,
    /// Files of 100 kB to 1 MB with pauses of 10 s on average between them (RFC 8867 §4.4); whether it begins with
    /// a file or with a pause.
    Short {
        /// Begins with a file.
        on: bool,
    },
}

/// A TCP flow, forwards.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TcpSpec {
    /// Start and end in seconds.
    pub active_s: (f64, f64),
    /// What it transfers.
    pub load: TcpLoad,
}

/// A run.
#[derive(Clone, Debug)]
pub struct Case {
    /// Short name for figures, such as `5_1`.
    pub name: &'static str,
    /// What it is, with queue length and round trip.
    pub title: String,
    /// Length in seconds.
    pub seconds: f64,
    /// The line forwards and backwards.
    pub lines: [LinkConfig; 2],
    /// Media flows.
    pub media: Vec<MediaSpec>,
    /// TCP flows.
    pub tcp: Vec<TcpSpec>,
    /// Seed of sources and TCP flows; the lines have their own.
    pub seed: u64,
    /// From when on the rates of the flows are compared, in seconds.
    pub fair_from_s: f64,
}

impl Case {
    /// The same case with other random numbers.
    pub fn seeded(mut self, seed: u64) -> Case {
        self.seed = seed;
        for (index, line) in self.lines.iter_mut().enumerate() {
            line.seed = 2 * seed + index as u64;
        }
        self
    }
}
