"""When two codecs are the same, and what two legs have in common."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from mediaserver.errors import NegotiationError
from mediaserver.sdp.codecs import (
    KNOWN,
    PayloadTypes,
    bridgeable,
    events_for,
    h264_family,
    intersect,
    matches,
    offerable,
)
from mediaserver.sdp.description import Codec
from mediaserver.sdp.parser import parse

DATA = Path(__file__).parents[1] / "data" / "sdp"


def h264(profile: str | None = None, mode: str | None = None, pt: int = 96) -> Codec:
    fmtp = {"profile-level-id": profile, "packetization-mode": mode}
    return Codec(pt, "H264", 90000, 1, {key: value for key, value in fmtp.items() if value is not None})


def offered(name: str, kind: str) -> tuple[Codec, ...]:
    return next(media for _, media in parse((DATA / f"{name}.sdp").read_bytes()).of_kind(kind)).codecs


@pytest.mark.parametrize(
    ("profile", "family"),
    [
        (None, "baseline"),
        ("42e01f", "baseline"),
        ("42001f", "baseline"),
        ("428016", "baseline"),
        ("4DE01F", "baseline"),
        ("58C01F", "baseline"),
        ("4d001f", "main"),
        ("58001f", "extended"),
        ("64001f", "high"),
        ("640c34", "high"),
        ("f4001f", "f4"),
        ("nonsense", "invalid"),
        ("-42e01", "invalid"),
        ("42e0", "invalid"),
    ],
)
def test_h264_profiles_fall_into_families(profile: str | None, family: str) -> None:
    assert h264_family(h264(profile)) == family


def test_h264_levels_do_not_count_but_modes_do_and_absent_is_zero() -> None:
    assert matches(h264("42e01f", "1"), h264("428016", "1"))
    assert matches(h264("42e01f", "0"), h264("42e034"))
    assert not matches(h264("42e01f", "1"), h264("42e01f"))
    assert not matches(h264("42e01f", "1"), h264("640c34", "1"))
    assert not matches(h264("bad", "1"), h264("bad", "1"))


def test_names_match_in_any_case_and_clocks_and_channels_count() -> None:
    assert matches(Codec(0, "pcmu", 8000), KNOWN["PCMU"])
    assert matches(Codec(9, "G722", 16000), KNOWN["G722"])
    assert not matches(Codec(96, "opus", 48000, 1), KNOWN["opus"])
    assert not matches(Codec(96, "PCMU", 16000), KNOWN["PCMU"])


def test_vp9_and_av1_compare_their_profile() -> None:
    assert matches(Codec(1, "VP9", 90000), Codec(2, "VP9", 90000, 1, {"profile-id": "0"}))
    assert not matches(Codec(1, "VP9", 90000), Codec(2, "VP9", 90000, 1, {"profile-id": "2"}))
    assert not matches(Codec(1, "AV1", 90000), Codec(2, "AV1", 90000, 1, {"profile": "1"}))


def test_an_intersection_keeps_the_offerers_payload_types_in_our_order() -> None:
    found = intersect(offered("baresip_plain", "audio"), (KNOWN["opus"], KNOWN["PCMA"]))
    assert [(codec.pt, codec.name) for codec in found] == [(96, "opus"), (8, "PCMA")]


def test_the_profile_written_alike_comes_first_among_h264_entries() -> None:
    found = intersect(offered("chromium_sendrecv", "video"), (KNOWN["H264"],))
    assert [codec.fmtp["profile-level-id"] for codec in found] == ["42e01f", "42001f"]


def test_events_have_the_clock_of_the_codecs_chosen() -> None:
    events = offered("chromium_sendrecv", "audio")
    assert [codec.pt for codec in events_for([KNOWN["PCMU"]], events)] == [126]
    assert [codec.pt for codec in events_for([KNOWN["opus"], KNOWN["PCMU"]], events)] == [110, 126]
    assert events_for([KNOWN["opus"]], offered("baresip_plain", "audio")) == ()


def shown(codecs: Sequence[Codec]) -> list[tuple[int, str]]:
    return [(codec.pt, f"{codec.name}/{codec.clock_rate}") for codec in codecs]


def test_what_a_browser_can_do_is_offered_to_a_phone_under_our_payload_types() -> None:
    wanted = (KNOWN["PCMU"], KNOWN["opus"], *offered("chromium_sendrecv", "audio"))
    assert shown(offerable(wanted, PayloadTypes())) == [
        (0, "PCMU/8000"),
        (96, "opus/48000"),
        (9, "G722/8000"),
        (8, "PCMA/8000"),
        (97, "telephone-event/8000"),
        (98, "telephone-event/48000"),
    ]


def test_payload_types_of_one_description_do_not_collide_across_kinds() -> None:
    payload_types = PayloadTypes()
    audio = offerable((KNOWN["opus"],), payload_types)
    video = offerable((KNOWN["VP8"],), payload_types, feedback=("nack pli",))
    assert shown((*audio, *video)) == [(96, "opus/48000"), (97, "telephone-event/48000"), (98, "VP8/90000")]
    assert video[0].feedback == ("nack pli",)


def test_a_phone_is_offered_the_baseline_profile_alone_where_the_browser_has_it() -> None:
    video = offerable(offered("chromium_sendrecv", "video"), PayloadTypes())
    profiles = {codec.fmtp["profile-level-id"] for codec in video if codec.name == "H264"}
    assert profiles <= {"42e01f", "42001f"}
    high = Codec(100, "H264", 90000, 1, {"packetization-mode": "1", "profile-level-id": "640c34"})
    assert [codec.fmtp["profile-level-id"] for codec in offerable((high,), PayloadTypes())] == ["640c34"]


def test_two_legs_meet_in_the_phones_order_with_a_payload_type_each() -> None:
    browser = {kind: offered("chromium_sendrecv", kind) for kind in ("audio", "video")}
    phone = {kind: offered("baresip_plain", kind) for kind in ("audio", "video")}
    bridge = bridgeable(browser, phone)
    assert [(pair.browser.pt, pair.phone.pt) for pair in bridge.codecs["audio"]] == [(0, 0), (8, 8), (9, 9), (111, 96)]
    assert [(pair.browser.pt, pair.phone.pt) for pair in bridge.codecs["video"]] == [(114, 96), (108, 97), (96, 100)]
    assert bridge.refused == {}


def test_firefox_without_h264_meets_a_phone_in_vp8() -> None:
    browser = {kind: offered("firefox_sendrecv", kind) for kind in ("audio", "video")}
    phone = {kind: offered("baresip_plain", kind) for kind in ("audio", "video")}
    assert [pair.browser.name for pair in bridgeable(browser, phone).codecs["video"]] == ["VP8"]


def test_video_that_cannot_meet_stays_away_and_says_why() -> None:
    browser = {"audio": offered("safari_h264_only", "audio"), "video": offered("safari_h264_only", "video")}
    phone = {"audio": [KNOWN["PCMU"]], "video": [h264("42e01f", "0")]}
    bridge = bridgeable(browser, phone)
    assert "video" not in bridge.codecs
    assert "packetization-mode=1, profile-level-id=640c34" in bridge.refused["video"]
    assert "the phone has H264/90000 (packetization-mode=0" in bridge.refused["video"]


def test_sound_that_cannot_meet_is_a_305_that_names_both_sides() -> None:
    with pytest.raises(NegotiationError, match=r"browser has opus/48000/2; the phone has G729/8000") as caught:
        bridgeable({"audio": [KNOWN["opus"]]}, {"audio": [Codec(18, "G729", 8000)]})
    assert caught.value.warning_code == 305


def test_a_phone_without_video_gets_sound_only() -> None:
    bridge = bridgeable({"audio": [KNOWN["PCMU"]], "video": [KNOWN["VP8"]]}, {"audio": [KNOWN["PCMU"]]})
    assert list(bridge.codecs) == ["audio"]
    assert bridge.refused["video"].endswith("the phone has none.")


def test_nothing_on_either_side_is_refused() -> None:
    with pytest.raises(NegotiationError, match="Neither"):
        bridgeable({}, {"audio": []})
