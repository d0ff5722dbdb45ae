//! Protocol code of the packet engine: deterministic, without sockets, clocks or threads.
#![forbid(unsafe_code)]

mod base64;
pub mod bwe;
pub mod codec;
mod counted;
pub mod demux;
pub mod dtls;
pub mod endpoint;
pub mod error;
pub mod ice;
pub mod io;
pub mod link;
pub mod pacer;
pub mod path;
pub mod player;
pub mod rtcp;
pub mod rtp;
pub mod sctp;
pub mod sfu;
pub mod srtp;
pub mod stream;
pub mod stun;
pub mod text;
pub mod time;
pub mod token_bucket;
pub mod transport;
pub mod turn;
