//! The media half of a shard's control boundary: tracks, gates, subscriptions, clips.

use std::collections::BTreeMap;
use std::sync::Arc;

use mediaserver_proto::codec::{Codec, Feedback, MediaKind, Payload};
use mediaserver_proto::io::TransmitQueue;
use mediaserver_proto::player;
use mediaserver_proto::rtp::{Ssrc, Token};
use mediaserver_proto::sfu::{
    ClipId, DownTrackConfig, DownTrackId, Gate, Target, TransportId, UpTrackConfig, UpTrackId, UpTrackUpdate,
};
use mediaserver_proto::time::Time;

use crate::command::{self, Action, Kind};
use crate::shard::{Refusal, ShardControl, milliseconds};

impl ShardControl {
    pub(crate) fn apply_media(
        &mut self,
        id: u64,
        action: Action,
        now: Time,
        out: &mut TransmitQueue,
    ) -> Result<(), Refusal> {
        let endpoint = &mut self.endpoint;
        match action {
            Action::SetExtensions { extensions } => {
                let extensions = extensions.iter().map(|extension| (extension.id, extension.uri.as_str()));
                endpoint.set_extensions(id, extensions)?;
            }
            Action::SetLimits { send_bps, receive_bps } => {
                endpoint.set_limits(id, send_bps, receive_bps, now)?;
                self.links.grant(id, receive_bps, out);
            }
            Action::AddUpTrack { transport, kind, mid, payloads, ssrcs, rtx_ssrcs, rids, closed_gates } => {
                let config = UpTrackConfig {
                    id: UpTrackId(id),
                    transport: TransportId(transport),
                    kind: kind.into(),
                    mid: read_mid(mid)?,
                    payloads: read_payloads(payloads),
                    ssrcs: ssrcs.into_iter().map(Ssrc).collect(),
                    rtx_ssrcs: read_rtx_ssrcs(&rtx_ssrcs),
                    rids: read_rids(&rids)?,
                    closed_gates: closed_gates.iter().map(|gate| read_gate(gate)).collect::<Result<_, _>>()?,
                };
                endpoint.add_up_track(config, now)?;
            }
            Action::UpdateUpTrack { payloads, ssrcs, rtx_ssrcs, rids } => {
                let update = UpTrackUpdate {
                    payloads: read_payloads(payloads),
                    ssrcs: ssrcs.into_iter().map(Ssrc).collect(),
                    rtx_ssrcs: read_rtx_ssrcs(&rtx_ssrcs),
                    rids: read_rids(&rids)?,
                };
                endpoint.update_up_track(id, update, now)?;
            }
            Action::SetGate { gate, open } => endpoint.set_gate(id, read_gate(&gate)?, open, now)?,
            Action::WatchSpeech { on } => endpoint.watch_speech(id, on)?,
            Action::RequestKeyframe => endpoint.request_keyframe(id, now)?,
            Action::RemoveUpTrack => endpoint.remove_up_track(id)?,
            Action::AddDownTrack { transport, kind, mid, ssrc, rtx_ssrc, cname, payloads } => {
                let config = DownTrackConfig {
                    id: DownTrackId(id),
                    transport: TransportId(transport),
                    kind: kind.into(),
                    mid: read_mid(mid)?,
                    ssrc: Ssrc(ssrc),
                    rtx_ssrc: rtx_ssrc.map(Ssrc),
                    cname,
                    payloads: read_payloads(payloads),
                };
                endpoint.add_down_track(config)?;
            }
            Action::UpdateDownTrack { payloads, active } => {
                endpoint.update_down_track(id, &read_payloads(payloads), active, now)?;
            }
            Action::SetDownTrackTarget(target) => endpoint.set_target(id, read_target(&target), now)?,
            Action::RemoveDownTrack => endpoint.remove_down_track(id, now, out)?,
            Action::Subscribe { up } => endpoint.subscribe(id, up, now)?,
            Action::Unsubscribe => endpoint.unsubscribe(id, now)?,
            Action::Play { ids, clip, repeat } => endpoint.play(&ids, clip, repeat, now)?,
            Action::StopPlaying { ids } => endpoint.stop_playing(&ids, now)?,
            Action::SendDtmf { digits, duration_ms, gap_ms } => {
                endpoint.send_dtmf(id, &digits, milliseconds(duration_ms), milliseconds(gap_ms), now)?;
            }
            // Handled before it comes here: transports by `apply`, clips by the engine.
            _ => return Err(Refusal::Invalid("command for a shard")),
        }
        Ok(())
    }
}

impl From<Kind> for MediaKind {
    fn from(kind: Kind) -> MediaKind {
        match kind {
            Kind::Audio => MediaKind::Audio,
            Kind::Video => MediaKind::Video,
        }
    }
}

/// The clip as the player takes it. Refused when a codec is unknown or timestamps fall.
pub(crate) fn read_clip(id: u64, tracks: Vec<command::ClipTrack>) -> Result<Arc<player::Clip>, &'static str> {
    let duration_ms = tracks.iter().map(|track| track.duration_ms).max().ok_or("invalid clip: it has no tracks")?;
    let tracks = tracks.into_iter().map(read_clip_track).collect::<Result<_, _>>()?;
    Ok(Arc::new(player::Clip { id: ClipId(id), tracks, duration: milliseconds(duration_ms) }))
}

fn read_clip_track(track: command::ClipTrack) -> Result<player::ClipTrack, &'static str> {
    let payload = Payload {
        payload_type: 0,
        name: track.codec,
        clock_rate: track.clock_rate,
        channels: track.channels,
        parameters: track.fmtp.into_iter().collect(),
        feedback: Feedback::default(),
    };
    let codec = Codec::from_payload(&payload).ok_or("invalid clip: unknown codec")?;
    if track.packets.windows(2).any(|pair| pair[1].timestamp < pair[0].timestamp) {
        return Err("invalid clip: a timestamp is earlier than the one before it");
    }
    if track.packets.iter().any(|packet| packet.payload.len() > MOST_CLIP_PAYLOAD) {
        return Err("invalid clip: a payload is longer than 1300 bytes");
    }
    let packets = track.packets.into_iter().map(|packet| player::ClipPacket {
        timestamp: packet.timestamp,
        marker: packet.marker,
        payload: packet.payload.into_vec(),
    });
    Ok(player::ClipTrack { codec, packets: packets.collect() })
}

/// What always fits into a datagram with header, extensions and tag.
const MOST_CLIP_PAYLOAD: usize = 1300;

fn read_payloads(payloads: Vec<command::Payload>) -> Vec<Payload> {
    payloads
        .into_iter()
        .map(|payload| Payload {
            payload_type: payload.pt,
            name: payload.codec,
            clock_rate: payload.clock_rate,
            channels: payload.channels,
            feedback: Feedback::from_values(payload.feedback.iter().map(String::as_str)),
            parameters: payload.fmtp.into_iter().collect(),
        })
        .collect()
}

fn read_mid(mid: Option<String>) -> Result<Option<Token>, Refusal> {
    mid.map(|mid| Token::new(mid.as_bytes()).ok_or(Refusal::Invalid("mid"))).transpose()
}

fn read_rids(rids: &[String]) -> Result<Vec<Token>, Refusal> {
    rids.iter().map(|rid| Token::new(rid.as_bytes()).ok_or(Refusal::Invalid("rid"))).collect()
}

fn read_rtx_ssrcs(ssrcs: &BTreeMap<u32, u32>) -> Vec<(Ssrc, Ssrc)> {
    ssrcs.iter().map(|(&rtx, &media)| (Ssrc(rtx), Ssrc(media))).collect()
}

fn read_target(target: &command::Target) -> Target {
    Target {
        max_width: target.max_width.unwrap_or(u16::MAX),
        max_height: target.max_height.unwrap_or(u16::MAX),
        max_macroblocks: target.max_macroblocks.unwrap_or(u32::MAX),
        max_spatial: target.max_spatial.unwrap_or(u8::MAX),
        max_temporal: target.max_temporal.unwrap_or(u8::MAX),
        max_bitrate_bps: target.max_bitrate_bps.unwrap_or(u32::MAX),
        strict: target.strict,
        priority: target.priority,
        paused: target.paused,
        is_screen: target.is_screen,
    }
}

fn read_gate(name: &str) -> Result<Gate, Refusal> {
    Gate::from_name(name).ok_or(Refusal::Invalid("gate"))
}
