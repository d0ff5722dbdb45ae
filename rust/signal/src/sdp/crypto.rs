//! SDES keys (RFC 4568 §9.1) and the base64 they are written in.

use std::fmt;

use super::error::{Malformed, malformed};
use super::grammar::{digits, is_short_token, words};

/// A key; `key` is the master key with the salt behind it.
#[derive(Clone, PartialEq, Eq)]
pub struct Crypto<'a> {
    pub tag: u64,
    /// Upper case.
    pub suite: String,
    pub key: Vec<u8>,
    pub lifetime: &'a str,
    pub mki: &'a str,
    pub session_parameters: Vec<&'a str>,
}

impl fmt::Debug for Crypto<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Crypto").field("tag", &self.tag).field("suite", &self.suite).finish_non_exhaustive()
    }
}

impl<'a> Crypto<'a> {
    pub(crate) fn parse(value: &'a str) -> Result<Self, Malformed> {
        let mut parts = words(value);
        let tag = parts.next().and_then(digits);
        let suite = parts.next().filter(|suite| is_short_token(suite));
        let inline = parts.next().and_then(after_inline);
        let (Some(tag), Some(suite), Some(parameters)) = (tag, suite, inline) else {
            return malformed("a crypto is <tag> <suite> inline:<key> (RFC 4568)");
        };
        if parameters.contains(';') {
            return malformed("several keys need an MKI, which is not supported");
        }
        let mut pieces = parameters.split('|');
        let Some(key) = pieces.next().and_then(|key| base64(key.as_bytes())) else {
            return malformed("the key is not base64");
        };
        let (mut lifetime, mut mki) = ("", "");
        for piece in pieces {
            let place = if piece.contains(':') { &mut mki } else { &mut lifetime };
            if place.is_empty() {
                *place = piece;
            }
        }
        let session_parameters = parts.collect();
        Ok(Self { tag, suite: suite.to_ascii_uppercase(), key, lifetime, mki, session_parameters })
    }
}

fn after_inline(text: &str) -> Option<&str> {
    let (name, rest) = text.split_at_checked("inline:".len())?;
    name.eq_ignore_ascii_case("inline:").then_some(rest)
}

/// RFC 4648 §4; padding may be missing, and nothing may stand behind it.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let end = text.iter().position(|&byte| byte == b'=').unwrap_or(text.len());
    let (data, padding) = text.split_at(end);
    let wanted = [0, usize::MAX, 2, 1][data.len() % 4];
    if padding.iter().any(|&byte| byte != b'=') || (!padding.is_empty() && padding.len() != wanted) || wanted > 2 {
        return None;
    }
    let mut out = Vec::with_capacity(data.len() * 3 / 4);
    for quad in data.chunks(4) {
        let mut bits = 0_u32;
        for &byte in quad {
            bits = bits << 6 | sextet(byte)?;
        }
        bits <<= 6 * (4 - quad.len());
        out.extend_from_slice(&bits.to_be_bytes()[1..quad.len()]);
    }
    Some(out)
}

fn sextet(byte: u8) -> Option<u32> {
    let value = match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(value.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_the_rfc() {
        // RFC 4648 §10
        for (text, content) in [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYg", "foob")] {
            assert_eq!(base64(text.as_bytes()).as_deref(), Some(content.as_bytes()), "{text}");
        }
        for text in ["Z", "Zg=", "Zg===", "Zm9v=", "Z=g=", "Zg==Zg==", "Z%=="] {
            assert_eq!(base64(text.as_bytes()), None, "{text}");
        }
    }
}
