"""The dry run: places by whatever name, the lines on the way, and what becomes of calls."""

from __future__ import annotations

import pytest

from mediaserver.call.bandwidth_check import Line, Report, UnknownPlace, check, place_of
from mediaserver.config.bandwidth import MediaKind
from mediaserver.config.loader import load_text
from mediaserver.core.sites import SiteMap

CONFIG = load_text("""
users: {ann: {secret: {env: A}}, both: {secret: {env: A}}}
trunks:
  pbx: {peers: [10.0.9.9], target: "sip:10.0.9.9", audio_codecs: [PCMA], srtp: never, bandwidth: {audio: 240 kbit/s}}
  both: {peers: [10.1.9.9], target: "sip:10.1.9.9"}
sites:
  centre: {cidrs: [10.0.0.0/16], here: true}
  munich: {cidrs: [10.1.0.0/16], links: {centre: {budget: {audio: 200 kbit/s, video: 400 kbit/s}}}}
  berlin: {cidrs: [10.2.0.0/16], users: [ann]}
  crossing: {links: {munich: {}}}
""").config


def run(start: str, end: str, *kinds: MediaKind, calls: int = 1, codec: str = "PCMA") -> Report:
    return check(
        CONFIG,
        place_of(CONFIG, start),
        place_of(CONFIG, end),
        kinds=kinds or ("audio",),
        calls=calls,
        codecs=(codec,),
    )


@pytest.mark.parametrize(
    ("text", "site"),
    [
        ("10.1.2.3", "munich"),
        ("10.1.128.0/17", "munich"),
        ("munich", "munich"),
        ("pbx", "centre"),
        ("ann", "berlin"),
        ("trunk:both", "munich"),
        ("user:both", None),
        ("192.0.2.1", None),
    ],
)
def test_a_place_may_be_an_address_a_prefix_or_a_name(text: str, site: str | None) -> None:
    party = place_of(CONFIG, text)
    assert SiteMap(CONFIG.sites).site_of(address=party.address, trunk=party.trunk, user=party.user) == site


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("nowhere", "no IP address, no CIDR, and no site, trunk or user"),
        ("both", "say trunk:both or user:both"),
        ("site:ann", "there is no site 'ann'"),
        ("10.0.0.0/7", "centre begins it and none ends it"),
        ("crossing", "it has links only"),
    ],
)
def test_a_text_that_names_no_place_says_why(text: str, why: str) -> None:
    with pytest.raises(UnknownPlace, match=why):
        place_of(CONFIG, text)


def test_every_line_on_the_way_is_told_with_what_it_is_charged() -> None:
    report = run("munich", "pbx")
    link = next(line for line in report.lines if line.hop == "link centre/munich")
    # A browser's sound at 64 kbit/s: 72 bytes of headers, 50 times a second.
    assert link == Line(
        hop="link centre/munich",
        key="sites.munich.links.centre.budget.audio",
        kind="audio",
        budget=200_000,
        least_per_call=92_800,
        charged=92_800,
        fits=2,
    )
    assert [line.hop for line in report.lines] == ["site munich", "link centre/munich", "site centre", "trunk pbx"]
    assert (report.start_site, report.end_site, report.codec, report.fits) == ("munich", "centre", "PCMA", 2)


def test_calls_are_placed_until_the_line_is_full() -> None:
    report = run("munich", "pbx", calls=5)
    assert report.outcomes == {"admitted": 2, "refused": 3}
    assert (report.outcome, report.limits) == ("refused", ("sites.munich.links.centre.budget.audio",))


def test_pictures_take_less_and_then_none() -> None:
    report = run("munich", "user:both", "audio", "video", calls=2, codec="opus")
    assert report.outcomes == {"lower_rate": 2}
    three = check(CONFIG, place_of(CONFIG, "munich"), place_of(CONFIG, "user:both"), kinds=("video",), calls=3)
    assert three.outcomes == {"lower_rate": 2, "refused": 1}


def test_a_call_that_loses_its_picture_is_sound_only() -> None:
    one = load_text("""
sites: {munich: {cidrs: [10.1.0.0/16], budget: {video: 200 kbit/s}}}
""").config
    report = check(one, place_of(one, "munich"), place_of(one, "192.0.2.1"), kinds=("audio", "video"), calls=2)
    assert report.outcomes == {"lower_rate": 1, "audio_only": 1}


def test_a_call_that_stays_where_the_daemon_stands_passes_no_line() -> None:
    report = run("10.0.0.1", "10.0.0.2")
    assert (report.lines, report.outcome, report.fits) == ((), "admitted", None)


def test_the_number_of_calls_is_bounded() -> None:
    with pytest.raises(ValueError, match="100000"):
        run("munich", "pbx", calls=100_001)
