//! SRTP and SRTCP (RFC 3711, RFC 7714): suites, keys, replay windows, protection of one direction each.
//!
//! [`Inbound`] and [`Outbound`] each hold one master key. Packet indices are plain values that can be exported and
//! restored, so that a restarted engine never uses an index twice.

mod cipher;
pub mod header;
mod inbound;
pub mod keys;
mod outbound;
mod replay;
mod streams;
#[cfg(test)]
mod tests;

use thiserror::Error;

pub use header::RtpHeader;
pub use inbound::{Inbound, Opened};
pub use keys::{KeyLengthError, MasterKey, SrtpKeys, Suite};
pub use outbound::Outbound;
pub use streams::StreamIndices;

/// Why a packet was not protected or not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SrtpError {
    /// Too short, too long, or not RTP or RTCP.
    #[error("the packet is malformed")]
    Malformed,
    /// The tag is wrong.
    #[error("the packet's authentication failed")]
    Authentication,
    /// The index was seen before.
    #[error("the packet is a replay")]
    Replayed,
    /// The index is behind the replay window.
    #[error("the packet is older than the replay window")]
    TooOld,
    /// Another SSRC would be one too many.
    #[error("too many SSRCs")]
    TooManySsrcs,
    /// Sending: something was protected under this index before (RFC 3711 §9.1: a two-time pad).
    #[error("the index was used before")]
    IndexUsed,
    /// Sending: the master key has protected all it may (RFC 3711 §9.2).
    #[error("the key is used up")]
    KeyExhausted,
}

/// The 48-bit index that a 16-bit sequence number most likely means (RFC 3711 §3.3.1, appendix A).
pub(crate) fn guess_index(highest: Option<u64>, sequence: u16) -> u64 {
    let Some(highest) = highest else { return u64::from(sequence) };
    let rollover = highest >> 16;
    let last = i64::from(highest as u16);
    let distance = i64::from(sequence) - last;
    let rollover = if distance < -0x8000 {
        rollover + 1
    } else if distance > 0x8000 {
        rollover.saturating_sub(1)
    } else {
        rollover
    };
    rollover << 16 | u64::from(sequence)
}
