"""Calls to registered devices: over their flow, another of theirs, or the proxies of their Path; NATs kept open; STUN."""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import replace

import msgspec
import pytest

from mediaserver.sip.flow import Flow
from mediaserver.sip.headers import parse_name_addr
from mediaserver.sip.location import Binding
from mediaserver.sip.message import Response
from mediaserver.sip.stun_keepalive import answer
from mediaserver.sip.uri import parse_sip_uri
from tests.sip.test_trunk_rules import STRANGER
from tests.sip.wire import Wire, request

CONTACT = parse_sip_uri("sip:alice@10.0.0.7:5062")


def flow(number: int) -> Flow:
    return Flow("tcp", "192.0.2.1", 5060, "192.0.2.50", 40000 + number, number)


def bound(number: int, *, reg_id: int | None = None, path: tuple[str, ...] = ()) -> Binding:
    return Binding(
        "alice@example.org",
        msgspec.structs.replace(CONTACT, port=5060 + number),
        flow(number),
        5000.0,
        1.0,
        "c",
        1,
        instance="<urn:uuid:1>",
        reg_id=reg_id,
        updated_at=float(number),
        path=tuple(parse_name_addr(route) for route in path),
    )


def test_a_call_takes_the_flow_and_falls_back_to_the_devices_other_flow() -> None:
    core = Wire().core
    core.location.replace("alice@example.org", [bound(1, reg_id=1), bound(2, reg_id=2)])
    (device,) = core.bindings("alice@example.org", 1000.0)
    hops, headers, uris = core.way_to(device.contact, device.flow, [("X-A", "b")], 1000.0)
    assert hops == [flow(2), flow(1)]
    assert headers == [("X-A", "b")]
    assert [str(uri) for uri in uris.values()] == ["sip:alice@10.0.0.7:5061"]


def test_the_path_is_the_route_of_a_call() -> None:
    core = Wire().core
    core.location.replace("alice@example.org", [bound(1, path=("<sip:edge2.test;lr>", "<sip:edge1.test;lr>"))])
    (device,) = core.bindings("alice@example.org", 1000.0)
    hops, headers, _ = core.way_to(device.contact, device.flow, (), 1000.0)
    assert (hops, list(headers)) == ([flow(1)], [("Route", "<sip:edge2.test;lr>"), ("Route", "<sip:edge1.test;lr>")])


def test_a_contact_that_is_gone_is_tried_on_its_flow() -> None:
    assert Wire().core.way_to(CONTACT, flow(1), (), 0.0) == ([flow(1)], (), {})


@pytest.mark.parametrize(("interval_s", "pings"), [(25.0, 2), (0.0, 0)])
def test_a_phone_behind_a_nat_is_sent_something_in_every_interval(interval_s: float, pings: int) -> None:
    wire = Wire()
    wire.core.config = replace(wire.config, nat_keep_alive_s=interval_s)
    inside = Flow("udp", "192.0.2.1", 5060, "198.51.100.7", 34567)
    wire.core.location.replace("alice@example.org", [replace(bound(1), flow=inside)])
    wire.core.watch_location(wire.now)
    sent = []
    for _ in range(10):
        wire.now += 5.0
        wire.core.handle_timeout(wire.now)
        while (transmit := wire.core.poll_transmit()) is not None:
            sent.append((transmit.data, transmit.destination))
    assert sent == [(b"\r\n\r\n", inside)] * pings


def test_a_user_proven_by_certificate_registers_without_a_password_and_as_nobody_else() -> None:
    wire = Wire(trunk=False)
    wire.core.routes.certificate_names = lambda flow: ("alice@example.org", "nobody@example.org")  # type: ignore[method-assign]
    over_tls = replace(STRANGER, transport="tls", id=5)

    def register(user: str) -> int:
        text = request("REGISTER", uri="sip:example.org", body="", branch=f"z9hG4bK{user}", call_id=user)
        text = text.replace("To: <sip:alice@example.org>", f"To: <sip:{user}@example.org>")
        answered = wire.receive(text, over_tls)[-1]
        assert isinstance(answered, Response)
        return answered.code

    assert [register(user) for user in ("alice", "bob")] == [200, 403]
    assert [str(binding.contact) for binding in wire.core.bindings("alice@example.org", wire.now)] == [
        "sip:bob@192.0.2.9:5070"
    ]


def test_users_that_exist_and_users_that_do_not_are_answered_alike_until_banned() -> None:
    wire = Wire(trunk=False)
    answers: dict[str, list[tuple[int, str]]] = {"alice": [], "ghost": []}
    for last, (user, seen) in enumerate(answers.items(), 1):
        source = replace(STRANGER, remote_ip=f"198.51.100.{last}")
        for number in range(12):
            branch = f"z9hG4bK{user}{number}"
            sent = request("REGISTER", uri="sip:example.org", body="", branch=branch, call_id=f"{user}{number}")
            challenged = wire.receive(sent, source)
            if not challenged:
                continue
            first = challenged[-1]
            assert isinstance(first, Response)
            nonce = first.headers.all("WWW-Authenticate")[0].partition('nonce="')[2].partition('"')[0]
            value = (
                f'Digest username="{user}", realm="example.org", nonce="{nonce}", uri="sip:example.org", '
                f'response="{"0" * 64}", algorithm=SHA-256, qop=auth, nc=00000001, cnonce="x"'
            )
            again = sent.replace("CSeq: 1", "CSeq: 2").replace("Max-Forwards", f"Authorization: {value}\nMax-Forwards")
            for message in wire.receive(again.replace(branch, f"{branch}x"), source):
                assert isinstance(message, Response)
                seen.append((message.code, message.reason))
    assert answers["alice"] == answers["ghost"]
    assert 1 < len(answers["alice"]) < 12
    assert wire.counts.table["sip.bans"] == 2


def test_a_first_request_without_a_password_bans_nobody() -> None:
    wire = Wire(trunk=False)
    for number in range(30):
        wire.now += 1.0
        text = request("REGISTER", uri="sip:example.org", body="", branch=f"z9hG4bK{number}", call_id=str(number))
        assert [message.code for message in wire.receive(text, STRANGER) if isinstance(message, Response)] == [401]
    assert wire.counts.table["sip.bans"] == 0


STUN = struct.pack(">HHI12s", 1, 0, 0x2112A442, b"abcdefghijkl")


@pytest.mark.parametrize(("ip", "length"), [("192.0.2.7", 32), ("2001:db8::7", 44)])
def test_stun_keep_alives_are_answered_with_where_they_came_from(ip: str, length: int) -> None:
    reply = answer(STUN, ip, 5062)
    assert reply is not None
    assert (len(reply), reply[:2], reply[8:20]) == (length, b"\x01\x01", b"abcdefghijkl")
    assert struct.unpack(">H", reply[26:28])[0] ^ 0x2112 == 5062
    mask = (b"\x21\x12\xa4\x42" + b"abcdefghijkl")[: len(reply) - 28]
    packed = bytes(one ^ two for one, two in zip(reply[28:], mask, strict=True))
    assert str(ipaddress.ip_address(packed)) == ip


@pytest.mark.parametrize(
    "data",
    [
        b"",
        STUN[:19],
        STUN.replace(b"\x21\x12", b"\x21\x13"),
        b"\x01\x01" + STUN[2:],
        STUN + b"\0" * 4,
        struct.pack(">HHI12s", 1, 112, 0x2112A442, b"abcdefghijkl") + b"\0" * 112,
    ],
)
def test_what_is_no_keep_alive_gets_no_answer(data: bytes) -> None:
    assert answer(data, "192.0.2.7", 5062) is None
