"""An announcement, turned once from a file into RTP payloads of every codec that a leg may have negotiated."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import av
import msgspec
from aiortc.codecs import get_encoder
from aiortc.codecs.base import Encoder
from aiortc.codecs.h264 import H264Encoder
from aiortc.codecs.vpx import Vp8Encoder
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.video.frame import PictureType, VideoFrame

from mediaserver.engine.commands import ClipPacket, ClipTrack
from mediaserver.errors import MediaServerError

# Raised whenever the packets made from the same file change, so that cached clips are made anew.
_CACHE_VERSION = 1
_VIDEO_CLOCK = 90_000
_FRAMES_PER_S = 15
_AUDIO_PACKETS_PER_S = 50
_KEYFRAME_EVERY_S = 1
_VIDEO_BITRATE_BPS = 500_000
_MAX_DURATION_S = 600


class ClipError(MediaServerError):
    """A file that cannot become an announcement; the text names the file and what is wrong with it."""


class Clip(msgspec.Struct, frozen=True):
    """A whole announcement: the same sound and picture in several codecs, all `duration_ms` long."""

    duration_ms: int
    tracks: tuple[ClipTrack, ...]


class _Format(msgspec.Struct, frozen=True):
    codec: str
    clock_rate: int
    channels: int = 1
    sample_rate: int = 0
    fmtp: Mapping[str, str] = {}

    @property
    def mime_type(self) -> str:
        return f"{'audio' if self.sample_rate else 'video'}/{self.codec}"


# RFC 3551 §4.5.2: G.722 samples at 16 kHz and yet counts its RTP timestamps at 8 kHz.
_AUDIO_FORMATS = (
    _Format("opus", 48_000, channels=2, sample_rate=48_000),
    _Format("PCMU", 8_000, sample_rate=8_000),
    _Format("PCMA", 8_000, sample_rate=8_000),
    _Format("G722", 8_000, sample_rate=16_000),
)
_VIDEO_FORMATS = (
    _Format("VP8", _VIDEO_CLOCK),
    _Format("H264", _VIDEO_CLOCK, fmtp={"profile-level-id": "42e01f", "packetization-mode": "1"}),
)


def load_clip(path: Path, *, cache_dir: Path | None = None) -> Clip:
    """Reads any file that FFmpeg can read and returns its packets.

    Takes seconds of CPU for a new file, so call it off the event loop. With `cache_dir`, the result is kept there
    under the file's digest and the next start takes it from there. Raises ClipError.
    """
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ClipError(f"announcement {path}: cannot be read: {error.strerror}") from error
    cached = cache_dir / f"{digest}.v{_CACHE_VERSION}.clip" if cache_dir else None
    if cached is not None and cached.exists():
        try:
            return msgspec.msgpack.decode(cached.read_bytes(), type=Clip)
        except msgspec.DecodeError:
            cached.unlink()  # cut short by a crash: made anew below
    clip = encode_clip(path)
    if cached is not None:
        cached.parent.mkdir(parents=True, exist_ok=True)
        partial = cached.with_suffix(".partial")
        partial.write_bytes(msgspec.msgpack.encode(clip))
        partial.replace(cached)
    return clip


def encode_clip(path: Path) -> Clip:
    """Decodes the file once per kind and encodes it once per codec. Raises ClipError."""
    sound = _decode_audio(path)
    pictures = _decode_video(path)
    if not sound and not pictures:
        raise ClipError(f"announcement {path}: has neither a sound nor a picture track")
    try:
        tracks = [_encode_audio(sound, form) for form in _AUDIO_FORMATS] if sound else []
        tracks += [_encode_video(pictures, form) for form in _VIDEO_FORMATS] if pictures else []
    except av.FFmpegError as error:
        raise ClipError(f"announcement {path}: FFmpeg cannot convert it: {error}") from error
    return Clip(duration_ms=max(track.duration_ms for track in tracks), tracks=tuple(tracks))


def _frames(path: Path, kind: str) -> Iterator[AudioFrame | VideoFrame]:
    try:
        with av.open(str(path)) as container:
            streams = [stream for stream in container.streams if stream.type == kind]
            if not streams:
                return
            for frame in container.decode(streams[0]):
                if not isinstance(frame, AudioFrame | VideoFrame):
                    continue
                if frame.time is not None and frame.time > _MAX_DURATION_S:
                    raise ClipError(f"announcement {path}: longer than {_MAX_DURATION_S} s; cut it")
                yield frame
    except av.FFmpegError as error:
        raise ClipError(f"announcement {path}: FFmpeg cannot decode it: {error}") from error


def _decode_audio(path: Path) -> list[AudioFrame]:
    return [_laid_out(frame) for frame in _frames(path, "audio") if isinstance(frame, AudioFrame)]


def _laid_out(frame: AudioFrame) -> AudioFrame:
    """The frame with its channels named: WAV files often do not say which they are, and the resampler must know."""
    layout = {"1 channels": "mono", "2 channels": "stereo"}.get(frame.layout.name)
    if layout is None:
        return frame
    named = AudioFrame(format=frame.format.name, layout=layout, samples=frame.samples)
    for old, new in zip(frame.planes, named.planes, strict=True):
        data = bytes(old)[: new.buffer_size]
        new.update(data.ljust(new.buffer_size, b"\0"))
    named.sample_rate, named.pts, named.time_base = frame.sample_rate, frame.pts, frame.time_base
    return named


def _decode_video(path: Path) -> list[VideoFrame]:
    """Frames at a steady rate: the latest picture at each tick, so that variable frame rates come out even."""
    steady: list[VideoFrame] = []
    latest: VideoFrame | None = None
    for frame in _frames(path, "video"):
        if not isinstance(frame, VideoFrame):
            continue
        while latest is not None and len(steady) / _FRAMES_PER_S < float(frame.time or 0.0):
            steady.append(latest)
        latest = frame.reformat(format="yuv420p")
    if latest is not None:
        steady.append(latest)
    return steady


def _encode_audio(frames: Sequence[AudioFrame], form: _Format) -> ClipTrack:
    """Twenty milliseconds a packet, as every phone takes them (RFC 3551 §4.2)."""
    samples = form.sample_rate // _AUDIO_PACKETS_PER_S
    resampler = AudioResampler(format="s16", layout="mono", rate=form.sample_rate, frame_size=samples)
    encoder = _encoder(form)
    packets: list[ClipPacket] = []
    position = 0
    for source in [*frames, None]:
        for frame in resampler.resample(source):
            if frame.samples < samples:
                continue  # the last fraction of a frame
            frame.pts, frame.time_base = position, Fraction(1, form.sample_rate)
            position += samples
            payloads, _ = encoder.encode(frame)
            packets += [
                ClipPacket(
                    timestamp=(len(packets) + n) * form.clock_rate // _AUDIO_PACKETS_PER_S,
                    marker=len(packets) + n == 0,
                    keyframe=True,
                    payload=payload,
                )
                for n, payload in enumerate(payloads)
            ]
    return _track(form, packets, duration_ms=len(packets) * 1000 // _AUDIO_PACKETS_PER_S)


def _encode_video(frames: Sequence[VideoFrame], form: _Format) -> ClipTrack:
    encoder = _encoder(form)
    if isinstance(encoder, Vp8Encoder | H264Encoder):
        encoder.target_bitrate = _VIDEO_BITRATE_BPS
    packets: list[ClipPacket] = []
    for number, frame in enumerate(frames):
        keyframe = number % (_FRAMES_PER_S * _KEYFRAME_EVERY_S) == 0
        timestamp = number * _VIDEO_CLOCK // _FRAMES_PER_S
        # The same frame object may stand for several ticks and codecs; what a tick decides is set anew each time.
        frame.pts, frame.time_base, frame.pict_type = timestamp, Fraction(1, _VIDEO_CLOCK), PictureType.NONE
        payloads, _ = encoder.encode(frame, force_keyframe=keyframe)
        packets += [
            ClipPacket(timestamp=timestamp, marker=n == len(payloads) - 1, keyframe=keyframe, payload=payload)
            for n, payload in enumerate(payloads)
        ]
    return _track(form, packets, duration_ms=len(frames) * 1000 // _FRAMES_PER_S)


def _track(form: _Format, packets: list[ClipPacket], duration_ms: int) -> ClipTrack:
    return ClipTrack(
        codec=form.codec,
        clock_rate=form.clock_rate,
        channels=form.channels,
        fmtp=form.fmtp,
        packets=tuple(packets),
        duration_ms=duration_ms,
    )


def _encoder(form: _Format) -> Encoder:
    return get_encoder(
        RTCRtpCodecParameters(mimeType=form.mime_type, clockRate=form.clock_rate, channels=form.channels)
    )
