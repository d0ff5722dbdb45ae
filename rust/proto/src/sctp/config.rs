//! What an association is built from, and its bounds.

/// SCTP packets below DTLS: 1280 (IPv6), less IPv6 40, UDP 8, TURN 4, DTLS record 13, nonce 8 and tag 16.
pub const MTU: usize = 1191;
/// Streams in each direction; browsers number channels below this unless told otherwise.
pub const STREAMS: u16 = 1024;

/// Bounds of one association.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataLimits {
    /// Channels at the same time.
    pub channels: usize,
    /// Largest message taken, in bytes; what `a=max-message-size` says.
    pub message_bytes: usize,
    /// Bytes waiting to be sent on one channel.
    pub channel_buffer_bytes: usize,
    /// Bytes waiting to be sent on all of them.
    pub buffer_bytes: usize,
    /// SCTP packets taken a second; twice as many may come at once.
    pub packets_per_second: u32,
}

impl Default for DataLimits {
    fn default() -> DataLimits {
        DataLimits {
            channels: 16,
            message_bytes: 64 * 1024,
            channel_buffer_bytes: 256 * 1024,
            buffer_bytes: 512 * 1024,
            packets_per_second: 2000,
        }
    }
}

/// What the two descriptions agreed on (RFC 8841), with our bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataConfig {
    /// Our `a=sctp-port`.
    pub local_port: u16,
    /// The peer's.
    pub remote_port: u16,
    /// The peer's `a=max-message-size`: 0 means any.
    pub remote_message_bytes: usize,
    /// Of which tags and first sequence numbers are drawn.
    pub entropy: u64,
    /// Bounds.
    pub limits: DataLimits,
}
