"""Announcements: every codec of one clip is equally long, begins with a keyframe, and is cached."""

from __future__ import annotations

from pathlib import Path

import pytest

import mediaserver.media
from mediaserver.media.clip import Clip, ClipError, encode_clip, load_clip
from tests.peers.tone import write_tone

GREETING = Path(mediaserver.media.__file__).with_name("greeting.webm")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clips")


@pytest.fixture(scope="module")
def clip(cache: Path) -> Clip:
    return load_clip(GREETING, cache_dir=cache)


def test_the_greeting_comes_in_every_codec_a_leg_may_have(clip: Clip) -> None:
    assert {track.codec for track in clip.tracks} == {"opus", "PCMU", "PCMA", "G722", "VP8", "H264"}
    assert all(abs(track.duration_ms - clip.duration_ms) <= 200 for track in clip.tracks)


def test_audio_leaves_every_20_ms_of_its_clock(clip: Clip) -> None:
    for track in clip.tracks:
        if track.clock_rate != 90_000:
            steps = {b.timestamp - a.timestamp for a, b in zip(track.packets, track.packets[1:], strict=False)}
            assert steps == {track.clock_rate // 50}


def test_video_begins_with_a_keyframe_and_marks_the_end_of_each_picture(clip: Clip) -> None:
    for track in clip.tracks:
        if track.clock_rate != 90_000:
            continue
        assert track.packets[0].keyframe
        last_of_picture = [a.timestamp != b.timestamp for a, b in zip(track.packets, track.packets[1:], strict=False)]
        assert [packet.marker for packet in track.packets] == [*last_of_picture, True]
        keyframes = {packet.timestamp for packet in track.packets if packet.keyframe}
        assert len(keyframes) >= clip.duration_ms // 1000


def test_packets_fit_into_a_datagram(clip: Clip) -> None:
    assert max(len(packet.payload) for track in clip.tracks for packet in track.packets) <= 1300


def test_the_second_load_comes_from_the_cache_and_a_broken_cache_is_made_anew(clip: Clip, cache: Path) -> None:
    (kept,) = cache.iterdir()
    assert load_clip(GREETING, cache_dir=cache) == clip
    kept.write_bytes(kept.read_bytes()[:1000])
    assert load_clip(GREETING, cache_dir=cache).duration_ms == clip.duration_ms


@pytest.mark.parametrize("content", [b"", b"this is no media file" * 100])
def test_what_ffmpeg_cannot_read_is_named(tmp_path: Path, content: bytes) -> None:
    broken = tmp_path / "greeting.mp4"
    broken.write_bytes(content)
    with pytest.raises(ClipError, match=r"greeting\.mp4"):
        load_clip(broken)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ClipError, match="cannot be read"):
        load_clip(tmp_path / "nowhere.mp4")


@pytest.mark.parametrize("channels", [1, 2])
def test_a_wav_file_that_does_not_name_its_channels_is_encoded(tmp_path: Path, channels: int) -> None:
    clip = encode_clip(write_tone(tmp_path / "tone.wav", rate=8000, channels=channels, hz=440, seconds=1))
    assert 980 <= clip.duration_ms <= 1000  # the resampler keeps the last fraction of a packet
    assert {track.codec for track in clip.tracks} == {"opus", "PCMU", "PCMA", "G722"}
    loud = {track.codec: track.packets[10].payload for track in clip.tracks}
    assert len(set(loud["PCMU"])) > 10  # a tone, and no silence
