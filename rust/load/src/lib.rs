//! Load for benchmarks: codec-less WebRTC peers, and the engine's AEAD as C functions for `benchmarks/limit`.

pub mod aead;
pub mod net;
pub mod peer;
pub mod plan;
pub mod publisher;
pub mod run;
