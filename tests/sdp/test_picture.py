"""What a description says about the size of pictures: levels, their parameters, and imageattr."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediaserver.sdp.description import Codec
from mediaserver.sdp.h264_level import decoder_level
from mediaserver.sdp.parser import parse
from mediaserver.sdp.picture import UNBOUNDED, PictureBounds, picture_bounds


def bounds(*lines: str, codec: str = "H264", ours: Codec | None = None) -> PictureBounds:
    """Those of a phone whose video section has these lines."""
    text = "\r\n".join(
        (
            *("v=0", "o=- 1 1 IN IP4 192.0.2.1", "s=-", "c=IN IP4 192.0.2.1", "t=0 0", "m=video 4000 RTP/AVP 99"),
            f"a=rtpmap:99 {codec}/90000",
            *lines,
            "",
        )
    )
    section = parse(text).media[0]
    return picture_bounds(section, section.codecs[0], ours)


# Figures of ITU-T H.264 table A-1, bit rates for NAL units (1200 bit/s a unit, 1500 in the high profile).
@pytest.mark.parametrize(
    ("profile_level_id", "idc", "macroblocks", "per_s", "bps"),
    [
        ("42e00a", 10, 99, 1_485, 76_800),
        ("42f00b", 9, 99, 1_485, 153_600),  # 1b by constraint_set3
        ("640009", 9, 99, 1_485, 192_000),  # 1b by number
        ("42e00b", 11, 396, 3_000, 230_400),
        ("42e00c", 12, 396, 6_000, 460_800),
        ("42E014", 20, 396, 11_880, 2_400_000),
        ("42801e", 30, 1_620, 40_500, 12_000_000),
        ("42e01f", 31, 3_600, 108_000, 16_800_000),
        ("640c1f", 31, 3_600, 108_000, 21_000_000),
        ("640028", 40, 8_192, 245_760, 30_000_000),
        ("420010", 13, 396, 11_880, 921_600),  # between two levels
        ("420001", 10, 99, 1_485, 76_800),
        ("4200ff", 62, 139_264, 16_711_680, 960_000_000),
    ],
)
def test_a_level_is_what_the_standard_says(
    profile_level_id: str, idc: int, macroblocks: int, per_s: int, bps: int
) -> None:
    level = decoder_level({"profile-level-id": profile_level_id})
    assert (level.idc, level.macroblocks, level.macroblocks_per_s, level.bps) == (idc, macroblocks, per_s, bps)


@pytest.mark.parametrize("fmtp", [{}, {"profile-level-id": "42e0"}, {"profile-level-id": "42e0zz"}])
def test_who_names_no_level_gets_that_of_720p(fmtp: dict[str, str]) -> None:
    assert decoder_level(fmtp).idc == 31


def test_parameters_widen_a_level_and_never_narrow_it() -> None:
    wide = {"profile-level-id": "42e00c", "max-fs": "1620", "max-mbps": "40500", "max-br": "1000"}
    level = decoder_level(wide)
    assert (level.macroblocks, level.macroblocks_per_s, level.bps) == (1_620, 40_500, 1_200_000)
    narrow = {"profile-level-id": "42e01f", "max-fs": "99", "max-mbps": "x", "max-br": "9999999999"}
    assert decoder_level(narrow) == decoder_level({"profile-level-id": "42e01f"})
    assert decoder_level({"profile-level-id": "42e00c", "max-recv-level": "e01f"}).idc == 31


def test_the_lower_level_holds_both_ways_unless_both_sides_allow_asymmetry() -> None:
    theirs, ours = {"profile-level-id": "42e028"}, {"profile-level-id": "42e01f"}
    assert decoder_level(theirs, ours).idc == 31
    allowed = {"level-asymmetry-allowed": "1"}
    assert decoder_level(theirs | allowed, ours).idc == 31
    assert decoder_level(theirs | allowed, ours | allowed).idc == 40
    assert decoder_level({"profile-level-id": "42e00c"} | allowed, ours | allowed).idc == 12


def test_a_level_bounds_area_sides_rate_and_frames() -> None:
    assert bounds("a=fmtp:99 profile-level-id=42e00c;packetization-mode=1") == PictureBounds(
        max_width=896, max_height=896, max_macroblocks=396, max_macroblocks_per_s=6_000, max_bps=460_800
    )


def test_vp8_is_bound_by_its_own_parameters_only() -> None:
    assert bounds(codec="VP8") == UNBOUNDED
    assert not bounds(codec="VP8").bounded
    limited = bounds("a=fmtp:99 max-fr=15;max-fs=396", codec="VP8")
    assert (limited.max_macroblocks, limited.max_frames_per_s, limited.max_width) == (396, 15, 896)


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ("99 recv [x=640,y=360]", (640, 360)),
        ("* send [x=1280,y=720] recv [x=[320:16:640],y=[180:360],par=[1.2-1.3],q=0.6] [x=800,y=448,q=0]", (640, 360)),
        ("99 send * recv [x=[176,352,320],y=[144,288,240]]", (352, 288)),
        ("99 recv [x=330,y=250] [x=480,y=320] send [x=1920,y=1080]", (480, 320)),
        ("99 recv *", (None, None)),
        ("99 send [x=1280,y=720]", (None, None)),
        ("98 recv [x=640,y=360]", (None, None)),
        ("99 recv [x=abc,y=360]", (None, None)),
        ("99 recv", (None, None)),
        ("99 recv [x=640,y=", (None, None)),
    ],
)
def test_imageattr_bounds_what_is_received(value: str, size: tuple[int | None, int | None]) -> None:
    found = bounds(f"a=imageattr:{value}", codec="VP8")
    assert (found.max_width, found.max_height) == size


def test_the_narrowest_of_all_that_is_said_counts() -> None:
    found = bounds("a=fmtp:99 profile-level-id=42e01f", "a=imageattr:* recv [x=640,y=360]", "a=framerate:15")
    assert (found.max_width, found.max_height, found.max_macroblocks, found.max_frames_per_s) == (640, 360, 3_600, 15)


@pytest.mark.parametrize("value", ["", "nan", "-5", "1e99", "fast"])
def test_a_frame_rate_that_is_none_bounds_nothing(value: str) -> None:
    assert bounds(f"a=framerate:{value}", codec="VP8") == UNBOUNDED


@given(st.text(st.sampled_from("[]=,:xyq*- 0123456789recvsend"), max_size=80))
def test_no_imageattr_breaks_a_description(value: str) -> None:
    found = bounds(f"a=imageattr:* recv {value}", codec="VP8")
    assert (found.max_width is None) == (found.max_height is None)


@pytest.mark.parametrize("value", ["[" * 2000, "[" + "[]" * 1000, "[x=" + "1," * 1000, "recv " * 400])
def test_long_nonsense_costs_little(value: str) -> None:
    begun = time.process_time()
    assert bounds(*[f"a=imageattr:* recv {value}"] * 20, codec="VP8") == UNBOUNDED
    assert time.process_time() - begun < 0.5
