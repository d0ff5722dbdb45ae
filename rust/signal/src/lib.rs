//! Readers of SIP messages (RFC 3261) and session descriptions (RFC 8866): bytes in, borrowed values out, no state.
#![forbid(unsafe_code)]

pub mod sdp;
pub mod sip;
