//! The link between Core and Edge over TLS: control messages, visitors' connections, and media where UDP is blocked.
//!
//! The Core dials, so the inner firewall has no inbound rule. Both ends prove themselves (`certificates`). HTTP/2 runs in
//! reverse: the Edge, to which visitors come, is its client and opens the streams; the first one is the control stream.
//! What a link tells goes out as [`LinkEvent`]; what is wanted of it goes to [`LinkTable`].

mod backoff;
mod boundary;
mod budget;
mod certificates;
pub mod command;
mod control;
mod core_end;
mod counters;
mod dial;
mod edge_end;
mod event;
mod frame_queue;
mod framing;
mod headers;
mod limits;
mod listen;
mod media;
mod owner;
mod parts;
mod pipe;
mod pulse;
mod reason;
mod state;
mod switch;
mod table;
mod tcp;
#[cfg(test)]
mod tests;
mod thread;

pub use boundary::{Descriptor, Payload};
pub use certificates::{CONTROL_PROTOCOL, Fingerprint, MEDIA_PROTOCOL};
pub use counters::{Count, LinkCounters};
pub use event::{EventSink, LinkEvent, Message, Service, StreamOpened, Visitor};
pub use owner::LinkOwner;
pub use parts::{FrameSink, Parts};
pub use state::Connection;
pub(crate) use switch::{Owners, way_over};
pub use table::LinkTable;
pub use thread::LinkThread;
