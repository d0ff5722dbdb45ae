//! Transports: one WebRTC peer (ICE, DTLS, SRTP on the shared port) or one SIP media leg (RTP, or SRTP by SDES or DTLS).

pub mod dtls_srtp;
#[cfg(test)]
mod dtls_srtp_tests;
pub mod ice_transport;
#[cfg(test)]
mod ice_transport_tests;
mod latch;
mod protection;
pub mod rtp_transport;
#[cfg(test)]
mod rtp_transport_tests;
mod srtp_pair;

use thiserror::Error;

use crate::dtls::DtlsEnd;
use crate::error::Drop;
use crate::io::Path;
use crate::srtp::{SrtpError, Suite};

pub use dtls_srtp::DtlsTerms;
pub use ice_transport::{IceTransport, IceTransportConfig, RemoteParameters};
pub use rtp_transport::{RtpRemote, RtpTransport, RtpTransportConfig};

/// What became of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// An RTP packet: the first `len` bytes of the datagram are header and plaintext payload.
    Rtp {
        /// Length of header and plaintext in bytes.
        len: usize,
        /// Length of fixed header, CSRCs and extension in bytes.
        header_len: usize,
        /// 48-bit packet index (rollover counter and sequence number; RFC 3711 §3.3.1), also without SRTP.
        index: u64,
    },
    /// A compound RTCP packet: the first `len` bytes of the datagram.
    Rtcp {
        /// Length in bytes.
        len: usize,
    },
    /// It was ours (STUN, DTLS) and is done with.
    Consumed,
    /// It was not used; the reason is already counted.
    Dropped(Drop),
}

/// Why a transport ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// 30 s without a valid check or response (RFC 7675).
    ConsentExpired,
    /// The handshake failed or took too long.
    DtlsFailed,
    /// The certificate is not the one that SDP promised.
    FingerprintMismatch,
    /// The peer sent close_notify.
    PeerClosed,
    /// We were told to.
    Commanded,
}

impl CloseReason {
    /// The word of the `transport_closed` event.
    pub const fn name(self) -> &'static str {
        match self {
            CloseReason::ConsentExpired => "consent_expired",
            CloseReason::DtlsFailed => "dtls_failed",
            CloseReason::FingerprintMismatch => "fingerprint_mismatch",
            CloseReason::PeerClosed => "peer_closed",
            CloseReason::Commanded => "commanded",
        }
    }
}

/// What a transport tells its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransportEvent {
    /// ICE transport: this tuple passed a valid check; datagrams from it belong to this transport from now on.
    PathBound(Path),
    /// ICE transport: the tuple has answered a challenge of ours for the first time.
    PathProven(Path),
    /// ICE transport: the tuple is forgotten.
    PathUnbound(Path),
    /// Media can flow: ICE proven, DTLS done and fingerprint right; or the first accepted RTP of a SIP leg without DTLS.
    Connected {
        /// Where media goes.
        path: Path,
        /// How it is protected; `None` for plain RTP.
        suite: Option<Suite>,
    },
    /// Media goes elsewhere from now on.
    PathChanged(Path),
    /// SIP leg: no RTP for so long.
    MediaTimeout {
        /// Silence in milliseconds.
        silent_ms: u64,
    },
    /// SIP leg: RTP is back after a timeout.
    MediaResumed,
    /// The end; nothing comes after it.
    Closed(CloseReason),
}

/// Why a packet was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SendError {
    /// No address that media may go to, or no keys yet.
    #[error("the transport is not connected")]
    NotConnected,
    /// Something was sent under this SRTP index before.
    #[error("the SRTP index was used before")]
    IndexUsed,
    /// More SSRCs than one transport may send.
    #[error("too many SSRCs")]
    TooManySsrcs,
    /// Not an RTP or RTCP packet, or too long.
    #[error("the packet is malformed")]
    Malformed,
}

fn close_reason(end: DtlsEnd) -> CloseReason {
    match end {
        DtlsEnd::Failed => CloseReason::DtlsFailed,
        DtlsEnd::FingerprintMismatch => CloseReason::FingerprintMismatch,
        DtlsEnd::PeerClosed => CloseReason::PeerClosed,
    }
}

/// The counter of a refused packet.
fn drop_of(error: SrtpError) -> Drop {
    match error {
        SrtpError::Malformed => Drop::RtpMalformed,
        SrtpError::Authentication => Drop::SrtpAuthentication,
        SrtpError::Replayed | SrtpError::IndexUsed => Drop::SrtpReplayed,
        SrtpError::TooOld | SrtpError::KeyExhausted => Drop::SrtpTooOld,
        SrtpError::TooManySsrcs => Drop::SrtpTooManySsrcs,
    }
}

fn send_error_of(error: SrtpError) -> SendError {
    match error {
        SrtpError::TooManySsrcs => SendError::TooManySsrcs,
        SrtpError::IndexUsed | SrtpError::KeyExhausted | SrtpError::Replayed | SrtpError::TooOld => {
            SendError::IndexUsed
        }
        SrtpError::Malformed | SrtpError::Authentication => SendError::Malformed,
    }
}
