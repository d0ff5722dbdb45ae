//! Bandwidth estimation: feedback to those who send to us.

pub mod feedback;

pub use feedback::FeedbackGenerator;
