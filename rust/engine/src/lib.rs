//! The packet engine: threads, sockets and shards around the protocol code.

pub mod socket;
pub mod sys;
