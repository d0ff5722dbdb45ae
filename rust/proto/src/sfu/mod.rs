//! Selective forwarding: up tracks that peers publish, down tracks that they receive, and the router between them.

pub mod allocator;
pub mod down_track;
pub mod drops;
pub mod dtmf_receiver;
pub mod dtmf_sender;
pub mod gates;
pub mod ids;
pub mod keyframe;
pub mod layers;
pub mod nack_generator;
pub mod packet;
pub mod packet_ring;
pub mod rate_meter;
pub mod receive_stream;
pub mod reports;
pub mod retransmitter;
pub mod rewriter;
pub mod router;
pub mod spatial_layers;
pub mod speech;
pub mod target;
pub mod temporal;
pub mod up_layer;
pub mod up_track;
pub mod vp9_filter;

pub use allocator::{Allocator, AllocatorStats, Grant, Rung, TrackNeed};
pub use down_track::{DownStats, DownTrack, DownTrackConfig};
pub use drops::{MediaDrop, MediaDropCounters};
pub use gates::{Gate, Gates};
pub use ids::{ClipId, DownTrackId, IdMap, TransportId, UpTrackId};
pub use keyframe::Want;
pub use layers::{Choice, Layer, LayerTable, MAX_LAYERS};
pub use packet::{Departure, PacketMeta, Rewrite, UpPacket};
pub use router::{Output, Received, Router, RouterError, RouterEvent, TransportConfig};
pub use target::Target;
pub use up_track::{UpStats, UpTrack, UpTrackConfig, UpTrackUpdate};
