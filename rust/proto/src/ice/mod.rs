//! ICE-lite (RFC 8445) with return routability of our own: structured ufrags, credentials, tuples, consent.
//!
//! Beyond RFC 8445 lite: a tuple only gets media after it answered a Binding request of ours, so that a check with a
//! spoofed source cannot aim a stream at a victim. Against RFC 8445 §8: media does not wait for USE-CANDIDATE.

mod agent;
#[cfg(test)]
mod agent_tests;
pub mod credentials;
mod tuple;
pub mod ufrag;
mod ufrag_keys;

pub use agent::{Agent, IceEvent};
pub use credentials::{LocalCredentials, RemoteCredentials};
pub use ufrag::{LocalUfrag, UFRAG_LIFE_MINUTES, UfragError, UfragKey, minute_of};
pub use ufrag_keys::UfragKeys;
