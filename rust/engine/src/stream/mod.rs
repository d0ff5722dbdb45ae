//! Everything that comes over TCP: one thread, whose connections are lines that datagrams of the mesh travel on.
//!
//! The thread has an index behind those of shards and audio threads. A datagram that it cuts out of a stream goes to the
//! shard that its owner lives on, under a path whose socket is *carried* by this thread; what a shard sends to such a path
//! comes back by the mesh and is written to the stream.

mod carry;
mod counts;
mod door;
mod hello;
#[cfg(test)]
mod hello_tests;
mod hub;
mod line;
mod listener;
mod mesh;
mod pass;
mod shared_tls;
mod terminated;
#[cfg(test)]
mod tests;
mod worker;

pub use listener::{Listening, Serves, bind};
pub use shared_tls::SharedTls;
pub use worker::StreamsWorker;
