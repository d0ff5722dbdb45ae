"""Which sound is transcoded between two legs, and what each is offered because of it."""

from __future__ import annotations

import pytest

from mediaserver.call.sip_policy import SipPolicy
from mediaserver.call.transcoding import TranscodeRule, stronger, transcoded_into, understood, widened
from mediaserver.sdp.codecs import KNOWN
from mediaserver.sdp.description import Codec

OPUS, G722, PCMU, PCMA = (KNOWN[name] for name in ("opus", "G722", "PCMU", "PCMA"))
EVENTS = KNOWN["telephone-event"]


def names(codecs: tuple[Codec, ...]) -> list[str]:
    return [codec.name for codec in codecs]


def test_the_stronger_rule_of_two_legs_counts() -> None:
    assert stronger("never", "when_needed") == "when_needed"
    assert stronger("prefer_opus", "when_needed") == "prefer_opus"


@pytest.mark.parametrize(
    ("rule", "browser", "trunk", "offered"),
    [
        ("never", (OPUS,), ("PCMA",), []),
        ("when_needed", (OPUS,), ("PCMA", "PCMU"), ["PCMA", "PCMU"]),
        ("when_needed", (OPUS, PCMU), ("PCMA", "PCMU"), ["PCMU"]),
        ("prefer_opus", (OPUS, PCMU), ("opus", "PCMA", "PCMU"), ["opus", "PCMA", "PCMU"]),
        ("prefer_opus", (), ("opus", "PCMA"), []),
    ],
)
def test_a_trunk_is_offered_what_would_be_transcoded(
    rule: TranscodeRule, browser: tuple[Codec, ...], trunk: tuple[str, ...], offered: list[str]
) -> None:
    policy = SipPolicy(trunk, (), "never", rule)
    codecs = {"audio": browser} if browser else {}
    assert names(policy.towards(codecs).get("audio", ())) == offered


def test_a_picture_is_never_transcoded() -> None:
    codecs = {"video": (KNOWN["VP8"],)}
    assert widened(codecs, ("PCMA",), "prefer_opus") == codecs


@pytest.mark.parametrize(
    ("rule", "own", "theirs", "spoken"),
    [
        ("never", (OPUS,), (PCMA,), ["PCMA"]),
        ("when_needed", (OPUS,), (PCMA,), ["opus"]),
        ("when_needed", (OPUS, PCMA), (PCMA,), ["PCMA"]),
        ("prefer_opus", (OPUS, PCMA), (PCMA,), ["opus"]),
        ("prefer_opus", (G722, PCMA), (PCMA,), ["PCMA"]),
        ("prefer_opus", (OPUS,), (OPUS, PCMA), ["opus", "PCMA"]),
    ],
)
def test_a_leg_speaks_what_is_transcoded_for_it(
    rule: TranscodeRule, own: tuple[Codec, ...], theirs: tuple[Codec, ...], spoken: list[str]
) -> None:
    assert names(understood({"audio": own}, {"audio": theirs}, rule)["audio"]) == spoken


@pytest.mark.parametrize(
    ("rule", "sent", "taken", "expected"),
    [
        ("when_needed", (OPUS, EVENTS), (PCMA, EVENTS), (OPUS, PCMA)),
        ("when_needed", (PCMA, OPUS), (PCMA,), None),
        ("when_needed", (PCMA,), (OPUS, PCMA), None),
        ("prefer_opus", (PCMA,), (OPUS, PCMA), (PCMA, OPUS)),
        ("prefer_opus", (PCMA,), (PCMA, OPUS), None),
        ("prefer_opus", (OPUS, PCMA), (PCMA,), (OPUS, PCMA)),
        ("never", (OPUS,), (PCMA,), None),
        ("when_needed", (), (PCMA,), None),
        ("when_needed", (EVENTS,), (PCMA,), None),
    ],
)
def test_one_direction_is_transcoded_only_where_the_rule_says_so(
    rule: TranscodeRule, sent: tuple[Codec, ...], taken: tuple[Codec, ...], expected: tuple[Codec, Codec] | None
) -> None:
    assert transcoded_into(sent, taken, rule) == expected
