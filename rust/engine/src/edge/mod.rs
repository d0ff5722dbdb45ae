//! The threads of an Edge: they own the public sockets and the one towards Cores, and move frames between them.

mod commands;
mod neighbours;
mod ports;
mod sockets;
mod worker;

pub use neighbours::{Neighbours, SharedWithTurn};
pub use sockets::EdgeSockets;
pub use worker::EdgeWorker;
