//! Writes a STUN message at the end of the send buffer.

use std::net::SocketAddr;

use aws_lc_rs::hmac;

use super::message::{Class, TransactionId};
use super::{HEADER_LEN, MAGIC_COOKIE, address, attribute, crc};

/// A message under construction; its header length is kept right after every attribute.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    transaction: TransactionId,
}

impl<'a> Writer<'a> {
    /// Starts a message behind whatever `out` already holds.
    pub fn new(out: &'a mut Vec<u8>, class: Class, method: u16, transaction: TransactionId) -> Writer<'a> {
        let start = out.len();
        // RFC 8489 §5: the class bits lie between the method bits.
        let kind = (method & 0x000F) | ((method & 0x0070) << 1) | ((method & 0x0F80) << 2) | class.bits();
        out.extend_from_slice(&kind.to_be_bytes());
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&MAGIC_COOKIE.to_be_bytes());
        out.extend_from_slice(&transaction.0);
        Writer { out, start, transaction }
    }

    /// Any attribute; the value must be shorter than 64 KiB.
    pub fn attribute(mut self, kind: u16, value: &[u8]) -> Writer<'a> {
        self.header(kind, value.len());
        self.out.extend_from_slice(value);
        let padding = value.len().next_multiple_of(4) - value.len();
        self.out.extend_from_slice(&[0; 3][..padding]);
        self.set_length(0);
        self
    }

    /// USERNAME.
    pub fn username(self, username: &[u8]) -> Writer<'a> {
        self.attribute(attribute::USERNAME, username)
    }

    /// PRIORITY.
    pub fn priority(self, priority: u32) -> Writer<'a> {
        self.attribute(attribute::PRIORITY, &priority.to_be_bytes())
    }

    /// XOR-MAPPED-ADDRESS.
    pub fn xor_mapped_address(self, address: SocketAddr) -> Writer<'a> {
        self.xor_address(attribute::XOR_MAPPED_ADDRESS, address)
    }

    /// An XORed address under any attribute type.
    pub fn xor_address(self, kind: u16, address: SocketAddr) -> Writer<'a> {
        let (value, len) = address::write_xor(address, self.transaction);
        self.attribute(kind, &value[..len])
    }

    /// An address as it is, as ALTERNATE-SERVER has it (RFC 8489 §14.15).
    pub fn address(self, kind: u16, address: SocketAddr) -> Writer<'a> {
        let (value, len) = address::write_plain(address);
        self.attribute(kind, &value[..len])
    }

    /// ERROR-CODE with a reason phrase of ours.
    pub fn error_code(mut self, code: u16, reason: &str) -> Writer<'a> {
        self.header(attribute::ERROR_CODE, 4 + reason.len());
        self.out.extend_from_slice(&[0, 0, (code / 100) as u8, (code % 100) as u8]);
        self.out.extend_from_slice(reason.as_bytes());
        let padding = reason.len().next_multiple_of(4) - reason.len();
        self.out.extend_from_slice(&[0; 3][..padding]);
        self.set_length(0);
        self
    }

    /// UNKNOWN-ATTRIBUTES.
    pub fn unknown_attributes(mut self, kinds: &[u16]) -> Writer<'a> {
        self.header(attribute::UNKNOWN_ATTRIBUTES, kinds.len() * 2);
        for kind in kinds {
            self.out.extend_from_slice(&kind.to_be_bytes());
        }
        if kinds.len() % 2 == 1 {
            self.out.extend_from_slice(&[0, 0]);
        }
        self.set_length(0);
        self
    }

    /// MESSAGE-INTEGRITY over everything so far.
    pub fn integrity(mut self, key: &hmac::Key) -> Writer<'a> {
        // RFC 8489 §14.5: the length already counts this attribute when the HMAC is computed.
        self.set_length(24);
        let tag = hmac::sign(key, &self.out[self.start..]);
        self.header(attribute::MESSAGE_INTEGRITY, tag.as_ref().len());
        self.out.extend_from_slice(tag.as_ref());
        self
    }

    /// MESSAGE-INTEGRITY-SHA256 over everything so far.
    pub fn integrity_sha256(mut self, key: &hmac::Key) -> Writer<'a> {
        // RFC 8489 §14.6: as with MESSAGE-INTEGRITY.
        self.set_length(36);
        let tag = hmac::sign(key, &self.out[self.start..]);
        self.header(attribute::MESSAGE_INTEGRITY_SHA256, tag.as_ref().len());
        self.out.extend_from_slice(tag.as_ref());
        self
    }

    /// FINGERPRINT; ends the message.
    pub fn fingerprint(mut self) {
        self.set_length(8);
        let value = crc::crc32(&self.out[self.start..]) ^ 0x5354_554E;
        self.header(attribute::FINGERPRINT, 4);
        self.out.extend_from_slice(&value.to_be_bytes());
    }

    /// Ends a message without FINGERPRINT.
    pub fn finish(self) {}

    fn header(&mut self, kind: u16, len: usize) {
        self.out.extend_from_slice(&kind.to_be_bytes());
        self.out.extend_from_slice(&(len as u16).to_be_bytes());
    }

    fn set_length(&mut self, more: usize) {
        let length = (self.out.len() - self.start - HEADER_LEN + more) as u16;
        self.out[self.start + 2..self.start + 4].copy_from_slice(&length.to_be_bytes());
    }
}
