//! Packets of up tracks as sound, and sound as packets of an up track.

use mediaserver_audio::transcoder::Input;
use mediaserver_audio::{Arrival, Content, Format, Produced};
use mediaserver_proto::codec::{Codec, Descriptor};
use mediaserver_proto::sfu::rewriter::Capture;
use mediaserver_proto::sfu::{PacketMeta, UpPacket, UpTrackId};
use mediaserver_proto::time::Time;

/// What a packet carries, without redundancy.
pub fn read<'a>(packet: &UpPacket<'a>, now: Time) -> (Input, Arrival<'a>) {
    let meta = &packet.meta;
    let (codec, payload) = match &meta.descriptor {
        Descriptor::Red(red) => (red.codec, packet.payload.get(usize::from(red.start)..).unwrap_or_default()),
        _ => (meta.codec, packet.payload),
    };
    let input = match codec {
        Codec::ComfortNoise { .. } => Input::ComfortNoise,
        Codec::TelephoneEvent { clock_rate } => Input::Event(clock_rate),
        codec => format_of(codec).filter(|_| !payload.is_empty()).map_or(Input::Nothing, Input::Sound),
    };
    let (sequence, timestamp, capture) = (meta.sequence, meta.timestamp, meta.capture.at.min(now));
    (input, Arrival { sequence, timestamp, content: Content::Sound, capture, payload })
}

/// A packet that was made here, as one of the up track `id`.
pub fn written<'a>(id: u64, output: Format, produced: &Produced<'a>, now: Time) -> UpPacket<'a> {
    let codec =
        if produced.is_event { Codec::TelephoneEvent { clock_rate: output.clock_rate() } } else { codec_of(output) };
    let meta = PacketMeta {
        up: UpTrackId(id),
        layer: 0,
        stream: 1,
        sequence: produced.sequence,
        timestamp: produced.timestamp,
        marker: produced.marker,
        codec,
        keyframe_start: false,
        audio_level: None,
        video_orientation: None,
        playout_delay: None,
        descriptor: Descriptor::None,
        arrival: now,
        capture: Capture::estimated(produced.capture.min(now)),
        payload_start: 0,
        payload_len: u16::try_from(produced.payload.len()).unwrap_or(0),
    };
    UpPacket { meta, payload: produced.payload }
}

/// The format of a codec that is sound.
pub fn format_of(codec: Codec) -> Option<Format> {
    match codec {
        Codec::Opus => Some(Format::Opus),
        Codec::Pcmu => Some(Format::Pcmu),
        Codec::Pcma => Some(Format::Pcma),
        Codec::G722 => Some(Format::G722),
        _ => None,
    }
}

/// The format of a codec by its name, compared without case.
pub fn format_named(name: &str) -> Option<Format> {
    let all = [Format::Opus, Format::Pcmu, Format::Pcma, Format::G722];
    all.into_iter().find(|&format| codec_of(format).name().eq_ignore_ascii_case(name))
}

fn codec_of(format: Format) -> Codec {
    match format {
        Format::Opus => Codec::Opus,
        Format::Pcmu => Codec::Pcmu,
        Format::Pcma => Codec::Pcma,
        Format::G722 => Codec::G722,
    }
}
