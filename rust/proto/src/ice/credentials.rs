//! ICE credentials of both sides, with their MESSAGE-INTEGRITY keys made once.

use aws_lc_rs::hmac;

/// Base64's alphabet, which is exactly the ice-char set of RFC 8839 §5.4.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Random bytes of a password: 144 bits (RFC 8445 §5.3 asks for 128).
pub const PASSWORD_BYTES: usize = 18;

/// Writes bytes (a multiple of 3) as ICE characters.
pub(crate) fn encode_ice_chars(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 4 / 3);
    for triple in bytes.chunks_exact(3) {
        let word = u32::from_be_bytes([0, triple[0], triple[1], triple[2]]);
        for shift in [18, 12, 6, 0] {
            text.push(char::from(ALPHABET[(word >> shift) as usize & 63]));
        }
    }
    text
}

/// Reads ICE characters into `out`; `None` when a character or the length is wrong.
pub(crate) fn decode_ice_chars(text: &[u8], out: &mut [u8]) -> Option<()> {
    if text.len() * 3 != out.len() * 4 {
        return None;
    }
    for (quad, triple) in text.chunks_exact(4).zip(out.chunks_exact_mut(3)) {
        let mut word = 0u32;
        for &c in quad {
            let value = match c {
                b'A'..=b'Z' => c - b'A',
                b'a'..=b'z' => c - b'a' + 26,
                b'0'..=b'9' => c - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return None,
            };
            word = word << 6 | u32::from(value);
        }
        triple.copy_from_slice(&word.to_be_bytes()[1..]);
    }
    Some(())
}

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
    fn ice_characters_round_trip() {
        let bytes: Vec<u8> = (0..27).map(|i| i * 9).collect();
        let text = encode_ice_chars(&bytes);
        let mut back = [0u8; 27];
        decode_ice_chars(text.as_bytes(), &mut back).unwrap();
        assert_eq!(&back[..], &bytes[..]);
    }

    #[test]
    fn a_password_has_at_least_128_bits_and_is_not_shown() {
        let credentials = LocalCredentials::new("abcd".into(), &[255; PASSWORD_BYTES]);
        assert_eq!(credentials.password().len(), 24);
        assert!(!format!("{credentials:?}").contains(credentials.password()));
    }
}
