//! What datagrams and TLS need on streams: how a stream is cut into datagrams, what waits to be written, and the name that
//! a TLS client asks for.

mod backlog;
mod client_hello;
mod deframer;
mod framing;

pub use backlog::Backlog;
pub use client_hello::{ClientHello, HelloError, MOST_HELLO_BYTES, client_hello};
pub use deframer::{Deframer, Fed};
pub use framing::{Frame, Framing, NoFrame};
