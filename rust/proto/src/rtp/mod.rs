//! RTP (RFC 3550): header views and writing, header extensions (RFC 8285), sequence arithmetic.

pub(crate) mod bytes;
pub mod extension;
pub mod extension_map;
pub mod header;
pub mod sequence;

pub use extension::{AudioLevel, Extensions};
pub use extension_map::{ExtensionKind, ExtensionMap, ExtensionMapError};
pub use header::{HeaderWriter, RtpError, RtpPacket};
pub use sequence::{SequenceUnwrapper, SequenceWindow, is_newer};

/// A synchronisation source identifier (RFC 3550 §3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ssrc(pub u32);

/// A short token (`mid`, `rid`) kept inline, so that it travels with a packet record without allocation.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Token {
    len: u8,
    bytes: [u8; Token::MAX],
}

impl Token {
    /// Longest token in bytes: what a one-byte header extension element can carry (RFC 8285 §4.2).
    pub const MAX: usize = 16;

    /// Takes 1 to 16 bytes; `None` when empty or longer.
    pub fn new(bytes: &[u8]) -> Option<Token> {
        if bytes.is_empty() || bytes.len() > Token::MAX {
            return None;
        }
        let mut token = Token { len: u8::try_from(bytes.len()).ok()?, bytes: [0; Token::MAX] };
        token.bytes[..bytes.len()].copy_from_slice(bytes);
        Some(token)
    }

    /// The bytes of the token.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl std::fmt::Display for Token {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}", self.as_bytes().escape_ascii())
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}", self.as_bytes().escape_ascii())
    }
}
