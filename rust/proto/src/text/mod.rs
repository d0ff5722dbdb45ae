//! Real-time text over RTP (RFC 4103): T.140 text with earlier text repeated in front of it (RFC 2198).
//!
//! [`blocks`] is the wire format, [`receiver`] makes one text of what arrives, [`sender`] says when what leaves,
//! [`reports`] what both ends tell each other about it, and [`line`](mod@line) is all of them together for one m-line.

pub mod blocks;
pub mod line;
pub mod receiver;
pub mod reports;
pub mod sender;

pub use line::{SendFormat, TextConfig, TextFormat, TextLine};

/// Stands for text that was lost (ITU-T T.140 Addendum 1).
pub const MISSING: char = '\u{fffd}';
/// Begins a session and means nothing afterwards (ITU-T T.140 §7.2).
pub const BYTE_ORDER_MARK: char = '\u{feff}';
