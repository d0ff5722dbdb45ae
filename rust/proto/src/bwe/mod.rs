//! Bandwidth estimation: feedback to those who send to us, and what may be sent to those who receive from us.
//!
//! The send side follows draft-ietf-rmcat-gcc-02 with transport-wide feedback. What differs is said where it differs:
//! the slope by regression ([`trendline`]), a loss controller that knows a path's own loss ([`loss`]), growth that
//! speeds up ([`rate_control`]) and probes at the price of the allocator's next step ([`probe`]). NADA (RFC 8698),
//! which steers by the delay itself, was the alternative: it needs the smallest delay of the path, which a flow that
//! joins a full queue never sees.

pub mod acked_rate;
pub mod arrival_clock;
pub mod arrival_group;
pub mod competition;
pub mod estimator;
#[cfg(test)]
mod estimator_tests;
pub mod fault;
pub mod feedback;
pub mod history;
pub mod loss;
pub mod probe;
pub mod rate_control;
pub mod reports;
pub mod trendline;

pub use estimator::{Bounds, Estimator, Figures};
pub use fault::{Fault, Faults};
pub use feedback::FeedbackGenerator;
pub use probe::{ClusterId, Demand, Probe};
