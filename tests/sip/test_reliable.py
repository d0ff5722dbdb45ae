"""Provisional responses with PRACK (RFC 3262), forked early dialogs, and what is dropped of a storm of them."""

from __future__ import annotations

import pytest

from mediaserver.sip.config import SipLimits
from mediaserver.sip.events import Answered, Ended, Progress
from mediaserver.sip.message import Request, Response
from tests.sip.test_invite_session import act
from tests.sip.wire import Wire, answer, request

RELIABLE = "Require: 100rel\nRSeq: {}\n"


def test_a_reliable_response_is_acknowledged_once_and_told_once() -> None:
    wire = Wire()
    _, invite = wire.call()
    assert "100rel" in invite.tokens("Supported")
    first = answer(invite, 183, body="early", extra=RELIABLE.format(7))
    (prack,) = wire.receive(first)
    assert isinstance(prack, Request)
    assert (prack.method, prack.headers.get("RAck"), prack.cseq[0]) == ("PRACK", "7 1 INVITE", 2)
    assert prack.uri_text == "sip:bob@192.0.2.9:5070"
    assert wire.receive(first) == []
    assert wire.events == [Progress(183, "Something", b"early", reliable=True, branch="their-tag")]


def test_a_response_ahead_of_its_turn_waits_for_the_one_before() -> None:
    wire = Wire()
    _, invite = wire.call()
    wire.receive(answer(invite, 183, extra=RELIABLE.format(7)))
    assert wire.receive(answer(invite, 180, extra=RELIABLE.format(9))) == []
    assert [
        m.method for m in wire.receive(answer(invite, 180, extra=RELIABLE.format(8))) if isinstance(m, Request)
    ] == ["PRACK"]


def test_numbers_of_early_dialogs_are_their_own_and_go_on_after_the_answer() -> None:
    wire = Wire()
    machine, invite = wire.call()
    wire.receive(answer(invite, 183, tag="one", extra=RELIABLE.format(5)))
    wire.receive(answer(invite, 183, tag="two", extra=RELIABLE.format(900)))
    wire.receive(answer(invite, 200, tag="two", body="sdp"))
    assert wire.events[-1] == Answered(b"sdp")
    machine.hangup(None, now=wire.now)
    bye = act(wire, machine)
    assert isinstance(bye, Request)
    assert (bye.method, bye.cseq[0], bye.to.tag) == ("BYE", 3, "two")


@pytest.mark.parametrize("broken", ["Require: 100rel\n", "Require: 100rel\nRSeq: 0\n", "Require: 100rel\nRSeq: x\n"])
def test_a_reliable_response_without_its_number_is_dropped_and_counted(broken: str) -> None:
    wire = Wire()
    _, invite = wire.call()
    assert wire.receive(answer(invite, 183, extra=broken)) == []
    assert wire.events == []
    assert wire.counts.table["sip.malformed.response"] == 1


def test_endless_provisionals_are_bounded_and_counted() -> None:
    wire = Wire(limits=SipLimits(provisionals=20))
    _, invite = wire.call()
    for _ in range(100):
        wire.receive(answer(invite, 180))
    assert len(wire.events) == 20
    assert wire.counts.table["sip.dropped.provisionals_full"] == 80
    wire.receive(answer(invite, 200, body="sdp"))
    assert wire.events[-1] == Answered(b"sdp")


def test_a_storm_of_forks_is_bounded_and_counted() -> None:
    wire = Wire(limits=SipLimits(early_dialogs=4))
    machine, invite = wire.call()
    for number in range(50):
        wire.receive(answer(invite, 183, tag=f"fork{number}"))
    assert len(machine._early) == 4
    assert wire.counts.table["sip.dropped.early_dialogs_full"] == 46


def ringing(wire: Wire, extra: str, *, body: bytes | None = None):  # type: ignore[no-untyped-def]
    machine = wire.invited(request(extra=extra))
    machine.ring(183 if body else 180, body, (), now=wire.now)
    response = act(wire, machine)
    assert isinstance(response, Response)
    return machine, response


def prack(machine, rack: str, *, cseq: int = 2, body: str = "") -> str:  # type: ignore[no-untyped-def]
    return request(
        "PRACK", cseq=cseq, to_tag=machine.local_tag, branch=f"z9hG4bKp{cseq}", body=body, extra=f"RAck: {rack}\n"
    )


def test_our_ringing_is_repeated_until_its_prack_and_the_next_waits() -> None:
    wire = Wire()
    machine, first = ringing(wire, "Require: 100rel\n")
    number = int(first.headers.get("RSeq") or 0)
    assert "100rel" in first.tokens("Require")
    assert [at for at, _ in wire.wait(4)] == [0.5, 1.5, 3.5]
    machine.ring(183, None, (), now=wire.now)
    wire.core.touch(machine)
    assert wire.sent() == []
    (wrong,) = wire.receive(prack(machine, f"{number + 1} 1 INVITE"))
    assert isinstance(wrong, Response)
    assert wrong.code == 481
    ok, second = wire.receive(prack(machine, f"{number} 1 INVITE", cseq=3))
    assert isinstance(ok, Response)
    assert isinstance(second, Response)
    assert (ok.code, second.code, int(second.headers.get("RSeq") or 0)) == (200, 183, number + 1)


def test_an_answer_waits_for_the_prack_of_an_early_one() -> None:
    wire = Wire()
    machine, early = ringing(wire, "Supported: 100rel\n", body=b"early")
    machine.answer(b"sdp", (), now=wire.now)
    wire.core.touch(machine)
    assert wire.sent() == []
    _, ok = wire.receive(prack(machine, f"{early.headers.get('RSeq')} 1 INVITE"))
    assert isinstance(ok, Response)
    assert (ok.code, ok.body) == (200, b"sdp")


def test_ringing_without_a_body_is_plain_where_it_may_be() -> None:
    wire = Wire()
    _, plain = ringing(wire, "Supported: 100rel\n")
    assert plain.headers.get("RSeq") is None
    assert wire.wait(30) == []


def test_without_a_prack_the_call_is_given_up_with_504() -> None:
    wire = Wire()
    ringing(wire, "Require: 100rel\n")
    codes = [m.code for _, m in wire.wait(33) if isinstance(m, Response)]
    assert 504 in codes
    assert wire.events == [Ended("timeout", 504, "no PRACK")]


@pytest.mark.parametrize("rack", ["", "1", "x 1 INVITE", "1 99999999999999999999 INVITE"])
def test_a_prack_that_names_nothing_is_400(rack: str) -> None:
    wire = Wire()
    machine, _ = ringing(wire, "Require: 100rel\n")
    (response,) = wire.receive(prack(machine, rack))
    assert isinstance(response, Response)
    assert response.code == 400


def test_an_offer_in_a_prack_is_declined() -> None:
    wire = Wire()
    machine, early = ringing(wire, "Require: 100rel\n")
    (response,) = wire.receive(prack(machine, f"{early.headers.get('RSeq')} 1 INVITE", body="v=0\n"))
    assert isinstance(response, Response)
    assert response.code == 488
