//! STUN (RFC 8489): parsing without copies, writing into the send buffer.

mod address;
mod crc;
mod message;
mod peek;
mod writer;

pub use message::{Attribute, Attributes, Class, Message, ParseError, TransactionId};
pub use peek::local_ufrag;
pub use writer::Writer;

/// RFC 8489 §5.
pub const MAGIC_COOKIE: u32 = 0x2112_A442;
/// Length of the fixed header in bytes.
pub const HEADER_LEN: usize = 20;

/// STUN methods (IANA registry); TURN adds more to the same number space.
pub mod method {
    /// Binding, RFC 8489 §2.
    pub const BINDING: u16 = 0x001;
}

/// Attribute types (IANA registry) that are read or written here.
pub mod attribute {
    /// RFC 8489 §14.3.
    pub const USERNAME: u16 = 0x0006;
    /// RFC 8489 §14.5.
    pub const MESSAGE_INTEGRITY: u16 = 0x0008;
    /// RFC 8489 §14.8.
    pub const ERROR_CODE: u16 = 0x0009;
    /// RFC 8489 §14.13.
    pub const UNKNOWN_ATTRIBUTES: u16 = 0x000A;
    /// RFC 8489 §14.9; understood, not used with short-term credentials.
    pub const REALM: u16 = 0x0014;
    /// RFC 8489 §14.10; understood, not used with short-term credentials.
    pub const NONCE: u16 = 0x0015;
    /// RFC 8489 §14.6; understood, passed over: ICE signs with SHA-1 (RFC 8445 §7.1).
    pub const MESSAGE_INTEGRITY_SHA256: u16 = 0x001C;
    /// RFC 8489 §14.2.
    pub const XOR_MAPPED_ADDRESS: u16 = 0x0020;
    /// RFC 8445 §16.1.
    pub const PRIORITY: u16 = 0x0024;
    /// RFC 8445 §16.1.
    pub const USE_CANDIDATE: u16 = 0x0025;
    /// RFC 8489 §14.14.
    pub const SOFTWARE: u16 = 0x8022;
    /// RFC 8489 §14.7.
    pub const FINGERPRINT: u16 = 0x8028;
    /// RFC 8445 §16.1.
    pub const ICE_CONTROLLED: u16 = 0x8029;
    /// RFC 8445 §16.1.
    pub const ICE_CONTROLLING: u16 = 0x802A;
    /// draft-thatcher-ice-renomination: the number of a nomination; the highest one counts.
    pub const NOMINATION: u16 = 0xC001;
}

#[cfg(test)]
mod tests;
