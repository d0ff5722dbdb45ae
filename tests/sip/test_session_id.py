"""Session-ID (RFC 7989) on every message of a call, and what is learnt of the peer's."""

from __future__ import annotations

import pytest

from mediaserver.sip.message import Request, Response
from mediaserver.sip.session_id import NIL
from tests.sip.test_invite_session import act, established, in_dialog
from tests.sip.wire import Wire, answer, request

OURS, THEIRS, OTHER = "a" * 32, "b" * 32, "c" * 32


def named(message: Request | Response) -> str | None:
    return message.headers.get("Session-ID")


def test_both_ends_are_named_from_the_first_answer_on() -> None:
    wire = Wire()
    machine, invite = wire.call()
    ours = machine.session_id.local
    assert len(ours) == 32
    assert named(invite) == f"{ours};remote={NIL}"
    (ack,) = wire.receive(answer(invite, 200, body="sdp", extra=f"Session-ID: {THEIRS};remote={ours}\n"))
    assert named(ack) == f"{ours};remote={THEIRS}"
    machine.hangup(None, now=wire.now)
    assert named(act(wire, machine)) == f"{ours};remote={THEIRS}"


def test_a_cancel_carries_it_too() -> None:
    wire = Wire()
    machine, invite = wire.call()
    wire.receive(answer(invite, 180))
    machine.hangup(None, now=wire.now)
    assert named(act(wire, machine)) == f"{machine.session_id.local};remote={NIL}"


def test_a_caller_is_answered_by_the_nil_uuid_until_it_is_known_for_whom() -> None:
    wire = Wire()
    (trying,) = wire.receive(request(extra=f"Session-ID: {THEIRS.upper()};remote={NIL}\n"))
    machine = wire.new[-1].machine
    assert named(trying) == f"{NIL};remote={THEIRS}"
    machine.session_id.local = OURS
    machine.answer(b"sdp", (), now=wire.now)
    assert named(act(wire, machine)) == f"{OURS};remote={THEIRS}"


def test_another_uuid_in_the_dialog_is_somebody_else_who_took_the_place() -> None:
    wire = Wire()
    machine, _ = established(wire)
    wire.receive(in_dialog(machine, "INVITE", 1, branch="r", body="v=0\n", extra=f"Session-ID: {OTHER};remote={NIL}\n"))
    assert machine.session_id.remote == OTHER


@pytest.mark.parametrize("value", ["", "x", "b" * 31, "b" * 33, "g" * 32, NIL, f";remote={THEIRS}"])
def test_what_is_no_uuid_says_nothing(value: str) -> None:
    wire = Wire()
    machine = wire.invited(request(extra=f"Session-ID: {value}\n"))
    assert machine.session_id.remote == NIL
