//! SRTP and SRTCP (RFC 3711, RFC 7714): suites, keys, replay windows, protection of one direction each.

pub mod keys;

pub use keys::{MasterKey, SrtpKeys, Suite};
