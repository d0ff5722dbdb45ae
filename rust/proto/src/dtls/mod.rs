//! DTLS 1.2 for SRTP keys (RFC 5764): identity, fingerprints, handshake.

pub mod fingerprint;
mod handshake;
#[cfg(test)]
mod handshake_tests;
mod identity;

pub use fingerprint::{Fingerprint, HashAlgorithm};
pub use handshake::{Dtls, DtlsEnd, DtlsEvent};
pub use identity::{Identity, IdentityError};

/// Our side of the DTLS handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// We send the ClientHello (SDP `active`).
    Client,
    /// We wait for it (SDP `passive`), and so choose the SRTP profile.
    Server,
}
