//! The bounds of a link, in one place.

use std::time::Duration;

/// Bytes of one control message.
pub(crate) const MESSAGE_BYTES: usize = 256 * 1024;
/// Bytes of control messages that wait in one direction: for the other end, or for our control plane.
pub(crate) const MESSAGES_WAITING_BYTES: usize = 4 * 1024 * 1024;
/// What a control message costs at least, so that empty ones are bounded, too.
pub(crate) const MESSAGE_COST: usize = 1024;
/// Visitors' connections over one link.
pub(crate) const STREAMS: usize = 1024;
/// Visitors' connections that our control plane has not taken yet.
pub(crate) const ARRIVALS: usize = 256;
/// Bytes on the way for one visitor. The link's own window is the sum over all of them, so one visitor who does not read
/// can never use it up.
pub(crate) const STREAM_WINDOW: u32 = 65_535;
/// Bytes of one visitor that wait to be written to the link.
pub(crate) const STREAM_SEND_BUFFER: usize = 16 * 1024;
/// Bytes of the headers of a stream.
pub(crate) const HEADER_BYTES: u32 = 4 * 1024;
/// Handshakes at the same time, of all sources and of one.
pub(crate) const HANDSHAKES: usize = 64;
/// Handshakes of one address at the same time.
pub(crate) const HANDSHAKES_PER_SOURCE: usize = 8;
/// From the first packet to an admitted connection.
pub(crate) const HANDSHAKE_TIME: Duration = Duration::from_secs(5);
/// From an admitted connection to the control stream.
pub(crate) const CONTROL_TIME: Duration = Duration::from_secs(2);
/// A visitor's connection, half of which is closed, may be silent for as long.
pub(crate) const HALF_CLOSED_TIME: Duration = Duration::from_secs(30);
/// A reader of a visitor's connection may take nothing for as long.
pub(crate) const STALLED_TIME: Duration = Duration::from_secs(60);
/// How long goodbyes may take.
pub(crate) const GOODBYE_TIME: Duration = Duration::from_millis(200);

/// Bytes of one media frame with its header.
pub(crate) const FRAME_BYTES: usize = 2048;
/// Media frames older than this are dropped.
pub(crate) const FRAME_AGE: Duration = Duration::from_millis(200);
/// Bytes of media frames that wait.
pub(crate) const FRAMES_WAITING_BYTES: usize = 4 * 1024 * 1024;
