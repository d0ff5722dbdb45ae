//! STUN (RFC 8489): parsing without copies, writing into the send buffer.
