"""Transactions on virtual time: retransmissions, timers, absorption, matching and bounds (RFC 3261 §17, RFC 6026)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mediaserver.errors import LocalProtocolError
from mediaserver.sip.client_transaction import (
    INVITE_TRANSITIONS,
    NON_INVITE_TRANSITIONS,
    ClientState,
    ClientTransaction,
)
from mediaserver.sip.config import SipLimits, Timers
from mediaserver.sip.events import Answered, Ended, Rejected
from mediaserver.sip.flow import Flow
from mediaserver.sip.message import Request, Response, make_response
from mediaserver.sip.server_transaction import INVITE_TRANSITIONS as SERVER_INVITE
from mediaserver.sip.server_transaction import NON_INVITE_TRANSITIONS as SERVER_NON_INVITE
from mediaserver.sip.server_transaction import ServerState
from tests.sip.wire import PEER, Wire, answer, request

TCP = replace(PEER, transport="tcp", id=7)


def codes(messages: list[Request | Response]) -> list[int | str]:
    return [m.code if isinstance(m, Response) else m.method for m in messages]


def test_invite_is_retransmitted_until_timer_b() -> None:
    wire = Wire()
    wire.call()
    sent = wire.wait(40)
    assert [at for at, _ in sent] == [0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    assert wire.events == [Rejected(408, "Request Timeout")]
    assert not wire.core.busy


def test_invite_on_a_reliable_flow_is_sent_once() -> None:
    wire = Wire(flow=TCP)
    wire.call()
    assert wire.wait(40) == []
    assert wire.events == [Rejected(408, "Request Timeout")]


def test_provisional_ends_the_retransmissions() -> None:
    wire = Wire()
    _, invite = wire.call()
    wire.receive(answer(invite, 180))
    assert wire.wait(60) == []


def test_failure_is_acknowledged_and_so_is_its_repetition() -> None:
    wire = Wire()
    _, invite = wire.call()
    (ack,) = wire.receive(answer(invite, 486))
    assert isinstance(ack, Request)
    assert (ack.method, ack.via.branch, ack.to.tag) == ("ACK", invite.via.branch, "their-tag")
    assert ack.cseq == (1, "ACK")
    assert codes(wire.receive(answer(invite, 486))) == ["ACK"]
    wire.wait(33)  # timer D
    assert codes(wire.receive(answer(invite, 486))) == []
    assert [type(event) for event in wire.events] == [Rejected]


def test_each_success_is_acknowledged_again_and_told_once() -> None:
    wire = Wire()
    _, invite = wire.call()
    (ack,) = wire.receive(answer(invite, 200, body="sdp"))
    assert isinstance(ack, Request)
    assert ack.via.branch != invite.via.branch
    assert ack.uri_text == "sip:bob@192.0.2.9:5070"
    (again,) = wire.receive(answer(invite, 200, body="sdp"))
    assert again.encode() == ack.encode()
    assert wire.events == [Answered(b"sdp")]


def test_bye_is_retransmitted_up_to_t2_and_given_up_at_timer_f() -> None:
    wire = Wire()
    machine, invite = wire.call()
    wire.receive(answer(invite, 200, body="sdp"))
    machine.hangup(None, now=wire.now)
    wire.core.touch(machine)
    assert codes(wire.sent()) == ["BYE"]
    sent = wire.wait(40)
    assert [at for at, _ in sent] == [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert not wire.core.busy
    assert wire.events[-1] == Ended("local")


def test_repeated_request_gets_the_same_response_without_going_up() -> None:
    wire = Wire()
    assert codes(wire.receive(request())) == [100]
    assert codes(wire.receive(request())) == [100]
    assert len(wire.new) == 1


def test_refusal_is_repeated_until_its_ack() -> None:
    wire = Wire()
    machine = wire.invited(request())
    machine.reject(486, None, (), now=wire.now)
    wire.core.touch(machine)
    (refusal,) = wire.sent()
    assert isinstance(refusal, Response)
    assert [at for at, _ in wire.wait(4)] == [0.5, 1.5, 3.5]
    wire.receive(request("ACK", to_tag=refusal.to.tag, body=""))
    assert wire.wait(60) == []
    assert len(wire.core.layer) == 0


def test_refusal_without_ack_is_given_up_at_timer_h() -> None:
    wire = Wire()
    machine = wire.invited(request())
    machine.reject(486, None, (), now=wire.now)
    wire.core.touch(machine)
    wire.sent()
    sent = wire.wait(60)
    assert [at for at, _ in sent] == [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert len(wire.core.layer) == 0


def test_rfc2543_peer_without_branch_is_matched_by_its_fields() -> None:
    wire = Wire()
    text = request(branch="old-style")
    assert codes(wire.receive(text)) == [100]
    assert codes(wire.receive(text)) == [100]
    assert len(wire.new) == 1
    machine = wire.new[0].machine
    machine.reject(486, None, (), now=wire.now)
    wire.core.touch(machine)
    wire.sent()
    wire.receive(request("ACK", branch="old-style", to_tag=machine.local_tag, body=""))
    assert wire.wait(60) == []


def test_same_request_by_another_path_is_merged() -> None:
    wire = Wire()
    assert codes(wire.receive(request())) == [100]
    assert codes(wire.receive(request(branch="z9hG4bKother"))) == [482]


def test_no_more_hops_is_483_for_calls() -> None:
    wire = Wire()
    assert codes(wire.receive(request().replace("Max-Forwards: 70", "Max-Forwards: 0"))) == [483]


def test_cancel_without_its_invite_is_481() -> None:
    wire = Wire()
    assert codes(wire.receive(request("CANCEL", body=""))) == [481]


def test_number_of_transactions_is_bounded() -> None:
    wire = Wire(limits=SipLimits(transactions=3))
    for index in range(5):
        sent = wire.receive(request(branch=f"z9hG4bK{index}", call_id=f"call-{index}"))
        assert codes(sent) == ([100] if index < 3 else [503])
    assert wire.counts.table["sip.dropped.transactions_full"] == 2


def test_response_with_a_second_via_is_dropped() -> None:
    wire = Wire()
    _, invite = wire.call()
    text = answer(invite, 200).replace("From:", "Via: SIP/2.0/UDP elsewhere;branch=z9hG4bKx\nFrom:", 1)
    assert wire.receive(text) == []
    assert wire.events == []


def test_received_and_rport_are_filled_and_used() -> None:
    wire = Wire()
    nat = Flow("udp", "192.0.2.1", 5060, "192.0.2.77", 40000)
    (response,) = wire.receive(request(), flow=nat)
    assert (response.via.param("received"), response.via.param("rport")) == ("192.0.2.77", "40000")
    wire.core.handle_message(
        Request("OPTIONS", "sip:192.0.2.1", response.headers.copy()), nat, wire.now
    )  # CSeq says INVITE
    assert codes(wire.sent()) == [400]


@pytest.mark.parametrize(
    ("rport", "host", "port"),
    [(";rport", "192.0.2.9", 40000), ("", "192.0.2.9", 5060), ("", "10.0.0.1", 40000)],
)
def test_where_a_response_goes(rport: str, host: str, port: int) -> None:
    wire = Wire()
    text = request("OPTIONS", body="").replace(
        "192.0.2.9:5060;branch=z9hG4bKtheirs1;rport", f"{host}:5060;branch=z9hG4bKa{rport}"
    )
    flow = Flow("udp", "192.0.2.1", 5060, "192.0.2.9", 40000)
    from mediaserver.sip.parser import parse_datagram

    wire.core.handle_message(parse_datagram(text.replace("\n", "\r\n").encode(), wire.config.limits.message), flow, 0)
    transmit = wire.core.poll_transmit()
    assert transmit is not None
    assert isinstance(transmit.destination, Flow)
    assert transmit.destination.remote_port == port


def test_final_response_cannot_be_followed_by_another() -> None:
    wire = Wire()
    wire.receive(request())
    transaction = wire.new[0].machine._pending_invite()
    wire.core.layer.respond(transaction, make_response(transaction.request, 486, to_tag="x"), wire.now)
    with pytest.raises(LocalProtocolError):
        wire.core.layer.respond(transaction, make_response(transaction.request, 200, to_tag="x"), wire.now)


def test_dead_transport_ends_a_transaction_once() -> None:
    wire = Wire()
    _, invite = wire.call()
    transaction = ClientTransaction(invite, destination=PEER, timers=Timers(), owner=None, now=0)
    transaction.handle_transport_error(0)
    transaction.handle_transport_error(0)
    assert transaction.poll_event() == "transport"
    assert transaction.poll_event() is None
    assert transaction.poll_timeout() is None


@pytest.mark.parametrize(
    ("table", "start", "end"),
    [
        (INVITE_TRANSITIONS, ClientState.CALLING, ClientState.TERMINATED),
        (NON_INVITE_TRANSITIONS, ClientState.TRYING, ClientState.TERMINATED),
        (SERVER_INVITE, ServerState.PROCEEDING, ServerState.TERMINATED),
        (SERVER_NON_INVITE, ServerState.TRYING, ServerState.TERMINATED),
    ],
)
def test_every_state_of_a_table_is_reached_and_leads_to_the_end(table: dict, start: object, end: object) -> None:  # type: ignore[type-arg]
    reached = {start}
    while more := {to for (at, _), to in table.items() if at in reached} - reached:
        reached |= more
    assert {at for at, _ in table} | {end} == reached
    ends = {end}
    while more := {at for (at, _), to in table.items() if to in ends} - ends:
        ends |= more
    assert ends == reached
