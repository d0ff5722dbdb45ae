"""Whatever is thrown at the parser: an SdpError or a description that survives writing and reading."""

from __future__ import annotations

from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mediaserver.errors import NegotiationError, RemoteProtocolError
from mediaserver.sdp.codecs import AUDIO_CODECS, KNOWN, VIDEO_CODECS, is_media, matches
from mediaserver.sdp.description import Codec, Direction, Fingerprint, SdpError
from mediaserver.sdp.offer_answer import LocalMedia, make_answer, make_cryptos, make_offer, negotiate
from mediaserver.sdp.parser import parse
from mediaserver.sdp.serializer import serialize
from mediaserver.webrtc.negotiation import LocalIceParams, MediaPolicy, Negotiation
from mediaserver.webrtc.sdpfrag import parse_fragment, write_fragment

RECORDED = [path.read_bytes().decode() for path in sorted((Path(__file__).parents[1] / "data" / "sdp").glob("*.sdp"))]
LINES = sorted({line for text in RECORDED for line in text.splitlines()})
RELAXED = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def check(text: str) -> None:
    try:
        description = parse(text)
    except SdpError as error:
        line = error.line
    else:
        assert parse(serialize(description)) == description
        return
    assert line <= len(text.splitlines()) + 1


@RELAXED
@given(st.text())
def test_any_text(text: str) -> None:
    check(text)
    check("v=0\r\n" + text)


@RELAXED
@given(st.binary())
def test_any_bytes(data: bytes) -> None:
    check((b"v=0\n" + data).decode("utf-8", "replace"))


@RELAXED
@given(st.lists(st.sampled_from(LINES), max_size=60))
def test_lines_of_real_descriptions_in_any_order(lines: list[str]) -> None:
    check("v=0\r\n" + "\r\n".join(lines))


@RELAXED
@given(st.sampled_from(RECORDED), st.integers(0, 8000), st.integers(0, 20), st.text(max_size=12))
def test_real_descriptions_with_a_piece_replaced(text: str, start: int, length: int, piece: str) -> None:
    start %= len(text)
    check(text[:start] + piece + text[start + length :])


@RELAXED
@given(st.text(alphabet="acdefimnopstuvw=-:0123456789 \r\n", max_size=400))
def test_fragments_never_fail_otherwise(text: str) -> None:
    try:
        fragment = parse_fragment(text)
    except SdpError:
        return
    assert parse_fragment(write_fragment(fragment)) == fragment


BROWSERS = [text for text in RECORDED if "a=fingerprint" in text]


@RELAXED
@given(st.sampled_from(BROWSERS), st.integers(0, 8000), st.integers(0, 60), st.sampled_from(["", "x", "0", *LINES]))
def test_browser_offers_with_a_piece_replaced_are_answered_or_refused(
    text: str, start: int, length: int, piece: str
) -> None:
    start %= len(text)
    address = (("192.0.2.1", 10000),)
    local = LocalIceParams("ours", "p" * 24, address, Fingerprint("sha-256", bytes(32)))
    negotiation = Negotiation(local, MediaPolicy(), cname="server")
    try:
        negotiation.handle_offer(text[:start] + piece + text[start + length :])
    except (RemoteProtocolError, NegotiationError):
        assert (negotiation.state, negotiation.sections) == ("stable", ())
        return
    answer = parse(negotiation.create_answer())
    live = [section.mid for section in negotiation.sections if not section.rejected]
    assert len(live) == len([media for media in answer.media if media.port])
    assert list(answer.bundled) in ([], live)
    assert answer.bundled or len(live) == 1
    again = parse(negotiation.create_offer())
    assert [media.kind for media in again.media] == [media.kind for media in answer.media]


def codecs_of(kind: str) -> st.SearchStrategy[tuple[Codec, ...]]:
    names = AUDIO_CODECS if kind == "audio" else VIDEO_CODECS
    known = [codec for codec in KNOWN.values() if codec.name in names]
    events = [KNOWN["telephone-event"], KNOWN["telephone-event/48000"]] if kind == "audio" else []
    media = st.lists(st.sampled_from(known), min_size=1, unique_by=lambda codec: codec.pt)
    return media.flatmap(lambda chosen: st.booleans().map(lambda on: (*chosen, *(events if on else ()))))


def local_media(kind: str) -> st.SearchStrategy[LocalMedia]:
    one = ("AES_CM_128_HMAC_SHA1_80",)
    filled = st.integers(0, 255).map(lambda fill: lambda length: bytes([fill]) * length)
    keys = st.one_of(st.just(()), filled.map(make_cryptos), filled.map(lambda fill: make_cryptos(fill, one)))
    return st.builds(
        LocalMedia,
        kind=st.just(kind),
        address=st.just("192.0.2.1"),
        port=st.integers(1024, 65534),
        codecs=codecs_of(kind),
        direction=st.sampled_from(list(Direction)),
        crypto=keys,
        crypto_required=st.booleans(),
        rtcp_mux=st.booleans(),
    )


PAIRS = st.tuples(local_media("audio"), local_media("video"))


@RELAXED
@given(PAIRS, PAIRS, st.sets(st.integers(0, 1)))
def test_both_sides_of_an_exchange_agree(
    ours: tuple[LocalMedia, ...], theirs: tuple[LocalMedia, ...], taken: set[int]
) -> None:
    offer = parse(serialize(make_offer(ours, session_id=1, version=1, address="192.0.2.1")))
    media = {index: theirs[index] for index in taken}
    try:
        answer = make_answer(offer, media, session_id=2, version=1, address="192.0.2.2")
    except NegotiationError:
        common = any(
            is_media(codec) and matches(codec, other)
            for i in taken
            for codec in ours[i].codecs
            for other in theirs[i].codecs
        )
        keys = all(ours[i].crypto == theirs[i].crypto == () for i in taken)
        assert not (common and keys)
        return
    answer = parse(serialize(answer))
    assert [section.kind for section in answer.media] == [section.kind for section in offer.media]
    near = negotiate(offer, answer, we_offered=True)
    far = negotiate(answer, offer, we_offered=False)
    assert [found.index for found in near] == [found.index for found in far]
    assert {found.index for found in near} <= taken
    for mine, yours in zip(near, far, strict=True):
        assert mine.direction is yours.direction.reversed
        assert [codec.pt for codec in mine.send] == [codec.pt for codec in yours.receive]
        assert all(is_media(codec) for codec in mine.send)
        assert (mine.local_crypto, mine.remote_crypto) == (yours.remote_crypto, yours.local_crypto)
        assert mine.rtcp_mux is yours.rtcp_mux
        section = answer.media[mine.index]
        assert not (section.cryptos and section.fingerprints)
        assert {codec.pt for codec in section.codecs} <= {codec.pt for codec in offer.media[mine.index].codecs}
        assert bool(section.cryptos) or "SAVP" not in section.protocol
        if mine.dtmf_send is not None:
            assert mine.dtmf_send.clock_rate == mine.send[0].clock_rate
