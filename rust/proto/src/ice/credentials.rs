//! ICE credentials of both sides, with their MESSAGE-INTEGRITY keys made once.

use aws_lc_rs::hmac;

pub(crate) use crate::base64::{decode as decode_ice_chars, encode as encode_ice_chars};

/// Random bytes of a password: 144 bits (RFC 8445 §5.3 asks for 128).
pub const PASSWORD_BYTES: usize = 18;

/// Our ufrag and password of one generation.
#[derive(Clone)]
pub struct LocalCredentials {
    ufrag: String,
    password: String,
    key: hmac::Key,
}

impl LocalCredentials {
    /// Credentials with a password made of the given random bytes.
    pub fn new(ufrag: String, random: &[u8; PASSWORD_BYTES]) -> LocalCredentials {
        LocalCredentials::from_parts(ufrag, encode_ice_chars(random))
    }

    /// Credentials as they were exported.
    pub fn from_parts(ufrag: String, password: String) -> LocalCredentials {
        let key = integrity_key(&password);
        LocalCredentials { ufrag, password, key }
    }

    /// The ufrag for SDP.
    pub fn ufrag(&self) -> &str {
        &self.ufrag
    }

    /// The password for SDP.
    pub fn password(&self) -> &str {
        &self.password
    }

    pub(crate) fn key(&self) -> &hmac::Key {
        &self.key
    }
}

/// The peer's ufrag and password as its SDP gives them.
#[derive(Clone)]
pub struct RemoteCredentials {
    ufrag: String,
    password: String,
    key: hmac::Key,
}

impl RemoteCredentials {
    /// Credentials from SDP; their lengths (RFC 8839 §5.4) are the SDP parser's business.
    pub fn new(ufrag: impl Into<String>, password: impl Into<String>) -> RemoteCredentials {
        let (ufrag, password) = (ufrag.into(), password.into());
        let key = integrity_key(&password);
        RemoteCredentials { ufrag, password, key }
    }

    /// The peer's ufrag.
    pub fn ufrag(&self) -> &str {
        &self.ufrag
    }

    /// The peer's password.
    pub fn password(&self) -> &str {
        &self.password
    }

    pub(crate) fn key(&self) -> &hmac::Key {
        &self.key
    }
}

/// RFC 8489 §9.1.1: the short-term key is the password itself.
fn integrity_key(password: &str) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes())
}

macro_rules! redacted_debug {
    ($($name:ident)*) => {$(
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name)).field("ufrag", &self.ufrag).finish_non_exhaustive()
            }
        }
    )*};
}

redacted_debug!(LocalCredentials RemoteCredentials);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_has_at_least_128_bits_and_is_not_shown() {
        let credentials = LocalCredentials::new("abcd".into(), &[255; PASSWORD_BYTES]);
        assert_eq!(credentials.password().len(), 24);
        assert!(!format!("{credentials:?}").contains(credentials.password()));
    }
}
