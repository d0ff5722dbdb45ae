"""Fragments of WHIP and WHEP: trickled candidates and ICE restarts."""

from __future__ import annotations

import pytest

from mediaserver.sdp.description import Candidate, Fingerprint, SdpError
from mediaserver.webrtc.sdpfrag import Fragment, parse_fragment, restart_answer, write_fragment
from mediaserver.webrtc.section import LocalIceParams

# RFC 9725 §4.3.2 and §4.3.3, figures 4 and 5.
TRICKLE = """a=group:BUNDLE 0 1
m=audio 9 UDP/TLS/RTP/SAVPF 111
a=mid:0
a=ice-ufrag:EsAw
a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1
a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag EsAw network-id 1
a=candidate:473322822 1 tcp 1518280447 host.local 9 typ host tcptype active generation 0 ufrag EsAw network-id 1
a=end-of-candidates
"""
RESTART = """a=ice-options:trickle ice2
a=group:BUNDLE 0 1
m=audio 9 UDP/TLS/RTP/SAVPF 111
a=mid:0
a=ice-ufrag:ysXw
a=ice-pwd:vw5LmwG4y/e6dPP/zAP9Gp5k
"""


def candidates_of(fragment: Fragment) -> list[Candidate]:
    return [candidate for section in fragment.sections for candidate in section.candidates]


def test_trickled_candidates_are_read() -> None:
    fragment = parse_fragment(TRICKLE.replace("\n", "\r\n"))
    assert [candidate.address for candidate in candidates_of(fragment)] == ["192.0.2.1", "host.local"]
    assert (fragment.sections[0].mid, fragment.sections[0].end_of_candidates) == ("0", True)
    assert not fragment.restarts("EsAw", "P2uYro0UCOQ4zxjKXaWCBui1")


def test_new_credentials_are_a_restart() -> None:
    fragment = parse_fragment(RESTART)
    assert fragment.restarts("EsAw", "P2uYro0UCOQ4zxjKXaWCBui1")
    assert (fragment.ufrag, fragment.pwd) == ("ysXw", "vw5LmwG4y/e6dPP/zAP9Gp5k")


def test_a_new_ufrag_without_its_password_is_refused() -> None:
    with pytest.raises(SdpError, match="ice-pwd"):
        parse_fragment("a=ice-ufrag:ysXw\n").restarts("EsAw", "x")


def test_a_fragment_without_credentials_is_no_restart() -> None:
    assert not parse_fragment("a=end-of-candidates\n").restarts("EsAw", "x")


def test_a_restart_is_answered_with_our_credentials_and_candidates() -> None:
    tcp = (("192.0.2.9", 10001),)
    local = LocalIceParams("ours", "p" * 24, (("192.0.2.9", 10000),), Fingerprint("sha-256", bytes(32)), tcp)
    text = restart_answer(parse_fragment(RESTART), local)
    assert text.startswith("a=ice-lite\r\na=ice-ufrag:ours\r\n")
    answer = parse_fragment(text)
    assert (answer.ufrag, answer.pwd, answer.sections[0].mid) == ("ours", "p" * 24, "0")
    assert [(candidate.transport, candidate.port) for candidate in candidates_of(answer)] == [
        ("udp", 10000),
        ("tcp", 10001),
    ]
    assert answer.sections[0].end_of_candidates


def test_what_is_written_reads_the_same() -> None:
    fragment = parse_fragment(TRICKLE)
    assert parse_fragment(write_fragment(fragment)) == fragment
    assert parse_fragment(write_fragment(Fragment("abcd", "p" * 22, (), True))) == Fragment("abcd", "p" * 22, (), True)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a=candidate:1 1 udp 1 192.0.2.1 1 typ host\n", 1),
        ("m=audio 9\n", 1),
        ("m=audio 9 X 0\na=mid:0\na=candidate:rubbish\n", 3),
        ("m=audio 9 X 0\na=mid:two words\n", 2),
        ("a=ice-ufrag:x\n", 1),
        ("a=ice-ufrag:abcd\nm=audio 9 X 0\na=mid:0\na=ice-ufrag:efgh\n", 4),
        ("hello\n", 1),
        ("m=audio 9 X 0\n" * 65, 65),
    ],
)
def test_a_broken_fragment_names_its_line(text: str, line: int) -> None:
    with pytest.raises(SdpError) as caught:
        parse_fragment(text)
    assert caught.value.line == line


@pytest.mark.parametrize("text", ["m=audio 9 X 0\n", "a=x\n" * 600, "a=" + "x" * 20000])
def test_missing_mids_and_oversize_are_refused(text: str) -> None:
    with pytest.raises(SdpError):
        parse_fragment(text)
