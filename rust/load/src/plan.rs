//! Who takes part: read once from a MessagePack file that `benchmarks/fanout.py` writes after ICE and DTLS are done.

use serde::Deserialize;

/// All peers, and what stays the same between runs.
#[derive(Debug, Deserialize)]
pub struct Plan {
    /// Who sends.
    pub publisher: Publisher,
    /// Who receives; each answers checks and sends receiver reports.
    pub subscribers: Vec<Peer>,
    /// Length of a protected packet, in bytes.
    pub packet_size: usize,
    /// Packets sent back to back: one frame.
    pub burst: usize,
    /// Between two receiver reports of one subscriber.
    pub report_interval_ms: u64,
    /// Between two consent checks of one peer.
    pub check_interval_ms: u64,
    /// CPU that this program stays on.
    pub cpu: usize,
}

/// A connected peer: its socket, its side of ICE and its SRTP keys.
#[derive(Debug, Deserialize)]
pub struct Peer {
    /// Inherited file descriptor of a bound UDP socket.
    pub fd: i32,
    /// The engine's address, `ip:port`.
    pub remote: String,
    /// USERNAME of checks that we send.
    pub username: String,
    /// Password that the engine's checks are signed with, and our answers.
    pub local_password: String,
    /// Password that our checks are signed with.
    pub remote_password: String,
    /// Name of the protection suite, as in RFC 4568 and RFC 7714.
    pub suite: String,
    /// Master key and salt of what we send.
    #[serde(with = "serde_bytes")]
    pub local_key: Vec<u8>,
    /// Master key and salt of what the engine sends.
    #[serde(with = "serde_bytes")]
    pub remote_key: Vec<u8>,
    /// What the engine sends to us with; 0 for the publisher.
    pub media_ssrc: u32,
}

/// The sending peer.
#[derive(Debug, Deserialize)]
pub struct Publisher {
    /// Its connection.
    pub peer: Peer,
    /// SSRC of the video.
    pub ssrc: u32,
    /// Payload type of VP8.
    pub payload_type: u8,
    /// Extension id of the transport-wide sequence number.
    pub twcc_id: u8,
}
