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

/// STUN methods (IANA registry); those of TURN are of RFC 8656 §17.
pub mod method {
    /// Binding, RFC 8489 §2.
    pub const BINDING: u16 = 0x001;
    /// Request for a relayed address.
    pub const ALLOCATE: u16 = 0x003;
    /// Request for more time, or for the end.
    pub const REFRESH: u16 = 0x004;
    /// Indication: data to a peer.
    pub const SEND: u16 = 0x006;
    /// Indication: data from a peer.
    pub const DATA: u16 = 0x007;
    /// Request to let peers send.
    pub const CREATE_PERMISSION: u16 = 0x008;
    /// Request to name a peer by a number.
    pub const CHANNEL_BIND: u16 = 0x009;
}

/// Attribute types (IANA registry) that are read or written here.
pub mod attribute {
    /// RFC 8489 §14.3.
    pub const USERNAME: u16 = 0x0006;
    /// RFC 8489 §14.5.
    pub const MESSAGE_INTEGRITY: u16 = 0x0008;
    /// RFC 8489 §14.8.
    pub const ERROR_CODE: u16 = 0x0009;
    /// RFC 8656 §18.1.
    pub const CHANNEL_NUMBER: u16 = 0x000C;
    /// RFC 8656 §18.2.
    pub const LIFETIME: u16 = 0x000D;
    /// RFC 8656 §18.3.
    pub const XOR_PEER_ADDRESS: u16 = 0x0012;
    /// RFC 8656 §18.4.
    pub const DATA: u16 = 0x0013;
    /// RFC 8656 §18.5.
    pub const XOR_RELAYED_ADDRESS: u16 = 0x0016;
    /// RFC 8656 §18.6.
    pub const REQUESTED_ADDRESS_FAMILY: u16 = 0x0017;
    /// RFC 8656 §18.7.
    pub const EVEN_PORT: u16 = 0x0018;
    /// RFC 8656 §18.8.
    pub const REQUESTED_TRANSPORT: u16 = 0x0019;
    /// RFC 8656 §18.9.
    pub const DONT_FRAGMENT: u16 = 0x001A;
    /// RFC 8489 §14.12.
    pub const PASSWORD_ALGORITHM: u16 = 0x001D;
    /// RFC 8489 §14.4.
    pub const USERHASH: u16 = 0x001E;
    /// RFC 8656 §18.10.
    pub const RESERVATION_TOKEN: u16 = 0x0022;
    /// RFC 8656 §18.11.
    pub const ADDITIONAL_ADDRESS_FAMILY: u16 = 0x8000;
    /// RFC 8656 §18.12.
    pub const ADDRESS_ERROR_CODE: u16 = 0x8001;
    /// RFC 8489 §14.11.
    pub const PASSWORD_ALGORITHMS: u16 = 0x8002;
    /// RFC 8489 §14.15.
    pub const ALTERNATE_SERVER: u16 = 0x8023;
    /// RFC 8016 §3.1.1.
    pub const MOBILITY_TICKET: u16 = 0x8030;
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
