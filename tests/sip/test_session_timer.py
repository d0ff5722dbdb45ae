"""Session timers (RFC 4028) and UPDATE (RFC 3311): who refreshes, what is refused, and when a call is given up."""

from __future__ import annotations

import pytest

from mediaserver.sip.events import Ended, RefreshDue, Reoffered
from mediaserver.sip.invite_session import InviteMachine, OfferState, SessionState
from mediaserver.sip.message import Request, Response
from tests.sip.test_invite_session import act, established, in_dialog
from tests.sip.wire import Wire, answer, request

ALLOW = "Allow: INVITE, ACK, BYE, UPDATE\n"


def called(wire: Wire, *, expires: str = "", allow: str = ALLOW) -> InviteMachine:
    """A call of ours that was answered with these fields."""
    machine, invite = wire.call()
    assert (invite.headers.get("Session-Expires"), invite.headers.get("Min-SE")) == ("1800", "90")
    assert "timer" in invite.tokens("Supported")
    extra = allow + (f"Session-Expires: {expires}\n" if expires else "")
    wire.receive(answer(invite, 200, body="answer", extra=extra))
    wire.events.clear()
    return machine


def taken(wire: Wire, extra: str) -> tuple[InviteMachine, Response]:
    """A call of theirs that we answered, and our 200."""
    machine = wire.invited(request(extra=extra))
    machine.answer(b"sdp", (), now=wire.now)
    ok = act(wire, machine)
    assert isinstance(ok, Response)
    wire.receive(request("ACK", to_tag=machine.local_tag, branch="z9hG4bKack", body=""))
    wire.events.clear()
    return machine, ok


def sent(wire: Wire, seconds: float) -> list[tuple[float, str]]:
    return [(at, m.method) for at, m in wire.wait(seconds) if isinstance(m, Request)]


def test_we_refresh_by_update_at_half_of_the_interval() -> None:
    wire = Wire()
    machine = called(wire, expires="600;refresher=uac")
    assert sent(wire, 299) == []
    (_, update), *_ = wire.wait(1.1)
    assert isinstance(update, Request)
    assert (update.method, update.body) == ("UPDATE", b"")
    assert update.headers.get("Session-Expires") == "600;refresher=uac"
    assert update.contacts
    wire.receive(answer(update, 200, extra="Session-Expires: 600;refresher=uac\n"))
    assert sent(wire, 298) == []
    assert sent(wire, 2)[0][1] == "UPDATE"
    assert machine.state is SessionState.CONFIRMED


def test_a_peer_without_update_is_refreshed_by_its_owner() -> None:
    wire = Wire()
    called(wire, expires="600;refresher=uac", allow="Allow: INVITE, ACK, BYE\n")
    wire.wait(300)
    assert wire.events == [RefreshDue()]


def test_an_update_that_is_not_allowed_after_all_becomes_a_reinvite() -> None:
    wire = Wire()
    called(wire, expires="600;refresher=uac")
    (_, update), *_ = wire.wait(300)
    assert isinstance(update, Request)
    wire.receive(answer(update, 405))
    wire.wait(0.1)
    assert wire.events == [RefreshDue()]


def test_a_peer_that_refreshes_in_time_keeps_the_call_and_one_that_does_not_loses_it() -> None:
    wire = Wire()
    machine = called(wire, expires="600;refresher=uas")
    wire.wait(500)
    (ok,) = wire.receive(
        in_dialog(machine, "UPDATE", 1, branch="u1", extra="Session-Expires: 600;refresher=uac\nSupported: timer\n")
    )
    assert isinstance(ok, Response)
    assert ok.headers.get("Session-Expires") == "600;refresher=uac"
    assert "timer" in ok.tokens("Require")
    assert sent(wire, 567) == []
    assert sent(wire, 2)[0][1] == "BYE"
    assert wire.events == [Ended("timeout", 408, "session expired")]


def test_a_refresh_without_an_answer_ends_the_call() -> None:
    wire = Wire()
    called(wire, expires="600;refresher=uac")
    methods = [method for _, method in sent(wire, 340)]
    assert methods[0] == "UPDATE"
    assert "BYE" in methods
    assert isinstance(wire.events[-1], Ended)
    assert wire.events[-1].code == 408


def test_a_refresh_refused_for_the_moment_is_tried_again_and_ends_with_the_interval() -> None:
    wire = Wire()
    called(wire, expires="90;refresher=uac")
    updates = 0
    end = wire.now + 89
    while wire.now < end:
        for _, message in wire.wait(1):
            if isinstance(message, Request) and message.method == "UPDATE":
                updates += 1
                wire.receive(answer(message, 500))
    assert 2 <= updates <= 5
    assert wire.events == [Ended("timeout", 408, "session expired")]


def test_an_answer_without_a_timer_means_none() -> None:
    wire = Wire()
    called(wire)
    assert sent(wire, 4000) == []


def test_a_422_to_our_invite_is_taken_up_once_for_each_longer_interval() -> None:
    wire = Wire()
    _, invite = wire.call()
    _ack, again = wire.receive(answer(invite, 422, extra="Min-SE: 2400\n"))
    assert isinstance(again, Request)
    assert (again.headers.get("Session-Expires"), again.headers.get("Min-SE")) == ("2400", "2400")
    assert again.cseq[0] == 2
    assert [m.method for m in wire.receive(answer(again, 422, extra="Min-SE: 2400\n")) if isinstance(m, Request)] == [
        "ACK"
    ]
    assert len(wire.events) == 1


def test_an_interval_below_90_s_is_422_with_ours() -> None:
    wire = Wire()
    extra = "Session-Expires: 60\nSupported: timer\n"
    (refused,) = wire.receive(request(extra=extra))
    assert isinstance(refused, Response)
    assert (refused.code, refused.headers.get("Min-SE")) == (422, "90")
    machine, _ = established(wire)
    for method in ("INVITE", "UPDATE"):
        response = wire.receive(in_dialog(machine, method, 5, branch=f"s{method}", extra=extra))[-1]
        assert isinstance(response, Response)
        assert (response.code, response.headers.get("Min-SE")) == (422, "90")
    assert machine.offer_state is OfferState.IDLE


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("Session-Expires: 600;refresher=uac\nSupported: timer\n", "600;refresher=uac"),
        ("Session-Expires: 600\nSupported: timer\n", "600;refresher=uas"),
        ("Session-Expires: 600\n", "600;refresher=uas"),
        ("Session-Expires: 60\n", "90;refresher=uas"),
        ("Supported: timer\n", "1800;refresher=uas"),
        ("Session-Expires: 99999999;refresher=uas\nSupported: timer\nMin-SE: 3000\n", "3000;refresher=uas"),
        ("", None),
    ],
)
def test_what_a_caller_asks_for_is_answered_by_the_table(asked: str, answered: str | None) -> None:
    wire = Wire()
    _, ok = taken(wire, asked + ALLOW)
    assert ok.headers.get("Session-Expires") == answered
    assert ("timer" in ok.tokens("Require")) == (answered is not None and answered.endswith("uac"))
    methods = {method for _, method in sent(wire, 1600)}
    if answered is not None and answered.endswith("uas"):
        assert "UPDATE" in methods


@pytest.mark.parametrize(
    "broken", ["Session-Expires: soon\n", "Session-Expires: 9e9\n", "Min-SE: -1\n", "Min-SE: x;y\n"]
)
def test_broken_intervals_are_400_and_change_nothing(broken: str) -> None:
    wire = Wire()
    (refused,) = wire.receive(request(extra=broken))
    assert isinstance(refused, Response)
    assert refused.code == 400
    machine, _ = established(wire)
    response = wire.receive(in_dialog(machine, "UPDATE", 5, branch="b", extra=broken))[-1]
    assert isinstance(response, Response)
    assert response.code == 400
    assert machine.state is SessionState.CONFIRMED


def test_an_update_with_an_offer_is_answered_and_needs_no_ack() -> None:
    wire = Wire()
    machine, _ = established(wire)
    assert wire.receive(in_dialog(machine, "UPDATE", 1, branch="u1", body="theirs\n")) == []
    assert wire.events == [Reoffered(b"theirs\r\n")]
    machine.answer_reoffer(b"ours", now=wire.now)
    ok = act(wire, machine)
    assert isinstance(ok, Response)
    assert (ok.code, ok.body, ok.cseq) == (200, b"ours", (1, "UPDATE"))
    assert machine.may_reoffer
    assert wire.wait(60) == []


def test_an_update_that_meets_our_offer_is_491_and_a_second_one_500() -> None:
    wire = Wire()
    machine, _ = established(wire)
    wire.receive(in_dialog(machine, "UPDATE", 1, branch="u1", body="theirs\n"))
    (second,) = wire.receive(in_dialog(machine, "UPDATE", 2, branch="u2", body="theirs\n"))
    assert isinstance(second, Response)
    assert second.code == 500
    assert second.headers.get("Retry-After") is not None
    machine.reject_reoffer(488, (), now=wire.now)
    act(wire, machine)
    machine.reoffer(b"ours", now=wire.now)
    act(wire, machine)
    (glare,) = wire.receive(in_dialog(machine, "UPDATE", 3, branch="u3", body="theirs\n"))
    assert isinstance(glare, Response)
    assert glare.code == 491


def test_an_update_moves_the_target_also_before_the_answer() -> None:
    wire = Wire()
    machine, invite = wire.call()
    wire.receive(answer(invite, 183))
    names = {"to_tag": machine.local_tag, "call_id": machine.call_id}
    (ok,) = wire.receive(request("UPDATE", body="", branch="z9hG4bKe1", **names))
    assert isinstance(ok, Response)
    assert ok.code == 200
    (no,) = wire.receive(request("UPDATE", cseq=2, branch="z9hG4bKe2", **names))
    assert isinstance(no, Response)
    assert no.code == 491  # RFC 3311 §5.2: our own offer has no answer yet
