//! The relay: a thread that owns the TURN sockets, and in open mode the relayed ones.

mod inward;
mod listeners;
mod open_ports;
mod setup;
mod worker;

pub use inward::Inward;
pub use setup::RelaySetup;
pub use worker::RelayWorker;

/// First id of sockets behind relayed addresses; below are those that clients send to.
const FIRST_RELAYED_SOCKET: u32 = 1 << 16;
