"""Parsing and writing: round trips, bounds, and that hostile bytes raise SipParseError and nothing else."""

from __future__ import annotations

import contextlib
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mediaserver.errors import LocalProtocolError
from mediaserver.sip.config import MessageLimits
from mediaserver.sip.digest import parse_digest
from mediaserver.sip.errors import SipParseError
from mediaserver.sip.headers import (
    Headers,
    NameAddr,
    Via,
    parse_name_addr,
    parse_name_addrs,
    parse_via,
    quote_string,
    split_list,
    unquote_string,
)
from mediaserver.sip.message import Request, Response
from mediaserver.sip.parser import PING, PartialRequest, StreamFramer, parse_datagram
from mediaserver.sip.uri import SipUri, escape_user, parse_sip_uri, parse_uri
from tests.sip.wire import request

LIMITS = MessageLimits()
TOKEN = st.text("abcXYZ019-.!%*_+`'~", min_size=1, max_size=12).filter(lambda t: t != "lr")
NAME = st.from_regex(r"[a-z][a-z0-9-]{0,10}", fullmatch=True)
HOST = st.one_of(
    st.from_regex(r"[a-z][a-z0-9]{0,8}(\.[a-z]{2,4}){0,2}", fullmatch=True),
    st.ip_addresses().map(str),
)
USER = st.text(min_size=1, max_size=12).map(escape_user)
URI = st.builds(
    SipUri,
    host=HOST,
    user=st.none() | USER,
    port=st.none() | st.integers(0, 65535),
    scheme=st.sampled_from(["sip", "sips"]),
    params=st.lists(st.tuples(NAME, st.none() | NAME), max_size=3).map(tuple),
    headers=st.lists(st.tuples(NAME, NAME), max_size=2).map(tuple),
)
PRINTABLE = st.text(
    st.characters(min_codepoint=32, exclude_characters="\x7f", exclude_categories=["Cs", "Cc"]), max_size=20
)
ADDRESS = st.builds(
    NameAddr, URI, PRINTABLE.map(str.strip), st.lists(st.tuples(NAME, st.none() | TOKEN), max_size=3).map(tuple)
)


@given(URI)
def test_uri_comes_back_from_its_text(uri: SipUri) -> None:
    again = parse_sip_uri(str(uri))
    assert again == uri
    assert again.equivalent(uri)


@given(ADDRESS)
def test_name_addr_comes_back_from_its_text(address: NameAddr) -> None:
    assert parse_name_addr(str(address)) == address


@given(st.lists(ADDRESS, min_size=1, max_size=4))
def test_lists_come_back_from_one_field_and_from_many(addresses: list[NameAddr]) -> None:
    texts = [str(address) for address in addresses]
    assert list(parse_name_addrs([", ".join(texts)])) == addresses
    assert list(parse_name_addrs(texts)) == addresses


@given(st.sampled_from(["udp", "tcp", "tls"]), HOST, st.none() | st.integers(1, 65535), TOKEN)
def test_via_comes_back_from_its_text(transport: str, host: str, port: int | None, branch: str) -> None:
    via = Via(transport, host, port, (("branch", branch), ("rport", None)))
    assert parse_via(str(via)) == via


@given(PRINTABLE)
def test_quoted_strings_come_back(text: str) -> None:
    assert unquote_string(quote_string(text)) == text


@given(
    st.sampled_from(["INVITE", "OPTIONS", "X-NEW"]),
    URI,
    st.lists(
        st.tuples(NAME.filter(lambda n: n != "content-length" and len(n) > 1), PRINTABLE.map(str.strip)), max_size=8
    ),
    st.binary(max_size=200),
)
def test_request_comes_back_from_its_bytes(
    method: str, uri: SipUri, fields: list[tuple[str, str]], body: bytes
) -> None:
    sent = Request(method, uri, Headers(fields), body)
    again = parse_datagram(sent.encode(), LIMITS)
    assert isinstance(again, Request)
    assert (again.method, again.uri_text, again.body) == (method, str(uri), body)
    assert list(again.headers) == [*sent.headers, ("Content-Length", str(len(body)))]
    (framed,) = StreamFramer(LIMITS).feed(sent.encode())
    assert isinstance(framed, Request)
    assert framed.encode() == again.encode()


def touch_everything(message: Request | Response) -> None:
    for name in (
        "vias",
        "from_",
        "to",
        "call_id",
        "cseq",
        "contacts",
        "record_routes",
        "routes",
        "uri",
        "max_forwards",
    ):
        with contextlib.suppress(SipParseError):
            getattr(message, name, None)
    with contextlib.suppress(SipParseError):
        message.check()
    for _, value in message.headers:
        with contextlib.suppress(SipParseError):
            parse_digest(value)


VALID = (
    request(extra='Authorization: Digest username="a", realm="b"\nRoute: <sip:x;lr>\n').replace("\n", "\r\n").encode()
)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_message_or_a_parse_error(data: bytes) -> None:
    with contextlib.suppress(SipParseError):
        touch_everything(parse_datagram(data, LIMITS))


@settings(max_examples=300)
@given(st.data())
def test_mutated_messages_are_messages_or_parse_errors(data: st.DataObject) -> None:
    raw = bytearray(VALID)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=6))
    try:
        message = parse_datagram(bytes(raw), LIMITS)
    except PartialRequest as error:
        message = error.request
    except SipParseError:
        return
    touch_everything(message)
    message.encode()


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=10))
def test_any_stream_is_messages_or_a_parse_error(chunks: list[bytes]) -> None:
    framer = StreamFramer(LIMITS)
    with contextlib.suppress(SipParseError):
        for chunk in chunks:
            list(framer.feed(chunk))


@given(st.lists(st.integers(1, 200), min_size=1, max_size=30))
def test_stream_cuts_do_not_matter(cuts: list[int]) -> None:
    stream = b"\r\n\r\n" + VALID + VALID + b"\r\n\r\n"
    framer, found, at = StreamFramer(LIMITS), [], 0
    for cut in [*cuts, len(stream)]:
        found += list(framer.feed(stream[at : at + cut]))
        at += cut
    assert [item for item in found if isinstance(item, bytes)].count(PING) >= 1
    requests = [item for item in found if isinstance(item, Request)]
    assert [item.encode() for item in requests] == [parse_datagram(VALID, LIMITS).encode()] * 2
    assert not framer.in_message


@given(st.text(max_size=60))
def test_any_text_is_a_value_or_a_parse_error(text: str) -> None:
    for parse in (parse_uri, parse_name_addr, parse_via, split_list, parse_digest):
        with contextlib.suppress(SipParseError):
            parse(text)


@pytest.mark.parametrize(
    "data",
    [
        b'OPTIONS sip:a SIP/2.0\r\nTo: "' + b"\\" * 60_000 + b"\r\n\r\n",
        b"OPTIONS sip:a SIP/2.0\r\n" + b"a:\r\n" * 15_000 + b"\r\n",
        b"OPTIONS sip:a SIP/2.0\r\nVia:" + b",;" * 30_000 + b"\r\n\r\n",
        b"OPTIONS sip:a SIP/2.0\r\nSubject: x\r\n" + b" y\r\n" * 15_000 + b"\r\n",
        b"OPTIONS sip:" + b"a;" * 30_000 + b" SIP/2.0\r\n\r\n",
        b"\r\n" * 30_000,
    ],
)
def test_hostile_messages_cost_little(data: bytes) -> None:
    began = time.perf_counter()
    for _ in range(3):
        try:
            touch_everything(parse_datagram(data, LIMITS))
        except PartialRequest as error:
            touch_everything(error.request)
        except SipParseError:
            continue
    assert time.perf_counter() - began < 1.0


def test_stream_bounds_header_and_body() -> None:
    framer = StreamFramer(MessageLimits(message_bytes=1000, body_bytes=100))
    with pytest.raises(SipParseError):
        list(framer.feed(b"OPTIONS sip:a SIP/2.0\r\nX: " + b"y" * 1001))
    framer = StreamFramer(MessageLimits(message_bytes=1000, body_bytes=100))
    with pytest.raises(PartialRequest) as caught:
        list(framer.feed(b"OPTIONS sip:a SIP/2.0\r\nContent-Length: 101\r\n\r\n"))
    assert caught.value.status == 413


def test_newlines_before_a_message_are_not_collected() -> None:
    framer = StreamFramer(LIMITS)
    for _ in range(1000):
        list(framer.feed(b"\r\n"))
    assert len(framer._buffer) < 8


def test_compact_names_and_folding_are_understood() -> None:
    data = (
        b"OPTIONS sip:a@b SIP/2.0\r\nv: SIP/2.0/UDP h;branch=z9hG4bKa\r\nf: <sip:x@y>\r\n ;tag=1\r\n"
        b"t: sip:a@b\r\ni: id\r\nm: <sip:x@h>,\r\n\t<sip:z@h>\r\nCSeq: 1 OPTIONS\r\nl: 0\r\n\r\n"
    )
    message = parse_datagram(data, LIMITS)
    assert isinstance(message, Request)
    message.check()
    assert message.from_.tag == "1"
    assert [str(c.uri) for c in message.contacts] == ["sip:x@h", "sip:z@h"]


def test_a_header_value_cannot_smuggle_another_header() -> None:
    with pytest.raises(LocalProtocolError):
        Headers().add("Subject", "x\r\nEvil: yes")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        # RFC 3261 §19.1.4
        ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp", True),
        ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5", True),
        ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;newparam=5", True),
        (
            "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
            "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
            True,
        ),
        (
            "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
            "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
            True,
        ),
        ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP", False),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060", False),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp", False),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp", False),
        ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting", False),
        ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4", False),
        ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off", False),
        ("sip:a@[2001:db8::1]", "sip:a@[2001:DB8:0:0::1]", True),
    ],
)
def test_uri_comparison_of_the_rfc(one: str, other: str, same: bool) -> None:
    assert parse_sip_uri(one).equivalent(parse_sip_uri(other)) is same
    assert parse_sip_uri(other).equivalent(parse_sip_uri(one)) is same


@pytest.mark.parametrize(
    "text",
    [
        "sip:",
        "sip:@h",
        "sip:a b@h",
        "sip:a%4@h",
        "sip:h:99999",
        "sip:h:",
        "sip:[::1",
        "sip:h;",
        "sip:h;=x",
        "sip:h?a",
        "h",
        ":h",
        "tel:",
        "sip:a@b@c",
    ],
)
def test_broken_uris_are_refused(text: str) -> None:
    with pytest.raises(SipParseError):
        parse_uri(text)
