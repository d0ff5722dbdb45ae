//! A received STUN message: checked once, read in place.

use std::net::SocketAddr;

use aws_lc_rs::{constant_time, hmac};
use thiserror::Error;

use super::{HEADER_LEN, MAGIC_COOKIE, address, attribute, crc};

/// More attributes than any real message has; the rest of such a message is not looked at.
const MAX_ATTRIBUTES: usize = 32;
/// Unknown comprehension-required attributes that a 420 answer names.
const MAX_UNKNOWN: usize = 8;
const INTEGRITY_LEN: usize = 20;
const INTEGRITY_SHA256_LEN: usize = 32;
const FINGERPRINT_XOR: u32 = 0x5354_554E;

/// 96-bit transaction id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TransactionId(pub [u8; 12]);

/// Message class (RFC 8489 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Wants an answer.
    Request,
    /// Wants none.
    Indication,
    /// Answer.
    Success,
    /// Refusal.
    Error,
}

impl Class {
    pub(super) const fn bits(self) -> u16 {
        match self {
            Class::Request => 0x000,
            Class::Indication => 0x010,
            Class::Success => 0x100,
            Class::Error => 0x110,
        }
    }
}

/// Why bytes are not a STUN message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ParseError {
    /// Shorter than a header, or than the header says.
    #[error("the STUN message is truncated")]
    Truncated,
    /// Wrong leading bits, cookie, length or attribute layout.
    #[error("the STUN message is malformed")]
    Malformed,
    /// FINGERPRINT is there and wrong.
    #[error("the STUN fingerprint does not match")]
    Fingerprint,
}

/// One attribute: its type and its value without padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// IANA type.
    pub kind: u16,
    /// Value.
    pub value: &'a [u8],
}

/// Goes through the attributes of a message; ends at the first one that does not fit.
#[derive(Clone, Debug)]
pub struct Attributes<'a> {
    bytes: &'a [u8],
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Attribute<'a>> {
        let (&[k0, k1, l0, l1], rest) = self.bytes.split_first_chunk::<4>()?;
        let len = usize::from(u16::from_be_bytes([l0, l1]));
        let value = rest.get(..len)?;
        self.bytes = rest.get(len.next_multiple_of(4)..)?;
        Some(Attribute { kind: u16::from_be_bytes([k0, k1]), value })
    }
}

/// A STUN message on the receive buffer.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    bytes: &'a [u8],
    class: Class,
    method: u16,
    transaction: TransactionId,
    /// Where the first integrity attribute (or FINGERPRINT) lies: attributes beyond it are not to be trusted.
    trusted_end: usize,
    integrity_at: Option<usize>,
    integrity_sha256_at: Option<usize>,
    has_fingerprint: bool,
    unknown: [u16; MAX_UNKNOWN],
    unknown_len: usize,
}

impl<'a> Message<'a> {
    /// Checks header, attribute layout and FINGERPRINT (when there is one). Never panics, allocates nothing.
    pub fn parse(datagram: &'a [u8]) -> Result<Message<'a>, ParseError> {
        let (header, _) = datagram.split_first_chunk::<HEADER_LEN>().ok_or(ParseError::Truncated)?;
        let kind = u16::from_be_bytes([header[0], header[1]]);
        let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
        // RFC 8489 §5: two zero bits, the cookie, a length that is a multiple of four.
        if kind & 0xC000 != 0 || header[4..8] != MAGIC_COOKIE.to_be_bytes() || length % 4 != 0 {
            return Err(ParseError::Malformed);
        }
        if datagram.len() < HEADER_LEN + length {
            return Err(ParseError::Truncated);
        }
        if datagram.len() > HEADER_LEN + length {
            return Err(ParseError::Malformed);
        }
        let class = match kind & 0x110 {
            0x000 => Class::Request,
            0x010 => Class::Indication,
            0x100 => Class::Success,
            _ => Class::Error,
        };
        let method = (kind & 0x000F) | ((kind & 0x00E0) >> 1) | ((kind & 0x3E00) >> 2);
        let mut transaction = [0u8; 12];
        transaction.copy_from_slice(&header[8..20]);
        let mut message = Message {
            bytes: datagram,
            class,
            method,
            transaction: TransactionId(transaction),
            trusted_end: datagram.len(),
            integrity_at: None,
            integrity_sha256_at: None,
            has_fingerprint: false,
            unknown: [0; MAX_UNKNOWN],
            unknown_len: 0,
        };
        message.scan()?;
        Ok(message)
    }

    /// Walks the attributes once.
    fn scan(&mut self) -> Result<(), ParseError> {
        let mut at = HEADER_LEN;
        for _ in 0..MAX_ATTRIBUTES {
            let Some(&[k0, k1, l0, l1]) = self.bytes.get(at..).and_then(|rest| rest.first_chunk::<4>()) else {
                break;
            };
            let kind = u16::from_be_bytes([k0, k1]);
            let len = usize::from(u16::from_be_bytes([l0, l1]));
            let end = at + 4 + len.next_multiple_of(4);
            if end > self.bytes.len() {
                return Err(ParseError::Malformed);
            }
            match kind {
                attribute::FINGERPRINT => {
                    // RFC 8489 §14.7: it is the last attribute.
                    if len != 4 || end != self.bytes.len() {
                        return Err(ParseError::Malformed);
                    }
                    self.check_fingerprint(at)?;
                    self.has_fingerprint = true;
                    self.trusted_end = self.trusted_end.min(at);
                }
                // RFC 8489 §14.6: after it everything but FINGERPRINT is ignored.
                _ if self.integrity_sha256_at.is_some() => {}
                attribute::MESSAGE_INTEGRITY_SHA256 => {
                    if len != INTEGRITY_SHA256_LEN {
                        return Err(ParseError::Malformed);
                    }
                    self.integrity_sha256_at = Some(at);
                    self.trusted_end = self.trusted_end.min(at);
                }
                // RFC 8489 §14.5: after it everything but MESSAGE-INTEGRITY-SHA256 and FINGERPRINT is ignored.
                _ if self.integrity_at.is_some() => {}
                attribute::MESSAGE_INTEGRITY => {
                    if len != INTEGRITY_LEN {
                        return Err(ParseError::Malformed);
                    }
                    self.integrity_at = Some(at);
                    self.trusted_end = at;
                }
                _ if kind < 0x8000 && !is_known(kind) && self.unknown_len < MAX_UNKNOWN => {
                    self.unknown[self.unknown_len] = kind;
                    self.unknown_len += 1;
                }
                _ => {}
            }
            at = end;
        }
        if at == self.bytes.len() { Ok(()) } else { Err(ParseError::Malformed) }
    }

    fn check_fingerprint(&self, at: usize) -> Result<(), ParseError> {
        let given = self.bytes.get(at + 4..at + 8).and_then(|value| value.first_chunk::<4>());
        let given = u32::from_be_bytes(*given.ok_or(ParseError::Malformed)?);
        // The length in the header already counts FINGERPRINT, the last attribute.
        let covered = self.bytes.get(..at).ok_or(ParseError::Malformed)?;
        if crc::crc32(covered) ^ FINGERPRINT_XOR == given { Ok(()) } else { Err(ParseError::Fingerprint) }
    }

    /// Message class.
    pub fn class(&self) -> Class {
        self.class
    }

    /// Method, such as [`super::method::BINDING`].
    pub fn method(&self) -> u16 {
        self.method
    }

    /// Transaction id.
    pub fn transaction(&self) -> TransactionId {
        self.transaction
    }

    /// Whether a (right) FINGERPRINT was there.
    pub fn has_fingerprint(&self) -> bool {
        self.has_fingerprint
    }

    /// The attributes before MESSAGE-INTEGRITY and FINGERPRINT.
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes { bytes: self.bytes.get(HEADER_LEN..self.trusted_end).unwrap_or_default() }
    }

    /// Value of the first attribute of this type (RFC 8489 §14: later ones are ignored).
    pub fn attribute(&self, kind: u16) -> Option<&'a [u8]> {
        self.attributes().find(|attribute| attribute.kind == kind).map(|attribute| attribute.value)
    }

    /// Comprehension-required attributes that are not known here (RFC 8489 §6.3.1), up to eight.
    pub fn unknown_required(&self) -> &[u16] {
        &self.unknown[..self.unknown_len]
    }

    /// USERNAME.
    pub fn username(&self) -> Option<&'a [u8]> {
        self.attribute(attribute::USERNAME)
    }

    /// The receiver's ufrag of an ICE request: USERNAME up to the colon (RFC 8445 §7.2.2).
    pub fn receiver_ufrag(&self) -> Option<&'a [u8]> {
        let username = self.username()?;
        let colon = username.iter().position(|&byte| byte == b':')?;
        username.get(..colon)
    }

    /// PRIORITY.
    pub fn priority(&self) -> Option<u32> {
        Some(u32::from_be_bytes(self.attribute(attribute::PRIORITY)?.try_into().ok()?))
    }

    /// Whether USE-CANDIDATE is there.
    pub fn use_candidate(&self) -> bool {
        self.attribute(attribute::USE_CANDIDATE).is_some()
    }

    /// NOMINATION of the renomination draft.
    pub fn nomination(&self) -> Option<u32> {
        Some(u32::from_be_bytes(self.attribute(attribute::NOMINATION)?.try_into().ok()?))
    }

    /// XOR-MAPPED-ADDRESS.
    pub fn xor_mapped_address(&self) -> Option<SocketAddr> {
        self.xor_address(attribute::XOR_MAPPED_ADDRESS)
    }

    /// The value of an attribute of this type as an XORed address.
    pub fn xor_address(&self, kind: u16) -> Option<SocketAddr> {
        self.read_xor_address(self.attribute(kind)?)
    }

    /// Reads the value of one attribute of this message as an XORed address.
    pub fn read_xor_address(&self, value: &[u8]) -> Option<SocketAddr> {
        address::read_xor(value, self.transaction)
    }

    /// ERROR-CODE as a number from 300 to 699 (RFC 8489 §14.8).
    pub fn error_code(&self) -> Option<u16> {
        let &[_, _, class, number, ..] = self.attribute(attribute::ERROR_CODE)? else { return None };
        let class = class & 0x07;
        (matches!(class, 3..=6) && number < 100).then(|| u16::from(class) * 100 + u16::from(number))
    }

    /// Whether MESSAGE-INTEGRITY is there.
    pub fn has_integrity(&self) -> bool {
        self.integrity_at.is_some()
    }

    /// Whether MESSAGE-INTEGRITY-SHA256 is there.
    pub fn has_integrity_sha256(&self) -> bool {
        self.integrity_sha256_at.is_some()
    }

    /// Whether MESSAGE-INTEGRITY is there and right under `key` (HMAC-SHA1, compared in constant time).
    pub fn verify_integrity(&self, key: &hmac::Key) -> bool {
        self.integrity_at.is_some_and(|at| self.verify(at, INTEGRITY_LEN, key))
    }

    /// Whether MESSAGE-INTEGRITY-SHA256 is there and right under `key` (HMAC-SHA256). Not cut short: RFC 8489 §14.6 lets
    /// only usages that say so do that, and TURN does not.
    pub fn verify_integrity_sha256(&self, key: &hmac::Key) -> bool {
        self.integrity_sha256_at.is_some_and(|at| self.verify(at, INTEGRITY_SHA256_LEN, key))
    }

    fn verify(&self, at: usize, len: usize, key: &hmac::Key) -> bool {
        let (Some(covered), Some(given)) = (self.bytes.get(..at), self.bytes.get(at + 4..at + 4 + len)) else {
            return false;
        };
        // RFC 8489 §14.5: the length counts up to the end of the integrity attribute, whatever follows it.
        let length = (at + 4 + len - HEADER_LEN) as u16;
        let mut context = hmac::Context::with_key(key);
        context.update(&covered[..2]);
        context.update(&length.to_be_bytes());
        context.update(&covered[4..]);
        constant_time::verify_slices_are_equal(context.sign().as_ref(), given).is_ok()
    }
}

fn is_known(kind: u16) -> bool {
    use attribute::*;
    matches!(
        kind,
        USERNAME
            | MESSAGE_INTEGRITY
            | ERROR_CODE
            | UNKNOWN_ATTRIBUTES
            | REALM
            | NONCE
            | MESSAGE_INTEGRITY_SHA256
            | XOR_MAPPED_ADDRESS
            | PRIORITY
            | USE_CANDIDATE
            // RFC 8489 §14.1: MAPPED-ADDRESS, in responses of old servers.
            | 0x0001
    )
}
