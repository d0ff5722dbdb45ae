//! TURN server (RFC 8489, RFC 8656) over UDP, sans-IO.
//!
//! Whoever owns the sockets gives datagrams of clients to [`Server::handle_datagram`] and what comes in at relayed
//! addresses to [`Server::handle_relayed`]; what leaves is put into [`Outputs`].

mod address;
mod allocate;
mod allocation;
mod answer;
mod answer_limit;
mod authentication;
mod channel_data;
mod channels;
mod demux;
mod drops;
mod network;
mod nonce;
mod peer_policy;
mod peers;
mod permissions;
mod ports;
mod quota;
mod relay;
mod requests;
mod reservations;
mod server;
mod users;

pub use allocation::{DEFAULT_LIFETIME_S, MAX_LIFETIME_S};
pub use channels::{CHANNEL_LIFETIME_S, MOST_CHANNELS};
pub use demux::is_for_server;
pub use drops::{TurnDrop, TurnDrops};
pub use network::Network;
pub use peer_policy::PeerPolicy;
pub use peers::{InnerPeer, Peers};
pub use permissions::{MOST_PERMISSIONS, PERMISSION_LIFETIME_S};
pub use ports::{Family, OpenedPorts, PortTable, PortWish, PseudoPorts, RelayPorts, Relayed};
pub use relay::Traffic;
pub use reservations::RESERVATION_LIFETIME;
pub use server::{Limits, MOST_REALM, Outputs, Server, ServerConfig};
pub use users::{MOST_SECRETS, time_limited_password};

#[cfg(test)]
mod tests;
