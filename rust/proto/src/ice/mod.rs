//! ICE-lite (RFC 8445) with return routability of our own: structured ufrags, credentials, tuples, consent.

pub mod credentials;
pub mod ufrag;

pub use credentials::{LocalCredentials, RemoteCredentials};
pub use ufrag::{LocalUfrag, UfragError, UfragKey};
