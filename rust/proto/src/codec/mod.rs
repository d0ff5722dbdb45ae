//! Codecs: identity and matching here; what the forwarder must read of each payload format beside it.

pub mod av1;
pub mod av1_sequence;
pub mod bit_reader;
pub mod dependency;
pub mod dependency_structure;
pub mod dependency_writer;
pub mod descriptor;
pub mod h264;
pub mod h264_sps;
pub mod payload;
pub mod red;
pub mod telephone_event;
pub mod vp8;
pub mod vp9;
pub mod vp9_structure;

pub use descriptor::Descriptor;
pub use h264::ProfileFamily;
pub use payload::{Feedback, Payload, PayloadTable};

/// Sound or picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MediaKind {
    /// Sound.
    Audio,
    /// Picture.
    Video,
}

/// A codec with the parameters that decide whether two payload types mean the same format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// Opus (RFC 7587); always 48 kHz and two channels in SDP.
    Opus,
    /// G.711 µ-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
    /// G.722; its RTP clock is 8000 (RFC 3551 §4.5.2).
    G722,
    /// Named telephone events (RFC 4733).
    TelephoneEvent {
        /// RTP clock in Hz.
        clock_rate: u32,
    },
    /// Comfort noise (RFC 3389).
    ComfortNoise {
        /// RTP clock in Hz.
        clock_rate: u32,
    },
    /// Redundant audio (RFC 2198).
    Red {
        /// RTP clock in Hz.
        clock_rate: u32,
    },
    /// H.264 (RFC 6184).
    H264 {
        /// Family of profiles; the level is not compared.
        profile: ProfileFamily,
        /// `packetization-mode`; absent is 0.
        packetization_mode: u8,
    },
    /// VP8 (RFC 7741).
    Vp8,
    /// VP9 (RFC 9628).
    Vp9 {
        /// `profile-id`; absent is 0.
        profile: u8,
    },
    /// AV1 (AV1 RTP specification of the Alliance for Open Media).
    Av1 {
        /// `profile`; absent is 0.
        profile: u8,
    },
    /// Retransmissions (RFC 4588) of another payload type.
    Rtx {
        /// `apt`: the payload type retransmitted.
        original: u8,
    },
}

impl Codec {
    /// The codec of a payload as negotiated; `None` for one that the engine does not know.
    pub fn from_payload(payload: &Payload) -> Option<Codec> {
        let clock_rate = payload.clock_rate;
        let number = |key: &str| payload.parameter(key).and_then(|value| value.parse::<u8>().ok());
        let codec = match payload.name.to_ascii_lowercase().as_str() {
            "opus" => Codec::Opus,
            "pcmu" => Codec::Pcmu,
            "pcma" => Codec::Pcma,
            "g722" => Codec::G722,
            "telephone-event" => Codec::TelephoneEvent { clock_rate },
            "cn" => Codec::ComfortNoise { clock_rate },
            "red" => Codec::Red { clock_rate },
            "h264" => Codec::H264 {
                profile: ProfileFamily::from_parameter(payload.parameter("profile-level-id")),
                packetization_mode: number("packetization-mode").unwrap_or(0),
            },
            "vp8" => Codec::Vp8,
            "vp9" => Codec::Vp9 { profile: number("profile-id").unwrap_or(0) },
            "av1" => Codec::Av1 { profile: number("profile").unwrap_or(0) },
            "rtx" => Codec::Rtx { original: number("apt")? },
            _ => return None,
        };
        Some(codec)
    }

    /// RTP clock in Hz.
    pub fn clock_rate(self) -> u32 {
        match self {
            Codec::Opus => 48_000,
            Codec::Pcmu | Codec::Pcma | Codec::G722 => 8_000,
            Codec::TelephoneEvent { clock_rate } | Codec::ComfortNoise { clock_rate } | Codec::Red { clock_rate } => {
                clock_rate
            }
            Codec::H264 { .. } | Codec::Vp8 | Codec::Vp9 { .. } | Codec::Av1 { .. } | Codec::Rtx { .. } => 90_000,
        }
    }

    /// Name as in `a=rtpmap`, in the usual case.
    pub fn name(self) -> &'static str {
        match self {
            Codec::Opus => "opus",
            Codec::Pcmu => "PCMU",
            Codec::Pcma => "PCMA",
            Codec::G722 => "G722",
            Codec::TelephoneEvent { .. } => "telephone-event",
            Codec::ComfortNoise { .. } => "CN",
            Codec::Red { .. } => "red",
            Codec::H264 { .. } => "H264",
            Codec::Vp8 => "VP8",
            Codec::Vp9 { .. } => "VP9",
            Codec::Av1 { .. } => "AV1",
            Codec::Rtx { .. } => "rtx",
        }
    }

    /// Whether this is a picture codec whose packets can be forwarded on their own.
    pub fn is_video(self) -> bool {
        matches!(self, Codec::H264 { .. } | Codec::Vp8 | Codec::Vp9 { .. } | Codec::Av1 { .. })
    }

    /// Whether this carries the medium itself, not events, comfort noise or repair.
    pub fn is_primary(self) -> bool {
        !matches!(self, Codec::TelephoneEvent { .. } | Codec::ComfortNoise { .. } | Codec::Rtx { .. })
    }

    /// Whether this is sound by itself, not a wrapping of it.
    pub fn is_sound(self) -> bool {
        matches!(self, Codec::Opus | Codec::Pcmu | Codec::Pcma | Codec::G722)
    }

    /// Whether a receiver that negotiated `receiver` can be given packets of this codec unchanged.
    ///
    /// H.264 in packetization mode 0 (single NAL units) is a subset of mode 1 (RFC 6184 §6.2), not the reverse.
    pub fn fits(self, receiver: Codec) -> bool {
        match (self, receiver) {
            (
                Codec::H264 { profile, packetization_mode },
                Codec::H264 { profile: other, packetization_mode: other_mode },
            ) => profile == other && packetization_mode <= other_mode && other_mode <= 1,
            _ => self == receiver,
        }
    }

    /// Width and height of the picture, where this payload tells them: at the start of a keyframe, mostly.
    pub fn frame_size(self, payload: &[u8], descriptor: &Descriptor) -> Option<(u16, u16)> {
        match descriptor {
            Descriptor::Vp8(descriptor) => vp8::frame_size(payload, descriptor),
            Descriptor::Vp9(descriptor) => {
                vp9_structure::Structure::parse(payload, descriptor).map(|structure| structure.size())
            }
            Descriptor::None if matches!(self, Codec::H264 { .. }) => {
                h264_sps::frame_size(h264::sequence_parameters(payload)?)
            }
            Descriptor::None | Descriptor::Dependency(_) if matches!(self, Codec::Av1 { .. }) => {
                av1::frame_size(payload)
            }
            Descriptor::None | Descriptor::Red(_) | Descriptor::Dependency(_) => None,
        }
    }

    /// Whether decoding can start at this payload: the first packet of a keyframe. False for sound.
    pub fn starts_keyframe(self, payload: &[u8], descriptor: &Descriptor) -> bool {
        match (descriptor, self) {
            (Descriptor::Vp8(descriptor), _) => descriptor.starts_keyframe(payload),
            (Descriptor::Vp9(descriptor), _) => descriptor.starts_keyframe(),
            (Descriptor::Dependency(frame), _) => frame.starts_keyframe(),
            (Descriptor::None, Codec::H264 { .. }) => h264::starts_keyframe(payload),
            (Descriptor::None, Codec::Av1 { .. }) => av1::starts_keyframe(payload),
            (Descriptor::None | Descriptor::Red(_), _) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(name: &str, clock_rate: u32, fmtp: &[(&str, &str)]) -> Payload {
        Payload {
            payload_type: 96,
            name: name.to_owned(),
            clock_rate,
            channels: 1,
            parameters: fmtp.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            feedback: Feedback::default(),
        }
    }

    #[test]
    fn names_are_compared_without_case() {
        assert_eq!(Codec::from_payload(&payload("vp8", 90_000, &[])), Some(Codec::Vp8));
        assert_eq!(Codec::from_payload(&payload("OPUS", 48_000, &[])), Some(Codec::Opus));
        assert_eq!(Codec::from_payload(&payload("speex", 8_000, &[])), None);
    }

    #[test]
    fn h264_is_matched_by_family_and_mode_with_any_level() {
        let codec = |id: &str, mode: &[(&str, &str)]| {
            let mut fmtp = vec![("profile-level-id", id)];
            fmtp.extend_from_slice(mode);
            Codec::from_payload(&payload("H264", 90_000, &fmtp)).unwrap()
        };
        let mode1 = [("packetization-mode", "1")];
        assert!(codec("42e01f", &mode1).fits(codec("42e034", &mode1)));
        assert!(codec("640c34", &mode1).fits(codec("640028", &mode1)));
        assert!(!codec("42e01f", &mode1).fits(codec("640028", &mode1)));
        assert!(codec("42e01f", &[]).fits(codec("42e01f", &mode1)));
        assert!(!codec("42e01f", &mode1).fits(codec("42e01f", &[])));
    }

    #[test]
    fn an_absent_packetization_mode_is_zero() {
        let codec = Codec::from_payload(&payload("H264", 90_000, &[])).unwrap();
        assert_eq!(codec, Codec::H264 { profile: ProfileFamily::Baseline, packetization_mode: 0 });
    }

    #[test]
    fn telephone_events_of_different_clocks_differ() {
        let slow = Codec::from_payload(&payload("telephone-event", 8_000, &[])).unwrap();
        let fast = Codec::from_payload(&payload("telephone-event", 48_000, &[])).unwrap();
        assert!(!slow.fits(fast));
        assert!(slow.fits(slow));
    }
}
