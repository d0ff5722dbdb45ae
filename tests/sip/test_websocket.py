"""SIP over WebSocket (RFC 7118), from the messages of the socket to the core: flows, keep-alives, bounds, MD5."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from mediaserver.sip.config import SipLimits
from mediaserver.sip.credentials import Credentials
from mediaserver.sip.dialog import dialog_of_request
from mediaserver.sip.digest import answer_challenge, parse_digest
from mediaserver.sip.flow import Flow
from mediaserver.sip.headers import NameAddr
from mediaserver.sip.message import Request, Response
from mediaserver.sip.transaction_layer import response_destination
from mediaserver.sip.transport.websocket import WebSocketConnection
from mediaserver.sip.uri import parse_sip_uri
from tests.sip.conftest import PASSWORDS, Endpoint, MakeEndpoint
from tests.sip.wire import Wire, request

BROWSER = Flow("wss", "192.0.2.1", 8443, "198.51.100.7", 50000, 5)
QUICK = SipLimits(message_timeout_s=0.1, connection_idle_s=0.3, connections_per_source=2, send_buffer_bytes=2000)

REGISTER = """REGISTER sip:example.org SIP/2.0
Via: SIP/2.0/WSS df7jal23ls0d.invalid;branch=z9hG4bK{branch}
Max-Forwards: 69
From: <sip:alice@example.org>;tag=65bnmj.34asd
To: <sip:alice@example.org>
Call-ID: aiuy7k9njasd
CSeq: {cseq} REGISTER
Supported: path,gruu,outbound
{extra}Contact: <sip:alice@df7jal23ls0d.invalid;transport=ws>;reg-id=1;+sip.instance="<urn:uuid:f81d>";expires=600
Content-Length: 0

"""


def registered(wire: Wire, *, flow: Flow = BROWSER, first: int = 1) -> Response:
    """The 200 to a REGISTER of a client that names itself like no other."""
    (challenge,) = wire.receive(REGISTER.format(branch=f"a{first}", cseq=first, extra=""), flow)
    assert isinstance(challenge, Response)
    (value,) = challenge.headers.all("WWW-Authenticate")
    params = parse_digest(value)
    assert params is not None
    proof = answer_challenge(params, Credentials("alice", PASSWORDS["alice"]), method="REGISTER", uri="sip:example.org")
    extra = f"Authorization: {proof}\n"
    (done,) = wire.receive(REGISTER.format(branch=f"b{first}", cseq=first + 1, extra=extra), flow)
    assert isinstance(done, Response)
    return done


def test_a_client_of_a_browser_is_asked_for_md5_and_registers_its_flow() -> None:
    wire = Wire(trunk=False)
    done = registered(wire)
    assert done.code == 200
    assert done.headers.get("Require") == "outbound"
    (binding,) = wire.core.bindings("alice@example.org", wire.now)
    assert (binding.flow, binding.reg_id) == (BROWSER, 1)
    assert "received=198.51.100.7" in (done.headers.get("Via") or "")


def test_a_call_to_a_browser_goes_over_its_connection_and_nowhere_else() -> None:
    wire = Wire(trunk=False)
    registered(wire)
    (binding,) = wire.core.bindings("alice@example.org", wire.now)
    hops, _, _ = wire.core.way_to(binding.contact, binding.flow, (), wire.now)
    assert hops == [BROWSER]
    wire.core.invite(
        binding.contact,
        destinations=hops,
        from_=NameAddr(parse_sip_uri("sip:bob@example.org")),
        to=NameAddr(parse_sip_uri("sip:alice@example.org")),
        body=b"offer",
        headers=(),
        credentials=None,
        max_forwards=70,
        now=wire.now,
    )
    (invite,) = wire.sent()
    assert isinstance(invite, Request)
    assert invite.via.transport == "wss"
    assert (invite.headers.get("Contact") or "").endswith(";transport=ws>")
    wire.core.handle_flow_closed(BROWSER, None, wire.now)
    assert wire.core.bindings("alice@example.org", wire.now) == []


def test_in_a_dialog_nothing_but_the_connection_leads_to_a_browser() -> None:
    for host in ("df7jal23ls0d.invalid", "10.0.0.5"):
        text = request(extra=f"Contact: <sip:bob@{host};transport=ws>\n").replace(
            "Contact: <sip:bob@192.0.2.9:5070>\n", ""
        )
        wire = Wire()
        wire.invited(text)
        dialog = wire.new[-1].machine.dialog
        assert dialog is not None
        assert replace(dialog, flow=BROWSER).destinations() == [BROWSER]
        invite = wire.new[-1].request
        assert response_destination(invite, BROWSER) == (BROWSER, None)
        assert dialog_of_request(invite, BROWSER, to_tag="t").flow == BROWSER


def accepted(endpoint: Endpoint, *, ip: str = "198.51.100.7") -> WebSocketConnection | None:
    return endpoint.agent.accept_websocket(secure=False, local=("127.0.0.1", 8080), remote=(ip, 50000))


OPTIONS = request("OPTIONS", body="", uri="sip:127.0.0.1").replace("/UDP ", "/WS ").replace("\n", "\r\n").encode()


async def test_a_message_of_the_socket_is_a_message_of_sip_and_a_ping_has_its_pong(make_endpoint: MakeEndpoint) -> None:
    endpoint = await make_endpoint()
    socket = accepted(endpoint)
    assert socket is not None
    socket.receive(b"\r\n\r\n")
    socket.receive(b"\r\n")
    assert await socket.outgoing() == b"\r\n"
    socket.receive(OPTIONS)
    answer = await socket.outgoing()
    assert answer is not None
    assert answer.startswith(b"SIP/2.0 200 OK\r\n")
    socket.receive(b"GET / HTTP/1.1\r\n\r\n")
    socket.receive(OPTIONS.replace(b"CSeq: 1 OPTIONS", b"CSeq: 1 BYE"))
    answer = await socket.outgoing()
    assert answer is not None
    assert answer.startswith(b"SIP/2.0 400 ")
    assert endpoint.counts.table["sip.keepalives.ws"] == 2
    assert endpoint.counts.table["sip.malformed.request"] + endpoint.counts.table["sip.malformed.message"] == 2
    socket.lost()
    assert await socket.outgoing() is None


async def test_sockets_of_one_source_are_bounded_with_its_other_connections(make_endpoint: MakeEndpoint) -> None:
    endpoint = await make_endpoint(limits=QUICK)
    kept = [accepted(endpoint), accepted(endpoint)]
    assert accepted(endpoint) is None
    assert accepted(endpoint, ip="198.51.100.8") is not None
    assert kept[0] is not None
    kept[0].lost()
    assert accepted(endpoint) is not None
    assert endpoint.counts.table["sip.dropped.connections_full"] == 1


async def test_who_never_speaks_or_never_reads_is_cut_off(make_endpoint: MakeEndpoint) -> None:
    endpoint = await make_endpoint(limits=QUICK)
    silent, deaf = accepted(endpoint), accepted(endpoint)
    assert silent is not None
    assert deaf is not None
    for number in range(20):
        deaf.receive(OPTIONS.replace(b"theirs1", b"theirs%d" % number))
    async with asyncio.timeout(30):
        assert await deaf.outgoing() is None
        assert await silent.outgoing() is None
    assert not deaf.send(b"late")
    assert endpoint.counts.table["sip.connections_closed.silent"] == 1


async def test_stopping_sends_what_is_queued_and_ends_the_sockets(make_endpoint: MakeEndpoint) -> None:
    endpoint = await make_endpoint()
    socket = accepted(endpoint)
    assert socket is not None
    socket.receive(OPTIONS)

    async def serve() -> list[bytes]:
        sent = []
        while (data := await socket.outgoing()) is not None:
            sent.append(data)
        socket.lost()
        return sent

    serving = asyncio.create_task(serve())
    await endpoint.agent.stop(0.5)
    (answer,) = await serving
    assert answer.startswith(b"SIP/2.0 200 OK")
    assert accepted(endpoint) is None
