//! What crosses the router: a parsed packet with its shared payload, and the record of how one receiver gets it.

use super::ids::UpTrackId;
use super::retransmitter::ORIGINAL_SEQUENCE;
use super::rewriter::Capture;
use crate::codec::dependency_writer::Outgoing;
use crate::codec::{Codec, Descriptor, red, vp8, vp9};
use crate::io::Carries;
use crate::rtp::{AudioLevel, HeaderWriter, Ssrc, Token};
use crate::time::Time;

/// Everything about a received packet but its bytes; plain data that travels to other shards with the buffer.
#[derive(Clone, Copy, Debug)]
pub struct PacketMeta {
    /// The track that it belongs to.
    pub up: UpTrackId,
    /// Simulcast layer, by its index in the track; 0 without simulcast.
    pub layer: u8,
    /// Generation of the layer's stream: sequence and timestamps continue only within one. It grows when the sender
    /// restarts or changes its SSRC, and when a gate opens.
    pub stream: u32,
    /// Sequence number without wraps.
    pub sequence: u64,
    /// Timestamp on the wire.
    pub timestamp: u32,
    /// Marker bit.
    pub marker: bool,
    /// Codec of its payload type.
    pub codec: Codec,
    /// First packet of a keyframe.
    pub keyframe_start: bool,
    /// Level of the sound.
    pub audio_level: Option<AudioLevel>,
    /// Orientation of the picture, as on the wire.
    pub video_orientation: Option<u8>,
    /// Playout delay limits, as on the wire.
    pub playout_delay: Option<u32>,
    /// Descriptor of the payload.
    pub descriptor: Descriptor,
    /// When it arrived.
    pub arrival: Time,
    /// When its first sample was taken.
    pub capture: Capture,
    /// Where the payload, or the dependency descriptor in front of it, starts in the plaintext datagram, in bytes.
    pub payload_start: u16,
    /// Length from there to the end of the payload without padding, in bytes.
    pub payload_len: u16,
}

impl PacketMeta {
    /// Codec of the medium itself, also inside redundancy.
    pub fn medium(&self) -> Codec {
        match &self.descriptor {
            Descriptor::Red(red) => red.codec,
            _ => self.codec,
        }
    }

    /// Whether somebody who has what comes before it in its picture can go over to its layer here.
    pub fn opens_layer(&self) -> bool {
        match &self.descriptor {
            Descriptor::Vp9(descriptor) => descriptor.starts_frame() && !descriptor.is_inter_picture(),
            Descriptor::Dependency(frame) => frame.opens_layer(),
            _ => self.keyframe_start,
        }
    }

    /// What the packet shares of its plaintext datagram: its payload, or all from its dependency descriptor on; empty when the datagram is not the one that was parsed.
    pub fn payload<'a>(&self, datagram: &'a [u8]) -> &'a [u8] {
        let start = usize::from(self.payload_start);
        datagram.get(start..start + usize::from(self.payload_len)).unwrap_or_default()
    }
}

/// A received packet: its record, and its payload in the shared buffer, which is never written to. With a dependency
/// descriptor it begins at that, and [`Frame::head`](crate::codec::dependency::Frame) says where the payload itself does.
#[derive(Clone, Copy, Debug)]
pub struct UpPacket<'a> {
    /// The record.
    pub meta: PacketMeta,
    /// The plaintext payload without padding; empty for a padding-only packet.
    pub payload: &'a [u8],
}

/// Ids of the header extensions that a receiver negotiated and that are written; zero means not negotiated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct WrittenExtensions {
    pub(super) mid: u8,
    pub(super) audio_level: u8,
    pub(super) transport_sequence: u8,
    pub(super) abs_send_time: u8,
    pub(super) video_orientation: u8,
    pub(super) playout_delay: u8,
}

/// Longest part of a descriptor that is rewritten.
pub(super) const MAX_DESCRIPTOR: usize = vp8::MAX_DESCRIPTOR;
const _: () = assert!(vp9::MAX_REWRITTEN <= MAX_DESCRIPTOR && red::MAX_REWRITTEN <= MAX_DESCRIPTOR);
/// The longest padding of one packet; the last byte counts it.
pub const PADDING: [u8; 255] = {
    let mut padding = [0; 255];
    padding[254] = 255;
    padding
};
const PADDING_BIT: u8 = 0x20;

/// Longest [`Rewrite::prefix`]: a descriptor behind the original sequence number of a retransmission.
pub(super) const MAX_PREFIX: usize = MAX_DESCRIPTOR + ORIGINAL_SEQUENCE;

/// What is known only when a packet leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Departure {
    /// The moment of sending.
    pub now: Time,
    /// The next transport-wide sequence number of the transport; used up only when
    /// [`Rewrite::has_transport_sequence`].
    pub transport_sequence: u16,
}

impl Departure {
    /// The value of abs-send-time: 24 bits of seconds in 6.18 fixed point.
    fn abs_send_time(&self) -> u32 {
        (((u128::from(self.now.0) << 18) / 1_000_000_000) & 0xff_ffff) as u32
    }
}

/// How one receiver gets one packet: a small record, turned into bytes at departure.
///
/// The packet on the wire is the header, then [`Rewrite::prefix`], then the shared payload less its first
/// [`Rewrite::skip`] bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// SSRC of the down track.
    pub ssrc: Ssrc,
    /// Sequence number without wraps: its upper bits are the SRTP rollover counter. Each value is given out once.
    pub sequence: u64,
    /// Timestamp in the receiver's timeline.
    pub timestamp: u32,
    /// Payload type as the receiver negotiated it.
    pub payload_type: u8,
    /// Marker bit.
    pub marker: bool,
    /// What it carries.
    pub carries: Carries,
    pub(super) ids: WrittenExtensions,
    pub(super) mid: Option<Token>,
    pub(super) audio_level: Option<AudioLevel>,
    pub(super) video_orientation: Option<u8>,
    pub(super) playout_delay: Option<u32>,
    /// What its dependency descriptor becomes, where the receiver takes one.
    pub(super) dependency: Option<Outgoing>,
    /// Whether it repairs a loss: a retransmission under an SSRC of its own, which is sent before new packets.
    pub is_repair: bool,
    /// Whether it carries nothing but [`PADDING`] (RFC 3550 §5.1).
    pub is_padding: bool,
    pub(super) prefix: [u8; MAX_PREFIX],
    pub(super) prefix_len: u8,
    pub(super) skip: u16,
}

impl Rewrite {
    /// Whether the header will carry a transport-wide sequence number.
    pub fn has_transport_sequence(&self) -> bool {
        self.ids.transport_sequence != 0
    }

    /// Bytes that replace the first [`Rewrite::skip`] bytes of the payload (a rewritten descriptor, a DTMF event).
    pub fn prefix(&self) -> &[u8] {
        &self.prefix[..usize::from(self.prefix_len)]
    }

    /// How many bytes of the shared payload are left out.
    pub fn skip(&self) -> usize {
        usize::from(self.skip)
    }

    /// Appends the RTP header with its extensions; returns its length in bytes. `payload` is the shared one.
    pub fn write_header(&self, departure: &Departure, payload: &[u8], out: &mut Vec<u8>) -> usize {
        let header = HeaderWriter {
            marker: self.marker,
            payload_type: self.payload_type,
            sequence: self.sequence as u16,
            timestamp: self.timestamp,
            ssrc: self.ssrc,
        };
        let start = out.len();
        let len = header.write(out, |extensions| {
            if let Some(mid) = &self.mid {
                extensions.push(self.ids.mid, mid.as_bytes());
            }
            if let Some(level) = self.audio_level {
                extensions.push(self.ids.audio_level, &[level.to_byte()]);
            }
            if let Some(orientation) = self.video_orientation {
                extensions.push(self.ids.video_orientation, &[orientation]);
            }
            if let Some(delay) = self.playout_delay {
                extensions.push(self.ids.playout_delay, &delay.to_be_bytes()[1..]);
            }
            extensions.push(self.ids.abs_send_time, &departure.abs_send_time().to_be_bytes()[1..]);
            extensions.push(self.ids.transport_sequence, &departure.transport_sequence.to_be_bytes());
            if let Some(dependency) = &self.dependency
                && let Some(original) = payload.get(..usize::from(dependency.layout.len))
            {
                dependency.write(original, |descriptor| extensions.push(dependency.id.get(), descriptor));
            }
        });
        if self.is_padding {
            out[start] |= PADDING_BIT;
        }
        len
    }

    /// Appends the whole plaintext packet; returns the length of its header, where encryption starts.
    pub fn write_packet(&self, departure: &Departure, payload: &[u8], out: &mut Vec<u8>) -> usize {
        let header_len = self.write_header(departure, payload, out);
        out.extend_from_slice(self.prefix());
        out.extend_from_slice(payload.get(self.skip()..).unwrap_or_default());
        header_len
    }
}
