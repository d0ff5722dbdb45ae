//! Delay, loss, queue and rate of a line as sans-IO objects on virtual time, and what is measured on such lines.
#![forbid(unsafe_code)]

pub mod eval;
pub mod link;
pub mod loss;
pub mod random;
pub mod schedule;
pub mod tcp;

pub use link::{Delivery, Link, LinkConfig, QueueLimit};
pub use loss::Loss;
pub use random::Random;
pub use schedule::Schedule;
