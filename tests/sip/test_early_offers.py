"""Offers before a call is answered, in PRACK and UPDATE (RFC 3262 §5, RFC 3311, RFC 6337 §2), and what crosses them."""

from __future__ import annotations

import pytest

from mediaserver.sip.events import Answered, Cancelled, EarlyAnswered, Reoffered
from mediaserver.sip.invite_session import InviteMachine, OfferState, SessionState
from mediaserver.sip.message import Request, Response
from tests.sip.test_invite_session import act
from tests.sip.wire import Wire, answer, request

RELIABLE = "Require: 100rel\nRSeq: {}\n"


def early_caller(wire: Wire) -> tuple[InviteMachine, str]:
    """Their INVITE, answered in a 183 of ours that waits for its PRACK; its RAck."""
    machine = wire.invited(request(extra="Supported: 100rel\n"))
    machine.ring(183, b"answer", (), now=wire.now)
    ringing = act(wire, machine)
    return machine, f"{ringing.headers.get('RSeq')} 1 INVITE"


def early_callee(wire: Wire, *, reliable: bool = True) -> tuple[InviteMachine, Request]:
    """Our INVITE, answered in their 183."""
    machine, invite = wire.call()
    wire.receive(answer(invite, 183, body="answer", extra=RELIABLE.format(7) if reliable else ""))
    wire.events.clear()
    return machine, invite


def theirs(machine: InviteMachine, method: str, cseq: int, *, body: str = "v=0\n", extra: str = "") -> str:
    """A request of theirs in the early dialog; `their-tag` is in every one."""
    return request(
        method,
        cseq=cseq,
        to_tag=machine.local_tag,
        call_id=machine.call_id,
        branch=f"z9hG4bK{method}{cseq}",
        body=body,
        extra=extra,
    )


def codes(messages: list[Request | Response]) -> list[int]:
    return [message.code for message in messages if isinstance(message, Response)]


def test_an_offer_in_the_prack_to_an_answer_is_answered_in_its_200() -> None:
    wire = Wire()
    machine, rack = early_caller(wire)
    assert wire.receive(theirs(machine, "PRACK", 2, extra=f"RAck: {rack}\n")) == []
    assert wire.events == [Reoffered(b"v=0\r\n")]
    machine.answer_reoffer(b"second answer", now=wire.now)
    ok = act(wire, machine)
    assert isinstance(ok, Response)
    assert (ok.code, ok.cseq[1], ok.body) == (200, "PRACK", b"second answer")
    machine.answer(b"answer", (), now=wire.now)
    final = act(wire, machine)
    assert isinstance(final, Response)
    assert (final.code, final.body) == (200, b"")


def late_caller(wire: Wire) -> tuple[InviteMachine, str]:
    """Their INVITE without an offer, offered to in a 183 of ours; its RAck."""
    machine = wire.invited(request(body="", extra="Supported: 100rel\n"))
    assert machine.may_offer_early
    machine.ring(183, b"our offer", (), now=wire.now)
    ringing = act(wire, machine)
    assert ringing.body == b"our offer"
    return machine, f"{ringing.headers.get('RSeq')} 1 INVITE"


def test_our_offer_in_a_183_is_answered_in_the_prack_and_the_200_has_none() -> None:
    wire = Wire()
    machine, rack = late_caller(wire)
    assert codes(wire.receive(theirs(machine, "PRACK", 2, extra=f"RAck: {rack}\n"))) == [200]
    assert wire.events == [EarlyAnswered(b"v=0\r\n")]
    assert wire.receive(theirs(machine, "UPDATE", 3)) == []  # the first exchange is complete
    machine.answer_reoffer(b"ours", now=wire.now)
    assert codes([act(wire, machine)]) == [200]
    machine.answer(b"our offer", (), now=wire.now)
    assert act(wire, machine).body == b""


def test_our_offer_that_the_prack_does_not_answer_is_in_the_200_again() -> None:
    wire = Wire()
    machine, rack = late_caller(wire)
    assert codes(wire.receive(theirs(machine, "PRACK", 2, body="", extra=f"RAck: {rack}\n"))) == [200]
    machine.answer(b"our offer", (), now=wire.now)
    assert act(wire, machine).body == b"our offer"


@pytest.mark.parametrize(("body", "extra"), [("v=0\n", "Supported: 100rel\n"), ("", "")])
def test_who_has_offered_or_knows_no_prack_is_offered_nothing_early(body: str, extra: str) -> None:
    wire = Wire()
    assert not wire.invited(request(body=body, extra=extra)).may_offer_early


def test_the_200_waits_for_the_answer_to_an_offer_in_the_prack() -> None:
    wire = Wire()
    machine, rack = early_caller(wire)
    machine.answer(b"answer", (), now=wire.now)
    wire.receive(theirs(machine, "PRACK", 2, extra=f"RAck: {rack}\n"))
    wire.core.touch(machine)
    assert wire.sent() == []
    machine.answer_reoffer(b"second answer", now=wire.now)
    wire.core.touch(machine)
    prack, final = wire.sent()
    assert (prack.cseq[1], prack.body, final.cseq[1], final.body) == ("PRACK", b"second answer", "INVITE", b"")


def test_an_offer_in_a_prack_that_is_refused_leaves_the_first_answer() -> None:
    wire = Wire()
    machine, rack = early_caller(wire)
    wire.receive(theirs(machine, "PRACK", 2, extra=f"RAck: {rack}\n"))
    machine.reject_reoffer(488, (), now=wire.now)
    refused = act(wire, machine)
    assert isinstance(refused, Response)
    assert (refused.code, refused.cseq[1]) == (488, "PRACK")
    machine.answer(b"answer", (), now=wire.now)
    assert act(wire, machine).body == b"answer"


def test_a_caller_may_offer_again_by_update_when_its_first_offer_has_its_answer() -> None:
    wire = Wire()
    machine, rack = early_caller(wire)
    assert codes(wire.receive(theirs(machine, "UPDATE", 2))) == [500]
    wire.receive(theirs(machine, "PRACK", 3, body="", extra=f"RAck: {rack}\n"))
    assert wire.receive(theirs(machine, "UPDATE", 4)) == []
    (busy,) = wire.receive(theirs(machine, "UPDATE", 5))
    assert isinstance(busy, Response)
    assert busy.code == 500
    assert 0 <= int(busy.headers.get("Retry-After") or -1) <= 10
    machine.answer_reoffer(b"second answer", now=wire.now)
    ok = act(wire, machine)
    assert isinstance(ok, Response)
    assert (ok.code, ok.cseq) == (200, (4, "UPDATE"))
    assert ok.headers.get("Session-Expires") is None


def test_a_callee_may_offer_again_by_update_when_our_offer_has_its_answer() -> None:
    wire = Wire()
    machine, invite = early_callee(wire)
    assert wire.receive(theirs(machine, "UPDATE", 1)) == []
    (event,) = wire.events
    assert isinstance(event, Reoffered)
    assert event.branch == "their-tag"
    machine.answer_reoffer(b"ours", now=wire.now)
    ok = act(wire, machine)
    assert isinstance(ok, Response)
    assert (ok.code, ok.body) == (200, b"ours")
    wire.receive(answer(invite, 200))
    assert wire.events[-1] == Answered(None)
    assert machine.state is SessionState.CONFIRMED


def test_an_update_before_the_answer_to_our_offer_is_glare() -> None:
    wire = Wire()
    machine, _ = early_callee(wire, reliable=False)
    assert codes(wire.receive(theirs(machine, "UPDATE", 1))) == [491]
    assert wire.events == []


def test_an_update_is_answered_even_when_the_call_is_answered_meanwhile() -> None:
    wire = Wire()
    machine, invite = early_callee(wire)
    wire.receive(theirs(machine, "UPDATE", 1))
    wire.receive(answer(invite, 200))
    assert not machine.may_reoffer
    machine.answer_reoffer(b"ours", now=wire.now)
    assert isinstance(act(wire, machine), Response)
    assert machine.may_reoffer


def test_another_branch_that_answers_ends_the_update_of_the_first() -> None:
    wire = Wire()
    machine, invite = early_callee(wire)
    wire.receive(theirs(machine, "UPDATE", 1))
    sent = wire.receive(answer(invite, 200, tag="other", body="sdp"))
    assert codes(sent) == [481]
    assert machine.offer_state is OfferState.IDLE


@pytest.mark.parametrize("how", ["cancel", "reject", "bye"])
def test_a_call_that_ends_early_answers_what_is_open(how: str) -> None:
    wire = Wire()
    machine, rack = early_caller(wire)
    wire.receive(theirs(machine, "PRACK", 2, extra=f"RAck: {rack}\n"))
    if how == "cancel":
        sent = wire.receive(request("CANCEL", body=""))
        assert isinstance(wire.events[-1], Cancelled)
    elif how == "bye":
        sent = wire.receive(theirs(machine, "BYE", 3, body=""))
    else:
        machine.reject(486, None, (), now=wire.now)
        wire.core.touch(machine)
        sent = wire.sent()
    assert {message.cseq[1] for message in sent if isinstance(message, Response) and message.code >= 300} == {
        "PRACK",
        "INVITE",
    }
    assert machine.state is SessionState.ENDED
