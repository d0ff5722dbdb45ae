//! Load for benchmarks: codec-less WebRTC peers, and the engine's AEAD as C functions for `benchmarks/limit`.

pub mod aead;
pub mod echo;
pub mod histogram;
pub mod member;
pub mod net;
pub mod peer;
pub mod plan;
pub mod publisher;
pub mod relay;
pub mod run;
pub mod serve;
pub mod source;
pub mod stamp;
pub mod stream;
