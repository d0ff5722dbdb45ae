"""Who gets in, where requests go, how passwords are answered: the core on virtual time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mediaserver.errors import LimitExceeded
from mediaserver.sip.config import MessageLimits, SipLimits
from mediaserver.sip.credentials import Credentials
from mediaserver.sip.dialog import dialog_of_request
from mediaserver.sip.digest import answer_challenge, parse_digest
from mediaserver.sip.events import Answered, Rejected
from mediaserver.sip.flow import Destination, Flow, Target
from mediaserver.sip.headers import NameAddr
from mediaserver.sip.message import Request, Response
from mediaserver.sip.parser import parse_datagram
from mediaserver.sip.resolver import Resolver
from mediaserver.sip.uri import parse_sip_uri
from tests.sip.conftest import PASSWORDS
from tests.sip.wire import PEER, Wire, answer, request

ALICE = Credentials("alice", PASSWORDS["alice"])
NAT = Flow("udp", "192.0.2.1", 5060, "198.51.100.7", 40001)


def code(messages: list[Request | Response]) -> int:
    (message,) = messages
    assert isinstance(message, Response)
    return message.code


def logged_in(wire: Wire, text: str, flow: Flow | None = None) -> list[Request | Response]:
    """Send a request of alice's, answer the challenge; returns what came last."""
    first = text.replace("<sip:bob@example.org>;tag", "<sip:alice@example.org>;tag")
    (challenge,) = wire.receive(first, flow)
    assert isinstance(challenge, Response)
    assert challenge.code == 401
    params = parse_digest(challenge.headers.get("WWW-Authenticate") or "")
    assert params is not None
    message = parse_datagram(first.replace("\n", "\r\n").encode(), MessageLimits())
    assert isinstance(message, Request)
    value = answer_challenge(params, ALICE, method=message.method, uri=message.uri_text)
    number = message.cseq[0]
    again = first.replace(f"CSeq: {number} ", f"Authorization: {value}\nCSeq: {number + 1} ").replace(
        "branch=z9hG4bK", "branch=z9hG4bKx"
    )
    return wire.receive(again, flow)


def test_user_gets_in_and_is_named() -> None:
    wire = Wire(trunk=False)
    assert code(logged_in(wire, request())) == 100
    assert wire.new[0].authenticated_user == "alice"
    assert wire.new[0].machine.first_offer == b"v=0\r\n"


def test_user_may_not_call_as_somebody_else() -> None:
    wire = Wire(trunk=False)
    assert code(logged_in(wire, request().replace("<sip:bob@example.org>;tag", "<sip:boss@example.org>;tag"))) == 403


def test_user_may_not_use_us_for_other_domains() -> None:
    wire = Wire(trunk=False)
    assert code(logged_in(wire, request(uri="sip:someone@elsewhere.example"))) == 404


def test_registration_over_a_flow_and_the_way_back() -> None:
    wire = Wire(trunk=False)
    text = request("REGISTER", body="", uri="sip:example.org").replace("192.0.2.9:5070", "10.0.0.5:5060")
    assert code(logged_in(wire, text, NAT)) == 200
    assert wire.changed == ["alice@example.org"]
    for name in ("alice@example.org", "alice@192.0.2.1", parse_sip_uri("sip:alice@EXAMPLE.org:5060")):
        (binding,) = wire.core.bindings(name, wire.now)
        assert (str(binding.contact), binding.flow) == ("sip:bob@10.0.0.5:5060", NAT)
    wire.wait(3700)
    assert wire.core.bindings("alice@example.org", wire.now) == []
    assert wire.changed == ["alice@example.org"] * 2


def test_registration_for_somebody_else_or_elsewhere_is_refused() -> None:
    wire = Wire(trunk=False)
    other = request("REGISTER", body="", uri="sip:example.org").replace("To: <sip:alice@", "To: <sip:bob@")
    assert code(logged_in(wire, other)) == 403
    away = request("REGISTER", body="", uri="sip:elsewhere.example", branch="z9hG4bKq", call_id="q")
    assert code(logged_in(wire, away)) == 404


def test_too_brief_registration_says_what_would_do() -> None:
    wire = Wire(trunk=False)
    (response,) = logged_in(wire, request("REGISTER", body="", uri="sip:example.org", extra="Expires: 5\n"))
    assert isinstance(response, Response)
    assert (response.code, response.headers.get("Min-Expires")) == (423, "60")


@pytest.mark.parametrize(
    ("method", "status"),
    [("NOTIFY", 405), ("PUBLISH", 405), ("NEWMETHOD", 405), ("BYE", 481), ("INFO", 481)],
)
def test_what_is_not_for_us_outside_dialogs(method: str, status: int) -> None:
    wire = Wire()
    (response,) = wire.receive(request(method, body=""))
    assert isinstance(response, Response)
    assert response.code == status
    assert (response.headers.get("Allow") is not None) == (status == 405)
    assert response.to.tag


def test_options_tells_what_we_can_and_503_while_draining() -> None:
    wire = Wire(trunk=False)
    (response,) = wire.receive(request("OPTIONS", body=""))
    methods = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, REGISTER, PRACK, UPDATE, REFER, MESSAGE, SUBSCRIBE"
    assert response.headers.get("Allow") == methods
    assert response.headers.get("Allow-Events") == "conference, dialog, presence"
    wire.core.draining = True
    assert code(wire.receive(request("OPTIONS", body="", branch="z9hG4bK2"))) == 503


def test_sessions_are_bounded_both_ways() -> None:
    wire = Wire(limits=SipLimits(sessions=1))
    assert code(wire.receive(request())) == 100
    (full,) = wire.receive(request(branch="z9hG4bK2", call_id="second"))
    assert isinstance(full, Response)
    assert (full.code, full.headers.get("Retry-After")) == (503, "30")
    with pytest.raises(LimitExceeded):
        wire.call()


def place(wire: Wire, destinations: list[Destination], credentials: Credentials | None = None) -> Request:
    wire.core.invite(
        parse_sip_uri("sip:bob@192.0.2.9"),
        destinations=destinations,
        from_=NameAddr(parse_sip_uri("sip:alice@example.org")),
        to=NameAddr(parse_sip_uri("sip:bob@192.0.2.9")),
        body=b"offer",
        headers=(("X-Contact", "42"),),
        credentials=credentials,
        max_forwards=69,
        now=wire.now,
    )
    (invite,) = wire.sent()
    assert isinstance(invite, Request)
    return invite


CHALLENGE = 'WWW-Authenticate: Digest realm="r", nonce="{}", algorithm=SHA-256, qop="auth"{}\n'


def test_our_password_is_given_once_and_again_for_a_stale_nonce() -> None:
    wire = Wire()
    first = place(wire, [PEER], ALICE)
    assert (first.max_forwards, first.headers.get("X-Contact")) == (69, "42")
    ack, second = wire.receive(answer(first, 401, extra=CHALLENGE.format("n1", "")))
    assert isinstance(ack, Request)
    assert isinstance(second, Request)
    assert (ack.method, second.cseq[0], second.call_id) == ("ACK", 2, first.call_id)
    assert second.via.branch != first.via.branch
    assert 'nonce="n1"' in (second.headers.get("Authorization") or "")
    _, third = wire.receive(answer(second, 401, extra=CHALLENGE.format("n2", ", stale=true")))
    assert 'nonce="n2"' in (third.headers.get("Authorization") or "")
    wire.receive(answer(third, 200, body="sdp"))
    assert wire.events == [Answered(b"sdp")]


def test_wrong_password_is_not_repeated() -> None:
    wire = Wire()
    first = place(wire, [PEER], ALICE)
    _, second = wire.receive(answer(first, 401, extra=CHALLENGE.format("n1", "")))
    assert isinstance(second, Request)
    wire.receive(answer(second, 401, extra=CHALLENGE.format("n3", "")))
    assert [event.code for event in wire.events if isinstance(event, Rejected)] == [401]


def test_next_hop_is_tried_after_a_failure_and_after_503() -> None:
    wire = Wire()
    hops: list[Destination] = [Target("tcp", f"192.0.2.{n}", 5060) for n in (11, 12, 13)]
    wire.core.invite(
        parse_sip_uri("sip:bob@example.net"),
        destinations=hops,
        from_=NameAddr(parse_sip_uri("sip:alice@example.org")),
        to=NameAddr(parse_sip_uri("sip:bob@example.net")),
        body=b"offer",
        headers=(),
        credentials=None,
        max_forwards=70,
        now=wire.now,
    )
    first = wire.core.poll_transmit()
    assert first is not None
    wire.core.handle_transport_failure(first.key, first.destination, wire.now)
    second = wire.core.poll_transmit()
    assert second is not None
    assert (first.destination, second.destination) == (hops[0], hops[1])
    invite = parse_datagram(second.data, MessageLimits())
    assert isinstance(invite, Request)
    sent = wire.receive(answer(invite, 503))
    assert [m.method for m in sent if isinstance(m, Request)] == ["ACK", "INVITE"]
    assert wire.events == []
    assert wire.core.sessions == 1


def test_dialog_with_a_phone_behind_nat_stays_on_its_flow() -> None:
    wire = Wire()
    text = request().replace("192.0.2.9:5060;branch", "10.0.0.5:5060;branch").replace("192.0.2.9:5070", "10.0.0.5:5070")
    nat = replace(NAT, remote_ip="192.0.2.77")
    wire.receive(text, nat)
    machine = wire.new[0].machine
    assert machine.dialog is not None
    assert machine.dialog.destinations() == [nat]
    plain = Wire()
    plain.receive(request())
    dialog = plain.new[0].machine.dialog
    assert dialog is not None
    assert dialog.destinations() == [Target("udp", "192.0.2.9", 5070)]


@pytest.mark.parametrize("sent_by", ["192.0.2.9:5060", "manager.example.net"])
def test_contact_of_another_node_is_where_the_dialog_goes(sent_by: str) -> None:
    wire = Wire()
    text = request().replace("192.0.2.9:5060;branch", f"{sent_by};branch")
    wire.receive(text.replace("192.0.2.9:5070", "192.0.2.10:5070"))
    dialog = wire.new[0].machine.dialog
    assert dialog is not None
    assert dialog.destinations() == [Target("udp", "192.0.2.10", 5070)]


def test_private_contact_of_a_public_source_is_reached_over_its_flow() -> None:
    flow = replace(PEER, remote_ip="8.8.4.4", remote_port=40001)
    text = request().replace("192.0.2.9:5060;branch", "8.8.4.4:40001;branch").replace("192.0.2.9:5070", "10.0.0.5:5060")
    message = parse_datagram(text.replace("\n", "\r\n").encode(), MessageLimits())
    assert isinstance(message, Request)
    assert dialog_of_request(message, flow, to_tag="t").destinations() == [flow]


def test_connection_of_a_dialog_is_used_again() -> None:
    wire = Wire()
    tls = replace(PEER, transport="tls", remote_port=39999, id=3)
    wire.receive(request().replace("192.0.2.9:5070", "192.0.2.9:5061;transport=tls"), tls)
    dialog = wire.new[0].machine.dialog
    assert dialog is not None
    assert dialog.destinations() == [tls, Target("tls", "192.0.2.9", 5061)]
    assert wire.core.holds(tls)


def test_contact_names_the_way_the_message_takes() -> None:
    wire = Wire()
    wire.flow = replace(PEER, transport="tcp", id=3)
    machine = wire.invited(request())
    machine.ring(180, None, (), now=wire.now)
    wire.core.touch(machine)
    (ringing,) = wire.sent()
    assert str(ringing.contacts[0].uri) == "sip:alice@192.0.2.1:5060;transport=tcp"


def test_sdp_is_found_in_a_multipart_body_and_other_bodies_are_415() -> None:
    wire = Wire()
    body = "--b1\nContent-Type: text/plain\n\nhi\n--b1\nContent-Type: application/sdp\n\nv=0\n\n--b1--\n"
    text = request(body=body).replace("application/sdp\nContent-L", 'multipart/mixed;boundary="b1"\nContent-L')
    assert code(wire.receive(text)) == 100
    assert wire.new[0].machine.first_offer == b"v=0\r\n"
    refused = wire.receive(request(branch="z9hG4bK2", call_id="2").replace("application/sdp", "text/plain"))
    assert code(refused) == 415
    assert refused[0].headers.get("Accept") == "application/sdp"


async def test_resolver_takes_literals_ports_and_transports_from_the_uri() -> None:
    resolver = Resolver(hosts={"pbx.example": ["192.0.2.4", "2001:db8::4"]})
    assert await resolver.resolve(parse_sip_uri("sip:a@192.0.2.3")) == [Target("udp", "192.0.2.3", 5060)]
    assert await resolver.resolve(parse_sip_uri("sips:a@[2001:db8::3]")) == [Target("tls", "2001:db8::3", 5061)]
    assert await resolver.resolve(parse_sip_uri("sip:a@PBX.example;transport=TLS")) == [
        Target("tls", "192.0.2.4", 5061, "PBX.example"),
        Target("tls", "2001:db8::4", 5061, "PBX.example"),
    ]
    assert await Resolver(hosts={"gone.example": []}).resolve(parse_sip_uri("sip:gone.example")) == []
