//! What datagrams and TLS need on streams: how a stream is cut into datagrams, what waits to be written, and the name that
//! a TLS client asks for.

mod backlog;
mod client_hello;
mod deframer;
mod framing;
mod proxy;

pub use backlog::Backlog;
pub use client_hello::{ClientHello, HelloError, MOST_HELLO_BYTES, client_hello};
pub use deframer::{Deframer, Fed};
pub use framing::{Frame, Framing, NoFrame};
pub use proxy::{MOST_PROXY_BYTES, PROXY_PREFIX_BYTES, ProxyError, ProxyPrefix, proxy_prefix};
