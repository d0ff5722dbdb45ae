//! The media part of the link between an Edge and a Core: frames in UDP datagrams, which the Core alone may begin.
//!
//! A Core says hello from a socket of its own, gets a cookie there, and says hello again with it; so the Edge sends only to
//! whoever receives at an address and holds the link's key, and takes frames from there alone. The path of a visitor
//! belongs to the Edge, which names it; the Core is told of it with each datagram until it says that it knows it.
//! Where UDP is blocked, the same datagrams go over a TLS connection for frames (`ways`), and back to UDP when it answers.
//! Control frames are signed and count once. Datagrams of visitors are as the visitor sent them: ICE, DTLS and SRTP end
//! in the Core.

mod aims;
mod core;
mod core_paths;
mod drops;
mod edge;
mod edge_peer;
pub mod frame;
mod message;
mod mtu;
mod ports;
mod seal;
mod ways;

pub use core::{CoreEvent, CoreLink, CoreLinkConfig};
pub use drops::{LinkDrop, LinkDrops};
pub use edge::{EdgeEvent, EdgeLink, EdgeLinkConfig};
pub use edge_peer::LinkName;
pub use message::Opening;
pub use ports::PortPair;
pub use seal::LinkKey;
pub use ways::Way;

/// Bytes of a datagram that every way passes (IPv6's least MTU less its headers): what frames share until more is known.
pub const BASE_MTU: usize = 1280 - 40 - 8;
