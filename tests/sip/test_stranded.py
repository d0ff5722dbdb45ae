"""Calls of phones whose connection has ended: they go on over the one by which the phone is back (RFC 5626, RFC 5923)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mediaserver.sip.events import ReofferNotSent, Returned
from mediaserver.sip.flow import Destination, Flow
from mediaserver.sip.invite_session import InviteMachine, SessionState
from mediaserver.sip.location import Binding
from mediaserver.sip.uri import SipUri, parse_sip_uri
from tests.sip.test_websocket import registered
from tests.sip.wire import Wire, answer

AOR = "alice@example.org"
CONTACT = parse_sip_uri("sip:bob@192.0.2.9:5070")


def tls(number: int) -> Flow:
    return Flow("tls", "192.0.2.1", 5061, "192.0.2.9", 40_000 + number, number, "dmz")


def bound(flow: Flow, *, contact: SipUri = CONTACT, instance: str | None = "<urn:uuid:1>") -> Binding:
    return Binding(AOR, contact, flow, 1e9, 1.0, "c", 1, instance=instance)


def talking(wire: Wire, flow: Flow) -> InviteMachine:
    """A call to alice's phone over its connection."""
    machine, invite = wire.call(flow=flow)
    machine.aor = AOR
    wire.receive(answer(invite, 200, body="answer"), flow)
    assert machine.state is SessionState.CONFIRMED
    return machine


def scene(binding: Binding) -> tuple[Wire, InviteMachine]:
    """A call whose connection has ended."""
    wire = Wire(flow=binding.flow)
    wire.core.location.replace(AOR, [binding])
    machine = talking(wire, binding.flow)
    wire.core.handle_flow_closed(binding.flow, None, wire.now)
    return wire, machine


def ways_of(wire: Wire, machine: InviteMachine) -> list[Destination]:
    """By which the next request of the session is tried; each fails."""
    machine.send_info("application/dtmf-relay", b"Signal=1", now=wire.now)
    wire.core.touch(machine)
    tried = []
    while (transmit := wire.core.poll_transmit()) is not None:
        tried.append(transmit.destination)
        wire.core.handle_transport_failure(transmit.key, transmit.destination, wire.now)
    return tried


@pytest.mark.parametrize(
    ("binding", "moves"),
    [
        (bound(tls(2)), True),
        (bound(tls(2), contact=parse_sip_uri("sip:bob@10.0.0.1:9")), True),
        (bound(tls(2), contact=parse_sip_uri("sip:bob@192.0.2.9:7777"), instance=None), True),
        (bound(tls(2), instance="<urn:uuid:2>"), False),
        (bound(tls(2), contact=parse_sip_uri("sip:bob@10.0.0.1:5070"), instance=None), False),
    ],
)
def test_a_call_goes_on_over_the_connection_on_which_its_own_device_is_back(binding: Binding, moves: bool) -> None:
    wire, machine = scene(bound(tls(1)))
    wire.core.location.replace(AOR, [binding])
    wire.core.follow(AOR, tls(2))
    assert machine.flow == (tls(2) if moves else tls(1))
    assert wire.counts.table["sip.dialogs_moved"] == int(moves)
    assert ways_of(wire, machine)[0] == (tls(2) if moves else tls(1))
    wire.sent()
    assert (Returned() in wire.events) == moves


def test_a_device_that_only_registers_once_more_elsewhere_takes_no_call_along() -> None:
    wire = Wire(flow=tls(1))
    wire.core.location.replace(AOR, [bound(tls(1))])
    machine = talking(wire, tls(1))
    wire.core.location.replace(AOR, [bound(tls(2))])
    wire.core.follow(AOR, tls(2))
    assert machine.flow == tls(1)


def test_another_users_registration_takes_no_call_along() -> None:
    wire, machine = scene(bound(tls(1)))
    wire.core.location.replace("bob@example.org", [replace(bound(tls(2)), aor="bob@example.org")])
    wire.core.follow("bob@example.org", tls(2))
    assert machine.flow == tls(1)


def test_what_cannot_be_sent_while_the_phone_is_away_ends_no_call() -> None:
    wire, machine = scene(bound(tls(1)))
    machine.reoffer(b"offer", now=wire.now)
    wire.core.touch(machine)
    while (transmit := wire.core.poll_transmit()) is not None:
        wire.core.handle_transport_failure(transmit.key, transmit.destination, wire.now)
    assert ways_of(wire, machine)
    wire.sent()
    assert ReofferNotSent() in wire.events
    assert machine.state is SessionState.CONFIRMED
    # It is a call like any other again.
    wire.core.location.replace(AOR, [bound(tls(2))])
    wire.core.follow(AOR, tls(2))
    machine.hangup(None, now=wire.now)
    wire.core.touch(machine)
    transmit = wire.core.poll_transmit()
    assert transmit is not None
    assert (transmit.destination, transmit.data[:3]) == (tls(2), b"BYE")


def test_without_a_registration_a_call_whose_way_is_gone_ends_as_ever() -> None:
    wire = Wire(flow=tls(1))
    machine, invite = wire.call(flow=tls(1))
    wire.receive(answer(invite, 200, body="answer"), tls(1))
    wire.core.handle_flow_closed(tls(1), None, wire.now)
    assert ways_of(wire, machine)
    assert machine.state is SessionState.ENDED


def test_a_call_that_ends_while_its_phone_is_away_is_forgotten() -> None:
    wire, machine = scene(bound(tls(1)))
    assert len(wire.core.stranded) == 1
    machine.hangup(None, now=wire.now)
    wire.core.touch(machine)
    while (transmit := wire.core.poll_transmit()) is not None:
        wire.core.handle_transport_failure(transmit.key, transmit.destination, wire.now)
    assert (len(wire.core.stranded), wire.core.sessions) == (0, 0)


def test_a_browser_that_registers_anew_is_reached_in_the_call_that_it_had() -> None:
    first = Flow("wss", "192.0.2.1", 8443, "198.51.100.7", 50_000, 5)
    second = replace(first, remote_port=50_001, id=6)
    wire = Wire(trunk=False, flow=first)
    registered(wire, flow=first)
    (binding,) = wire.core.bindings(AOR, wire.now)
    machine, invite = wire.call(flow=first)
    machine.aor = binding.aor
    wire.receive(
        answer(invite, 200, body="answer").replace("sip:bob@192.0.2.9:5070", str(binding.contact)),
        first,
    )
    wire.core.handle_flow_closed(first, None, wire.now)
    assert registered(wire, flow=second, first=3).code == 200
    assert machine.flow == second
