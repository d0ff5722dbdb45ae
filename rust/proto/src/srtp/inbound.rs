//! The receiving half of SRTP: authenticates, decrypts in place, refuses replays.

use super::cipher::Cipher;
use super::header::rtcp_ssrc;
use super::keys::{MasterKey, Suite};
use super::replay::{ReplayWindow, Verdict};
use super::streams::{StreamIndices, Streams};
use super::{RtpHeader, SrtpError, guess_index};

/// SSRCs that one peer may send with: three simulcast layers with RTX, audio, screen and some change.
const MAX_SSRCS: usize = 64;

/// An accepted RTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Length of header and plaintext in bytes.
    pub len: usize,
    /// 48-bit packet index.
    pub index: u64,
    /// No packet of this SSRC with a higher index came before.
    pub newest: bool,
}

/// What the peer sends.
#[derive(Debug)]
pub struct Inbound {
    cipher: Cipher,
    streams: Streams,
}

impl Inbound {
    /// Receives what is protected with `master`.
    pub fn new(master: &MasterKey) -> Inbound {
        Inbound { cipher: Cipher::new(master), streams: Streams::new(MAX_SSRCS) }
    }

    /// The suite in use.
    pub fn suite(&self) -> Suite {
        self.cipher.suite()
    }

    /// Checks and decrypts an RTP packet in place. On an error the packet's bytes are of no use.
    ///
    /// An SSRC is only remembered once a packet of it was authentic, so that forged ones fill nothing.
    pub fn unprotect_rtp(&mut self, packet: &mut [u8], header: &RtpHeader) -> Result<Opened, SrtpError> {
        let highest = self.streams.get(header.ssrc).and_then(|stream| stream.rtp.highest());
        let index = guess_index(highest, header.sequence);
        if let Some(stream) = self.streams.get(header.ssrc) {
            refuse_used(&stream.rtp, index)?;
        }
        self.streams.check_room(header.ssrc)?;
        let len = self.cipher.open_rtp(header.ssrc, index, packet, header.len)?;
        self.streams.entry(header.ssrc)?.rtp.insert(index);
        Ok(Opened { len, index, newest: highest.is_none_or(|highest| index > highest) })
    }

    /// Checks and decrypts a compound RTCP packet in place; returns its length.
    pub fn unprotect_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, SrtpError> {
        let ssrc = rtcp_ssrc(packet).ok_or(SrtpError::Malformed)?;
        let index = self.cipher.rtcp_index(packet)?;
        if let Some(stream) = self.streams.get(ssrc) {
            refuse_used(&stream.rtcp, u64::from(index))?;
        }
        self.streams.check_room(ssrc)?;
        let len = self.cipher.open_rtcp(ssrc, index, packet)?;
        self.streams.entry(ssrc)?.rtcp.insert(u64::from(index));
        Ok(len)
    }

    /// Highest indices seen, for export.
    pub fn indices(&self) -> impl Iterator<Item = StreamIndices> + '_ {
        self.streams.indices()
    }

    /// Takes over exported indices: everything up to them is a replay.
    pub fn restore(&mut self, indices: StreamIndices) -> Result<(), SrtpError> {
        self.streams.restore(indices)
    }
}

fn refuse_used(window: &ReplayWindow, index: u64) -> Result<(), SrtpError> {
    match window.check(index) {
        Verdict::Fresh => Ok(()),
        Verdict::Seen => Err(SrtpError::Replayed),
        Verdict::TooOld => Err(SrtpError::TooOld),
    }
}
