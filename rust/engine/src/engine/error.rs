//! Why the engine does not do what it was asked for.

use std::io;

/// Why the engine cannot be built, started, fed or stopped.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A value of the configuration cannot be used.
    #[error("{0}")]
    Config(String),
    /// A batch of commands cannot be read.
    #[error("the command batch cannot be read: {0}")]
    Batch(#[from] rmp_serde::decode::Error),
    /// Events or counters cannot be written.
    #[error("the answer cannot be written: {0}")]
    Answer(#[from] rmp_serde::encode::Error),
    /// A socket, an eventfd or a thread cannot be had.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// Called in the wrong order.
    #[error("{0}")]
    State(&'static str),
    /// A thread did not end in time.
    #[error("the thread {0} did not stop in time")]
    Stuck(String),
    /// The thread of the links did not end in time.
    #[error("the links did not stop in time")]
    LinksStuck,
}

/// Makes the error of an attempt at `what`.
pub(crate) fn io_error(what: impl Into<String>) -> impl FnOnce(io::Error) -> EngineError {
    let what = what.into();
    |source| EngineError::Io { what, source }
}
