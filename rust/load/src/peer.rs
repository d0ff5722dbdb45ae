//! One connected peer: answers the engine's checks, keeps its own consent alive, counts and reports media.

use std::net::SocketAddr;

use aws_lc_rs::{hmac, rand};
use mediaserver_proto::rtcp::receiver_report;
use mediaserver_proto::rtcp::report_block::ReportBlock;
use mediaserver_proto::rtp::Ssrc;
use mediaserver_proto::srtp::{Inbound, MasterKey, Outbound, RtpHeader, Suite};
use mediaserver_proto::stun::{Class, Message, TransactionId, Writer, attribute, method};

use crate::net::Socket;
use crate::plan;

/// What browsers use as the SSRC of reports when they send nothing.
const REPORTER: Ssrc = Ssrc(1);
/// RFC 8445 §5.1.2.1: a host candidate's priority.
const PRIORITY: u32 = 2_130_706_431;

/// What came in, all of it counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// RTP packets.
    pub packets: u64,
    /// Bytes of those, header and tag included.
    pub bytes: u64,
    /// RTCP messages.
    pub reports: u64,
    /// Checks of the engine, all answered.
    pub checks: u64,
    /// RTP packets that were decrypted to see whether they are right.
    pub verified: u64,
    /// Those that were not.
    pub wrong: u64,
    /// What nobody can make sense of.
    pub unknown: u64,
}

/// A peer.
#[derive(Debug)]
pub struct Peer {
    /// Its socket.
    pub socket: Socket,
    /// What came.
    pub counts: Counts,
    outbound: Outbound,
    inbound: Inbound,
    media: Ssrc,
    first: Option<u32>,
    highest: u32,
    remote: SocketAddr,
    username: String,
    local_key: hmac::Key,
    remote_key: hmac::Key,
    tie_breaker: [u8; 8],
    scratch: Vec<u8>,
}

impl Peer {
    /// Takes over what Python has connected.
    ///
    /// # Errors
    /// A sentence when keys or socket are not what the plan says.
    ///
    /// # Safety
    /// `plan.fd` is an open UDP socket that nothing else in this process owns.
    pub unsafe fn new(plan: &plan::Peer) -> Result<Peer, String> {
        let suite = Suite::from_name(&plan.suite).ok_or_else(|| format!("no suite {}", plan.suite))?;
        let master = |bytes| MasterKey::from_key_and_salt(suite, bytes).map_err(|error| error.to_string());
        let password = |text: &str| hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
        let remote = plan.remote.parse().map_err(|_| format!("not an address: {}", plan.remote))?;
        // SAFETY: promised by the caller.
        let socket = unsafe { Socket::adopt(plan.fd, remote) }.map_err(|error| format!("socket: {error}"))?;
        Ok(Peer {
            socket,
            counts: Counts::default(),
            outbound: Outbound::new(&master(&plan.local_key)?),
            inbound: Inbound::new(&master(&plan.remote_key)?),
            media: Ssrc(plan.media_ssrc),
            first: None,
            highest: 0,
            remote,
            username: plan.username.clone(),
            local_key: password(&plan.local_password),
            remote_key: password(&plan.remote_password),
            tie_breaker: random(),
            scratch: Vec::with_capacity(2048),
        })
    }

    /// One datagram of true length `len`, of which `kept` is at hand. Whole packets are decrypted when `verify` is set.
    pub fn handle(&mut self, len: usize, kept: &mut [u8], verify: bool) {
        // RFC 7983: the first byte says what it is; RFC 5761: the second tells RTCP from RTP.
        match (kept.first(), kept.get(1)) {
            (Some(0..=3), _) => self.handle_stun(kept),
            (Some(128..=191), Some(192..=223)) => self.counts.reports += 1,
            (Some(128..=191), Some(_)) => self.handle_rtp(len, kept, verify),
            (Some(20..=63), _) => {} // a retransmitted DTLS flight
            _ => self.counts.unknown += 1,
        }
    }

    fn handle_rtp(&mut self, len: usize, kept: &mut [u8], verify: bool) {
        self.counts.packets += 1;
        self.counts.bytes += len as u64;
        if let Some(sequence) = kept.get(2..4) {
            self.note(u16::from_be_bytes([sequence[0], sequence[1]]));
        }
        if verify && kept.len() == len {
            self.counts.verified += 1;
            let opened = RtpHeader::parse(kept).map(|header| (header, self.inbound.unprotect_rtp(kept, &header)));
            let right = matches!(opened, Some((header, Ok(_))) if header.ssrc == self.media.0);
            self.counts.wrong += u64::from(!right);
        }
    }

    /// Extends the sequence number (RFC 3550 appendix A.1, without the probation).
    fn note(&mut self, sequence: u16) {
        if self.first.is_none() {
            self.first = Some(u32::from(sequence));
            self.highest = u32::from(sequence);
            return;
        }
        let ahead = sequence.wrapping_sub(self.highest as u16);
        if ahead < 0x8000 {
            self.highest = self.highest.wrapping_add(u32::from(ahead));
        }
    }

    fn handle_stun(&mut self, datagram: &[u8]) {
        let Ok(message) = Message::parse(datagram) else {
            self.counts.unknown += 1;
            return;
        };
        if message.class() != Class::Request {
            return;
        }
        if !message.verify_integrity(&self.local_key) {
            self.counts.wrong += 1;
            return;
        }
        self.counts.checks += 1;
        self.scratch.clear();
        Writer::new(&mut self.scratch, Class::Success, method::BINDING, message.transaction())
            .xor_mapped_address(self.remote)
            .integrity(&self.local_key)
            .fingerprint();
        self.send_scratch();
    }

    /// A consent check of our own (RFC 7675).
    pub fn check(&mut self) {
        self.scratch.clear();
        Writer::new(&mut self.scratch, Class::Request, method::BINDING, TransactionId(random()))
            .username(self.username.as_bytes())
            .priority(PRIORITY)
            .attribute(attribute::ICE_CONTROLLING, &self.tie_breaker)
            .attribute(attribute::USE_CANDIDATE, &[])
            .integrity(&self.remote_key)
            .fingerprint();
        self.send_scratch();
    }

    /// A receiver report about what came; nothing before the first packet.
    pub fn report(&mut self) {
        let Some(first) = self.first else { return };
        let expected = i64::from(self.highest.wrapping_sub(first)) + 1;
        let block = ReportBlock {
            ssrc: self.media,
            cumulative_lost: (expected - self.counts.packets as i64) as i32,
            highest_sequence: self.highest,
            ..ReportBlock::default()
        };
        let mut plain = Vec::with_capacity(32);
        receiver_report::write(&mut plain, REPORTER, &[block]);
        self.send_rtcp(&plain);
    }

    /// Protects one RTP packet behind what `out` holds.
    pub fn protect(&mut self, header: &[u8], payload: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        self.outbound.protect_rtp(header, payload, out).map(drop).map_err(|error| error.to_string())
    }

    /// Decrypts an RTP packet in place; the length of header and payload, or none when it is not right.
    pub fn open_rtp(&mut self, packet: &mut [u8], header: &RtpHeader) -> Option<usize> {
        self.inbound.unprotect_rtp(packet, header).ok().map(|opened| opened.len)
    }

    /// Decrypts an RTCP packet in place; its length, or none when it is not right.
    pub fn open_rtcp(&mut self, packet: &mut [u8]) -> Option<usize> {
        self.inbound.unprotect_rtcp(packet).ok()
    }

    /// Protects and sends an RTCP packet.
    pub fn send_rtcp(&mut self, plain: &[u8]) {
        self.scratch.clear();
        if self.outbound.protect_rtcp(plain, &mut self.scratch).is_ok() {
            self.send_scratch();
        }
    }

    /// Packets that did not come, by sequence numbers.
    pub fn lost(&self) -> i64 {
        match self.first {
            Some(first) => i64::from(self.highest.wrapping_sub(first)) + 1 - self.counts.packets as i64,
            None => 0,
        }
    }

    /// A full socket drops, as a network would.
    fn send_scratch(&self) {
        drop(self.socket.send(&self.scratch));
    }
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).expect("the system has random bytes");
    bytes
}
