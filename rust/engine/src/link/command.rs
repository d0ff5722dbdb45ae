//! Commands to links, as they cross the boundary.
//!
//! The same nouns as in `mediaserver/engine/commands.py`, which says what they mean.

use std::fmt;

use serde::Deserialize;
use serde_bytes::ByteBuf;

/// Certificate chain, key and issuers, PEM; the key is never printed.
#[derive(Clone, Deserialize)]
#[allow(missing_docs)]
pub struct LinkCredentials {
    pub certificate_chain_pem: ByteBuf,
    pub private_key_pem: ByteBuf,
    pub issuers_pem: ByteBuf,
}

impl fmt::Debug for LinkCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkCredentials").finish_non_exhaustive()
    }
}

/// Keep a link to an Edge.
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs)]
pub struct DialLink {
    pub address: crate::command::Address,
    pub server_name: String,
    pub fingerprint: ByteBuf,
    pub credentials: LinkCredentials,
    pub media: bool,
}

/// Carry a visitor's connection to the other end of a link; its descriptor is the engine's from now on.
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs)]
pub struct CarryStream {
    pub fd: i32,
    pub source: crate::command::Address,
    pub local: crate::command::Address,
    pub server_name: String,
    pub service: super::event::Service,
    pub number: u64,
}

/// A Core that a listener admits.
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs)]
pub struct LinkPin {
    pub link: u64,
    pub name: String,
    pub fingerprint: ByteBuf,
}

/// Listen for Cores.
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs)]
pub struct ListenLink {
    pub bind: crate::command::Address,
    pub credentials: LinkCredentials,
    pub cores: Vec<LinkPin>,
}
