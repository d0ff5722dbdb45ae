"""Commands about sound that the engine itself makes: announcements, keys, other codecs, mixing."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from mediaserver.engine.commands.command import Command


class ClipPacket(msgspec.Struct, frozen=True, kw_only=True):
    """One RTP payload of a clip."""

    timestamp: int
    """Clock units since the start of the clip."""
    marker: bool
    keyframe: bool
    payload: bytes


class ClipTrack(msgspec.Struct, frozen=True, kw_only=True):
    """One encoding of a clip; a down track takes the one that its peer can decode."""

    codec: str
    clock_rate: int
    channels: int = 1
    fmtp: Mapping[str, str] = {}
    packets: tuple[ClipPacket, ...]
    duration_ms: int


class LoadClip(Command, frozen=True, kw_only=True, tag="load_clip"):
    """Keep packets for playing, on every shard."""

    tracks: tuple[ClipTrack, ...]


class UnloadClip(Command, frozen=True, kw_only=True, tag="unload_clip"):
    """Forget a clip; what plays now plays on to its end."""


class Play(Command, frozen=True, kw_only=True, tag="play"):
    """Start the down tracks `ids` together with a clip, in place of their source until it ends. `id` is the clip."""

    ids: tuple[int, ...]
    clip: int
    loop: bool = False


class StopPlaying(Command, frozen=True, kw_only=True, tag="stop_playing"):
    """End clips on the down tracks `ids`; `id` is any of them."""

    ids: tuple[int, ...]


class SendDtmf(Command, frozen=True, kw_only=True, tag="send_dtmf"):
    """Send digits as telephone events (RFC 4733) on a down track."""

    digits: str
    duration_ms: int = 160
    gap_ms: int = 60


class OpenTranscoder(Command, frozen=True, kw_only=True, tag="open_transcoder"):
    """Makes an up track of its own out of another one, in another codec; the id is on an audio thread.

    Codec names are those of `a=rtpmap`. Refused with `limit transcodes` when all are in use."""

    source: int
    """The up track that is decoded, on any shard."""
    source_codec: str
    """What it sends; when something else comes, that is decoded."""
    codec: str
    """What it becomes, in frames of 20 ms."""


class CloseTranscoder(Command, frozen=True, kw_only=True, tag="close_transcoder"):
    """Ends a transcoder; those who are subscribed to it hear nothing more."""


class MixVoice(msgspec.Struct, frozen=True, kw_only=True):
    """Whose sound goes into a mix."""

    source: int
    """An up track on any shard."""
    codec: str
    """What it sends; when something else comes, that is decoded."""
    judged: bool = True
    """Whether `SpeechChanged` is to be made of what is decoded; not where `WatchSpeech` makes it of what packets say."""


class MixListener(msgspec.Struct, frozen=True, kw_only=True):
    """Who hears a mix."""

    id: int
    """The up track that is made for it: an id on the audio thread of the mix."""
    codec: str
    """What it gets, in frames of 20 ms."""
    without: tuple[int, ...] = ()
    """Sources that it does not hear: its own, and those that are not meant for it."""


class SetMix(Command, frozen=True, kw_only=True, tag="set_mix"):
    """Makes a mix, or makes it what it is to be from now on; the id is on an audio thread.

    Each voice is decoded once, each listener gets the sum of all voices but those `without`. Who stays is not disturbed.
    `SpeechChanged` follows for each `judged` source that speaks louder or quieter. Refused as a whole with
    `limit mixed_legs` when all are in use, or with more than 64 voices or listeners."""

    voices: tuple[MixVoice, ...]
    listeners: tuple[MixListener, ...]


class CloseMix(Command, frozen=True, kw_only=True, tag="close_mix"):
    """Ends a mix; those who are subscribed to its tracks hear nothing more."""
