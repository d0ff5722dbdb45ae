//! The test cases of RFC 8867 on a virtual wire, and what is measured on them.

pub mod allocation;
pub mod case;
pub mod metrics;
pub mod receiver;
pub mod rfc8867;
pub mod score;
pub mod sender;
pub mod source;
pub mod wire;

pub use case::{Case, Direction, MediaSpec, TcpLoad, TcpSpec};
pub use metrics::FlowMetrics;
pub use score::Score;
pub use wire::{Outcome, run};
