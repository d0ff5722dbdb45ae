"""Parts of the load tester that need no daemon: the pace, the verdict, the files, another server's wire format."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.generator import VIDEO, layers
from benchmarks.load_result import Levels, Result, Second
from benchmarks.load_scenarios import Pace
from benchmarks.peer_media import IDS, RIDS, PeerMedia
from benchmarks.sfu_livekit import field, fields
from benchmarks.sfu_plot import draw
from benchmarks.webrtc_client import Identity, Peer


def test_arrivals_keep_the_rate() -> None:
    times = Pace(rate=4, hold_s=1, ramp_s=0, duration_s=2).arrivals()
    assert times == [0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75]


def test_a_ramp_rises_in_a_straight_line() -> None:
    times = Pace(rate=10, hold_s=1, ramp_s=4, duration_s=6).arrivals()
    # Half as many in the ramp as at full rate, and a quarter of those in its first half.
    assert sum(at < 4 for at in times) == 20
    assert sum(at < 2 for at in times) == 5
    assert sum(4 <= at < 6 for at in times) == 20


def _second(at_s: float, **values: float) -> Second:
    return Second(at_s=at_s, present=1, joined=1, failed=0, **values)


def test_service_levels_are_judged_one_by_one() -> None:
    result = Result("broadcast", join_ms=[100.0] * 18 + [900.0] * 2, expected=1000, received=990)
    result.failures["whep_503"] += 2
    assert result.missed(Levels()) == []
    assert result.missed(Levels(max_join_ms=1000, max_loss=0.02, max_failed=2)) == []
    assert len(result.missed(Levels(max_join_ms=800, max_loss=0.005, max_failed=1))) == 3
    result.wrong = 1
    assert len(result.missed(Levels())) == 1


def test_nobody_joining_misses_every_join_time() -> None:
    assert Result("call").missed(Levels(max_join_ms=5000))


def test_one_bad_second_is_not_saturation_and_many_are() -> None:
    fine = [_second(at, busy=0.2) for at in range(30)]
    assert Result("call", seconds=[*fine, _second(30, busy=1.0)]).saturation() == []
    (reason,) = Result("call", seconds=[*fine, *(_second(at, busy=1.0) for at in range(10))]).saturation()
    assert "core" in reason


def test_csv_has_a_row_for_each_second(tmp_path: Path) -> None:
    result = Result("call", seconds=[_second(1.0), _second(2.0, loss=0.25)])
    (path,) = result.write(tmp_path / "run", ["csv"], Levels())
    lines = path.read_text().splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("at_s,present,joined,failed,")
    assert "0.25" in lines[2]


def test_protobuf_fields_are_written_and_read_back() -> None:
    inner = field(1, "offer") + field(2, "v=0\r\n" * 100)
    message = field(3, inner) + field(2, 300) + field(14, 0)
    assert list(fields(message)) == [(3, inner), (2, 300), (14, 0)]
    # As in the format's own documentation: field 1, the number 150.
    assert field(1, 150) == bytes([0x08, 0x96, 0x01])
    for cut in (message[:-1], message[:5], b"\x0b"):
        with pytest.raises(ValueError, match=r"over the end|wire type"):
            list(fields(cut))


def test_an_answer_mirrors_what_was_offered() -> None:
    offering, answering = (Peer(Identity(), sends=sends, kinds=("audio", "video")) for sends in (True, False))
    try:
        answer = answering.answer(offering.offer())
        assert answer.count("a=recvonly") == 2
        assert "a=group:BUNDLE 0 1" in answer
        assert "a=rtpmap:96 VP8/90000" in answer
        assert offering.answer(answer).count("a=sendonly") == 2
    finally:
        offering.close()
        answering.close()


def _no_transport(mid: str) -> list[str]:
    return [f"a=mid:{mid}"]


def test_a_simulcast_publisher_names_layers_and_no_ssrc() -> None:
    media = PeerMedia(("audio", "video"), sends=True, receives=False, simulcast=True, repair=True)
    offer = "\r\n".join(media.offer(_no_transport)) + "\r\n"
    audio, video = offer.split("m=video")
    assert "a=simulcast:send q;h;f" in video
    assert "a=ssrc:" not in video
    assert "a=ssrc:" in audio
    media.learn(offer)
    tracks = [media.source("video", rid) for rid in RIDS]
    assert {track["mid"] for track in tracks} == {"1"}
    assert tracks[0]["extensions"] == IDS
    numbers = {track[name] for track in tracks for name in ("ssrc", "rtx_ssrc")}
    assert len(numbers) == 6


def test_a_peer_without_feedback_offers_and_takes_keyframe_requests_alone() -> None:
    media = PeerMedia(("video",), sends=True, receives=False, feedback=False)
    talkative = PeerMedia(("video",), sends=True, receives=False, repair=True)
    theirs = "\n".join(talkative.offer(_no_transport)) + "\n"
    for lines in (media.offer(_no_transport), media.answer(theirs, _no_transport)):
        feedback = sorted(line for line in lines if line.startswith("a=rtcp-fb"))
        assert feedback == ["a=rtcp-fb:96 ccm fir", "a=rtcp-fb:96 nack pli"]
        assert not any("transport-wide" in line for line in lines)
    media.learn(theirs)
    assert media.source("video")["extensions"]["twcc"] == 0


def test_layers_end_with_the_stream_that_was_asked_for() -> None:
    small, middle, large = layers(VIDEO)
    assert (large.burst, large.width, large.rid) == (VIDEO.burst, VIDEO.width, "f")
    assert small.packets_per_s < middle.packets_per_s < large.packets_per_s
    assert (small.width, middle.width) == (160, 320)


def test_the_cost_of_receivers_is_drawn(tmp_path: Path) -> None:
    path = tmp_path / "cost.png"
    draw({"mediaserver": [(1, 5.0), (300, 1.2)], "janus": [(1, 20.0), (300, 18.0)], "livekit": []}, path, "test")
    assert path.read_bytes().startswith(b"\x89PNG")
