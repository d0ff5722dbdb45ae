//! Session descriptions (RFC 8866): tolerant of what real peers write, bounded, and exact about the line that is wrong.
//!
//! Tolerated: bare LF or CR, no final line end, missing `s=` and `t=`, an empty `s=`, lines in odd order within a level,
//! repeated properties, unknown lines and attributes. A malformed attribute that only informs is kept as text; one that
//! media depends on is an error.

mod attributes;
mod candidate;
mod crypto;
mod description;
mod error;
mod grammar;
mod reader;
mod section;
mod static_payloads;
mod streams;

pub use candidate::Candidate;
pub use crypto::Crypto;
pub use description::{
    Attribute, Bandwidth, Direction, Extension, Fingerprint, Group, Level, Origin, Session, Setup, Timing,
};
pub use error::SdpError;
pub use reader::{MAX_ATTRIBUTES, MAX_BYTES, MAX_FORMATS, MAX_LINE_BYTES, MAX_LINES, MAX_MEDIA, parse};
pub use section::{Codec, Fmtp, Section};
pub use static_payloads::STATIC_PAYLOADS;
pub use streams::{Rid, Simulcast, Ssrc, SsrcGroup};
