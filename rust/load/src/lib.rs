//! Load for benchmarks; this part is the engine's AEAD as C functions, for `benchmarks/limit`.

pub mod aead;
