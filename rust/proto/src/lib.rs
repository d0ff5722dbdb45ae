//! Protocol code of the packet engine: deterministic, without sockets, clocks or threads.
#![forbid(unsafe_code)]

pub mod io;
pub mod time;
// transport side: stun, ice, dtls, srtp, demux, transport
// media side: rtp, rtcp, codec, sfu, bwe, player
