//! Data channels: SCTP over DTLS (RFC 8831, RFC 8261), opened in band (RFC 8832) or by agreement.
//!
//! The association itself is the dcsctp crate; [`association`] gives it our time and our entropy, [`screen`] keeps from
//! it what would cost memory, and [`channels`] makes channels of its streams.

pub mod association;
pub mod channels;
pub mod config;
pub mod dcep;
pub mod ppid;
pub mod screen;
#[cfg(test)]
mod tests;

pub use channels::{DataChannels, DataEvent, EndReason, OpenError, SendRefusal};
pub use config::{DataConfig, DataLimits};
pub use dcep::{Channel, Dcep, Reliability};
pub use ppid::{MessageKind, Ppid};
