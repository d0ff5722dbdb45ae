//! The packet engine: threads, sockets and shards around the protocol code.

pub mod admission;
mod asked;
pub mod audio;
pub mod carried;
mod collecting;
pub mod command;
pub mod config;
pub mod counters;
mod data;
pub mod edge;
pub mod engine;
pub mod event;
pub mod exit;
pub mod gathering;
pub mod inbox;
pub mod key_ring;
mod latency;
pub mod link;
mod link_traffic;
pub mod mailbox;
pub mod media;
pub mod media_links;
pub mod metrics;
pub mod ports;
pub mod relay;
pub mod rings;
pub mod scheduling;
pub mod shard;
pub mod socket;
pub mod sockets;
pub mod stream;
pub mod sys;
pub mod worker;

pub use engine::{Engine, EngineError};
