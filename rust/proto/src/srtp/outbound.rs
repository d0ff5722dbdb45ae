//! The sending half of SRTP: one pass into the send buffer, and never two packets under one index.

use super::cipher::{Cipher, RTCP_CLEAR};
use super::header::rtcp_ssrc;
use super::keys::{MasterKey, Suite};
use super::replay::Verdict;
use super::streams::{StreamIndices, Streams};
use super::{RtpHeader, SrtpError, guess_index};

/// SSRCs that one transport may send with: its down tracks and their retransmission streams.
const MAX_SSRCS: usize = 512;
/// RFC 3711 §9.2: 2^48 SRTP and 2^31 SRTCP packets per key.
const LAST_RTP_INDEX: u64 = (1 << 48) - 1;
const LAST_RTCP_INDEX: u32 = (1 << 31) - 1;

/// What we send.
///
/// The first sequence number of an SSRC should lie below 2^15, so that no loss can confuse the peer's first rollover
/// (RFC 3711 §3.3.1).
#[derive(Debug)]
pub struct Outbound {
    cipher: Cipher,
    streams: Streams,
}

impl Outbound {
    /// Protects with `master`.
    pub fn new(master: &MasterKey) -> Outbound {
        Outbound { cipher: Cipher::new(master), streams: Streams::new(MAX_SSRCS) }
    }

    /// The suite in use.
    pub fn suite(&self) -> Suite {
        self.cipher.suite()
    }

    /// Appends the protected form of header and payload to `out`; returns the 48-bit index it used.
    ///
    /// # Errors
    /// [`SrtpError::IndexUsed`] when a packet with this index was (or may have been) protected before: the same
    /// sequence number twice, or one from behind the window. Nothing is appended on an error.
    pub fn protect_rtp(&mut self, header: &[u8], payload: &[u8], out: &mut Vec<u8>) -> Result<u64, SrtpError> {
        let parsed =
            RtpHeader::parse(header).filter(|parsed| parsed.len == header.len()).ok_or(SrtpError::Malformed)?;
        let stream = self.streams.entry(parsed.ssrc)?;
        let index = guess_index(stream.rtp.highest(), parsed.sequence);
        if index > LAST_RTP_INDEX {
            return Err(SrtpError::KeyExhausted);
        }
        if stream.rtp.check(index) != Verdict::Fresh {
            return Err(SrtpError::IndexUsed);
        }
        // Marked before the cipher runs: whatever happens in it, the index is spent.
        stream.rtp.insert(index);
        let start = out.len();
        self.cipher.seal_rtp(parsed.ssrc, index, header, payload, out).inspect_err(|_| out.truncate(start))?;
        Ok(index)
    }

    /// Appends the protected form of a compound RTCP packet to `out`; returns the 31-bit index it used.
    pub fn protect_rtcp(&mut self, packet: &[u8], out: &mut Vec<u8>) -> Result<u32, SrtpError> {
        let ssrc = rtcp_ssrc(packet).ok_or(SrtpError::Malformed)?;
        debug_assert!(packet.len() >= RTCP_CLEAR);
        let stream = self.streams.entry(ssrc)?;
        // RFC 3711 §3.4: the index starts at zero and goes up by one.
        let index = stream.rtcp.highest().map_or(0, |highest| highest as u32 + 1);
        if index > LAST_RTCP_INDEX {
            return Err(SrtpError::KeyExhausted);
        }
        stream.rtcp.insert(u64::from(index));
        let start = out.len();
        self.cipher.seal_rtcp(ssrc, index, packet, out).inspect_err(|_| out.truncate(start))?;
        Ok(index)
    }

    /// Highest indices used, for export.
    pub fn indices(&self) -> impl Iterator<Item = StreamIndices> + '_ {
        self.streams.indices()
    }

    /// Takes over exported (or leased) indices: nothing up to them is ever used again.
    pub fn restore(&mut self, indices: StreamIndices) -> Result<(), SrtpError> {
        self.streams.restore(indices)
    }
}
