"""Sessions and dialogs on virtual time: both sides of RFC 3261 §13 to §15, with everything that crosses."""

from __future__ import annotations

import pytest

from mediaserver.errors import LocalProtocolError
from mediaserver.sip.events import (
    Answered,
    Cancelled,
    Confirmed,
    Ended,
    Info,
    Progress,
    Rejected,
    ReofferAnswered,
    Reoffered,
    ReofferRejected,
)
from mediaserver.sip.invite_session import InviteMachine, OfferState, SessionState
from mediaserver.sip.message import Request, Response
from mediaserver.sip.session_states import OFFER_TRANSITIONS, SESSION_TRANSITIONS
from tests.sip.wire import Wire, answer, request


def established(wire: Wire) -> tuple[InviteMachine, Request]:
    """An outgoing call that was answered."""
    machine, invite = wire.call()
    wire.receive(answer(invite, 200, body="sdp"))
    wire.events.clear()
    return machine, invite


def act(wire: Wire, machine: InviteMachine) -> Request | Response:
    """The one message that the last call on the machine sends."""
    wire.core.touch(machine)
    (message,) = wire.sent()
    return message


def in_dialog(machine: InviteMachine, method: str, cseq: int, *, branch: str, body: str = "", extra: str = "") -> str:
    """A request of the peer inside the dialog of an outgoing call."""
    assert machine.dialog is not None
    return request(
        method,
        cseq=cseq,
        to_tag=machine.local_tag,
        from_tag=machine.dialog.remote_tag,
        call_id=machine.call_id,
        branch=f"z9hG4bK{branch}",
        body=body,
        extra=extra,
    )


def test_route_set_of_two_proxies_is_followed_in_order() -> None:
    wire = Wire()
    machine, invite = wire.call()
    routes = "Record-Route: <sip:p2.example.net;lr>, <sip:p1.example.net;lr>\n"
    (ack,) = wire.receive(answer(invite, 200, body="sdp", extra=routes))
    assert isinstance(ack, Request)
    assert [str(route.uri) for route in ack.routes] == ["sip:p1.example.net;lr", "sip:p2.example.net;lr"]
    assert ack.uri_text == "sip:bob@192.0.2.9:5070"
    machine.hangup(None, now=wire.now)
    bye = act(wire, machine)
    assert isinstance(bye, Request)
    assert [str(route.uri) for route in bye.routes] == ["sip:p1.example.net;lr", "sip:p2.example.net;lr"]


def test_strict_router_becomes_the_request_uri() -> None:
    wire = Wire()
    _, invite = wire.call()
    routes = "Record-Route: <sip:p2.example.net;lr>, <sip:p1.example.net>\n"
    (ack,) = wire.receive(answer(invite, 200, body="sdp", extra=routes))
    assert isinstance(ack, Request)
    assert ack.uri_text == "sip:p1.example.net"
    assert [str(route.uri) for route in ack.routes] == ["sip:p2.example.net;lr", "sip:bob@192.0.2.9:5070"]


def test_route_set_of_the_callee_is_in_the_order_received() -> None:
    wire = Wire()
    routes = "Record-Route: <sip:p2.example.net;lr>\nRecord-Route: <sip:p1.example.net;lr>\n"
    machine = wire.invited(request(extra=routes))
    machine.answer(b"sdp", (), now=wire.now)
    ok = act(wire, machine)
    assert [str(route.uri) for route in ok.record_routes] == ["sip:p2.example.net;lr", "sip:p1.example.net;lr"]
    wire.receive(request("ACK", to_tag=machine.local_tag, branch="z9hG4bKack", body=""))
    machine.hangup(None, now=wire.now)
    bye = act(wire, machine)
    assert isinstance(bye, Request)
    assert [str(route.uri) for route in bye.routes] == ["sip:p2.example.net;lr", "sip:p1.example.net;lr"]


def test_forked_call_takes_the_first_answer_and_hangs_the_second_up() -> None:
    wire = Wire()
    machine, invite = wire.call()
    wire.receive(answer(invite, 180, tag="a"))
    wire.receive(answer(invite, 183, tag="b", body="early"))
    wire.receive(answer(invite, 200, tag="b", body="sdp"))
    assert wire.events == [
        Progress(180, "Something", None, branch="a"),
        Progress(183, "Something", b"early", branch="b"),
        Answered(b"sdp"),
    ]
    ack, bye = wire.receive(answer(invite, 200, tag="a", body="sdp"))
    assert isinstance(ack, Request)
    assert isinstance(bye, Request)
    assert (ack.method, bye.method) == ("ACK", "BYE")
    assert ack.to.tag == bye.to.tag == "a"
    assert machine.state is SessionState.CONFIRMED


def test_cancel_waits_for_the_first_provisional_response() -> None:
    wire = Wire()
    machine, invite = wire.call()
    machine.hangup(None, now=wire.now)
    wire.core.touch(machine)
    assert wire.sent() == []
    (cancel,) = wire.receive(answer(invite, 100))
    assert isinstance(cancel, Request)
    assert (cancel.method, cancel.via.branch, cancel.cseq) == ("CANCEL", invite.via.branch, (1, "CANCEL"))
    assert cancel.to.tag is None
    (ack,) = wire.receive(answer(invite, 487))
    assert isinstance(ack, Request)
    assert wire.events == [Ended("local", 487, "cancelled")]
    assert not wire.core.busy


def test_cancel_that_crosses_the_answer_ends_in_ack_and_bye() -> None:
    wire = Wire()
    machine, invite = wire.call()
    wire.receive(answer(invite, 180))
    machine.hangup('SIP;cause=200;text="elsewhere"', now=wire.now)
    cancel = act(wire, machine)
    assert isinstance(cancel, Request)
    assert cancel.headers.get("Reason") == 'SIP;cause=200;text="elsewhere"'
    ack, bye = wire.receive(answer(invite, 200, body="sdp"))
    assert isinstance(ack, Request)
    assert isinstance(bye, Request)
    assert (ack.method, bye.method) == ("ACK", "BYE")
    assert bye.headers.get("Reason") == 'SIP;cause=200;text="elsewhere"'
    wire.receive(answer(bye, 200))
    assert not wire.core.busy
    assert wire.events[-1] == Ended("local", 487, "cancelled", 'SIP;cause=200;text="elsewhere"')


def test_cancelled_call_without_any_final_response_is_forgotten() -> None:
    wire = Wire()
    machine, invite = wire.call()
    wire.receive(answer(invite, 180))
    machine.hangup(None, now=wire.now)
    wire.core.touch(machine)
    wire.wait(33)
    assert not wire.core.busy


def test_our_answer_is_repeated_until_the_ack() -> None:
    wire = Wire()
    machine = wire.invited(request())
    machine.answer(b"sdp", (), now=wire.now)
    ok = act(wire, machine)
    assert isinstance(ok, Response)
    assert ok.contacts[0].sip_uri.host == "192.0.2.1"
    sent = wire.wait(10)
    assert [at for at, _ in sent] == [0.5, 1.5, 3.5, 7.5]
    wire.receive(request("ACK", to_tag=machine.local_tag, branch="z9hG4bKack", body=""))
    assert wire.events == [Confirmed(None)]
    assert wire.wait(60) == []


def test_answer_without_ack_ends_in_bye() -> None:
    wire = Wire()
    machine = wire.invited(request())
    machine.answer(b"sdp", (), now=wire.now)
    wire.core.touch(machine)
    wire.sent()
    sent = wire.wait(40)
    assert next(m.method for _, m in sent if isinstance(m, Request)) == "BYE"
    assert wire.events == [Ended("timeout", 408, "no ACK")]


def test_hang_up_before_the_ack_waits_for_it() -> None:
    wire = Wire()
    machine = wire.invited(request())
    machine.answer(b"sdp", (), now=wire.now)
    act(wire, machine)
    machine.hangup(None, now=wire.now)
    wire.core.touch(machine)
    assert wire.sent() == []
    (bye,) = wire.receive(request("ACK", to_tag=machine.local_tag, branch="z9hG4bKack", body=""))
    assert isinstance(bye, Request)
    assert bye.method == "BYE"


def test_cancel_of_their_invite_is_487_and_told() -> None:
    wire = Wire()
    machine = wire.invited(request())
    machine.ring(180, None, (), now=wire.now)
    ringing = act(wire, machine)
    ok, terminated = wire.receive(request("CANCEL", body="", extra='Reason: SIP;cause=200;text="elsewhere"\n'))
    assert isinstance(ok, Response)
    assert isinstance(terminated, Response)
    assert (ok.code, terminated.code) == (200, 487)
    assert ok.to.tag == terminated.to.tag == ringing.to.tag
    assert wire.events == [Cancelled('SIP;cause=200;text="elsewhere"')]
    with pytest.raises(LocalProtocolError):
        machine.answer(b"sdp", (), now=wire.now)


def test_cancel_after_the_answer_changes_nothing() -> None:
    wire = Wire()
    machine = wire.invited(request())
    machine.answer(b"sdp", (), now=wire.now)
    act(wire, machine)
    (ok,) = wire.receive(request("CANCEL", body=""))
    assert isinstance(ok, Response)
    assert ok.code == 200
    assert machine.state is SessionState.ANSWERED


def test_second_invite_while_the_first_is_open_is_500_with_retry_after() -> None:
    wire = Wire()
    machine = wire.invited(request())
    trying, response = wire.receive(request(cseq=2, to_tag=machine.local_tag, branch="z9hG4bKsecond"))
    assert isinstance(response, Response)
    assert response.code == 500
    assert 0 <= int(response.headers.get("Retry-After") or "-1") <= 10
    assert isinstance(trying, Response)


def test_their_reinvite_during_ours_is_491() -> None:
    wire = Wire()
    machine, _ = established(wire)
    machine.reoffer(b"ours", now=wire.now)
    act(wire, machine)
    *_, response = wire.receive(in_dialog(machine, "INVITE", 1, branch="r", body="theirs\n"))
    assert isinstance(response, Response)
    assert response.code == 491
    assert wire.events == []


def test_491_is_retried_by_the_caller_after_2100_to_4000_ms() -> None:
    wire = Wire()
    machine, _ = established(wire)
    machine.reoffer(b"ours", now=wire.now)
    first = act(wire, machine)
    assert isinstance(first, Request)
    wire.receive(answer(first, 491))
    assert wire.wait(2.0) == []
    at, again = wire.wait(2.1)[0]
    assert 0.09 <= at <= 2.01
    assert isinstance(again, Request)
    assert (again.body, again.cseq[0]) == (b"ours", first.cseq[0] + 1)
    wire.receive(answer(again, 200, body="fine"))
    assert wire.events == [ReofferAnswered(b"fine")]


def test_491_is_retried_by_the_callee_within_2000_ms() -> None:
    wire = Wire()
    machine = wire.invited(request())
    machine.answer(b"sdp", (), now=wire.now)
    act(wire, machine)
    wire.receive(request("ACK", to_tag=machine.local_tag, branch="z9hG4bKack", body=""))
    machine.reoffer(b"ours", now=wire.now)
    first = act(wire, machine)
    assert isinstance(first, Request)
    wire.receive(answer(first, 491))
    assert wire.wait(2.01) != []


def test_failed_reinvite_leaves_the_call_alone() -> None:
    wire = Wire()
    machine, _ = established(wire)
    machine.reoffer(b"ours", now=wire.now)
    invite = act(wire, machine)
    assert isinstance(invite, Request)
    wire.receive(answer(invite, 488))
    assert wire.events == [ReofferRejected(488)]
    assert (machine.state, machine.offer_state) == (SessionState.CONFIRMED, OfferState.IDLE)


@pytest.mark.parametrize(("code", "by"), [(481, "remote"), (408, "remote")])
def test_reinvite_into_a_lost_dialog_ends_the_call(code: int, by: str) -> None:
    wire = Wire()
    machine, _ = established(wire)
    machine.reoffer(b"ours", now=wire.now)
    invite = act(wire, machine)
    assert isinstance(invite, Request)
    wire.receive(answer(invite, code))
    (event,) = wire.events
    assert isinstance(event, Ended)
    assert (event.by, event.code) == (by, code)


def test_their_reinvite_refreshes_the_target_and_carries_late_offers() -> None:
    wire = Wire()
    machine, _ = established(wire)
    text = in_dialog(machine, "INVITE", 1, branch="r1").replace("192.0.2.9:5070", "192.0.2.9:5090")
    wire.receive(text)
    assert wire.events == [Reoffered(None)]
    machine.answer_reoffer(b"offer", now=wire.now)
    ok = act(wire, machine)
    assert ok.body == b"offer"
    wire.receive(in_dialog(machine, "ACK", 1, branch="r2", body="answer\n"))
    assert wire.events[-1] == Confirmed(b"answer\r\n")
    machine.hangup(None, now=wire.now)
    bye = act(wire, machine)
    assert isinstance(bye, Request)
    assert bye.uri_text == "sip:bob@192.0.2.9:5090"


def test_their_reinvite_can_be_refused() -> None:
    wire = Wire()
    machine, _ = established(wire)
    wire.receive(in_dialog(machine, "INVITE", 1, branch="r1", body="theirs\n"))
    machine.reject_reoffer(488, (), now=wire.now)
    response = act(wire, machine)
    assert isinstance(response, Response)
    assert response.code == 488
    assert machine.offer_state is OfferState.IDLE


def test_late_offer_call_is_acknowledged_with_our_answer() -> None:
    wire = Wire()
    machine, invite = wire.call(body=None)
    assert wire.receive(answer(invite, 200, body="offer")) == []
    assert wire.events == [Answered(b"offer")]
    machine.acknowledge(b"answer", now=wire.now)
    ack = act(wire, machine)
    assert (ack.body, ack.content_type) == (b"answer", "application/sdp")
    assert wire.receive(answer(invite, 200, body="offer"))[0].encode() == ack.encode()


def test_info_is_answered_and_told_and_packages_are_refused() -> None:
    wire = Wire()
    machine, _ = established(wire)
    (ok,) = wire.receive(
        in_dialog(machine, "INFO", 1, branch="i1", body="<x/>\n").replace("application/sdp", "application/dtmf-relay")
    )
    assert isinstance(ok, Response)
    assert ok.code == 200
    assert wire.events == [Info("application/dtmf-relay", b"<x/>\r\n")]
    (refused,) = wire.receive(in_dialog(machine, "INFO", 2, branch="i2", extra="Info-Package: foo\n"))
    assert isinstance(refused, Response)
    assert refused.code == 469


def test_options_in_the_dialog_is_200_and_publish_is_405() -> None:
    wire = Wire()
    machine, _ = established(wire)
    (ok,) = wire.receive(in_dialog(machine, "OPTIONS", 1, branch="o1"))
    (no,) = wire.receive(in_dialog(machine, "PUBLISH", 2, branch="u1"))
    assert isinstance(ok, Response)
    assert isinstance(no, Response)
    assert (ok.code, no.code) == (200, 405)
    assert "INVITE" in (no.headers.get("Allow") or "")


def test_required_extension_is_420() -> None:
    wire = Wire()
    (response,) = wire.receive(request(extra="Require: 100rel, gin\n"))
    assert isinstance(response, Response)
    assert response.code == 420
    assert response.headers.get("Unsupported") == "gin"


def test_old_cseq_in_the_dialog_is_500() -> None:
    wire = Wire()
    machine, _ = established(wire)
    wire.receive(in_dialog(machine, "INFO", 5, branch="i1"))
    (response,) = wire.receive(in_dialog(machine, "INFO", 4, branch="i2"))
    assert isinstance(response, Response)
    assert response.code == 500


def test_wrong_tag_is_481() -> None:
    wire = Wire()
    machine, _ = established(wire)
    (response,) = wire.receive(request("BYE", to_tag=machine.local_tag, from_tag="stranger", call_id=machine.call_id))
    assert isinstance(response, Response)
    assert response.code == 481
    assert machine.state is SessionState.CONFIRMED


def test_bye_with_reason_is_told() -> None:
    wire = Wire()
    machine, _ = established(wire)
    (ok,) = wire.receive(in_dialog(machine, "BYE", 1, branch="b", extra="Reason: Q.850;cause=16\n"))
    assert isinstance(ok, Response)
    assert ok.code == 200
    assert wire.events == [Ended("remote", reason="BYE", cause="Q.850;cause=16")]
    assert not wire.core.busy


def test_bye_before_the_answer_ends_their_invite_with_487() -> None:
    wire = Wire()
    machine = wire.invited(request())
    responses = wire.receive(request("BYE", cseq=2, to_tag=machine.local_tag, branch="z9hG4bKbye", body=""))
    assert sorted(r.code for r in responses if isinstance(r, Response)) == [200, 487]


def test_ringing_is_bounded_on_both_sides() -> None:
    wire = Wire()
    machine, invite = wire.call()
    wire.receive(answer(invite, 180))
    wire.invited(request())
    sent = [message for _, message in wire.wait(301)]
    assert any(isinstance(m, Request) and m.method == "CANCEL" for m in sent)
    assert any(isinstance(m, Response) and m.code == 480 for m in sent)
    assert Rejected(408, "not answered in time") in wire.events
    assert Ended("timeout", 480, "not answered in time") in wire.events
    assert machine.state is not SessionState.EARLY


@pytest.mark.parametrize("table", [SESSION_TRANSITIONS, OFFER_TRANSITIONS])
def test_every_state_of_the_tables_is_reached(table: dict) -> None:  # type: ignore[type-arg]
    starts = {SessionState.CALLING, SessionState.INCOMING, OfferState.IDLE}
    reached = {state for state, _ in table} & starts
    while more := {to for (at, _), to in table.items() if at in reached} - reached:
        reached |= more
    assert reached >= {state for state, _ in table}


def test_tables_can_be_drawn() -> None:
    lines = [f"{at.name} --{what.name}--> {to.name}" for (at, what), to in SESSION_TRANSITIONS.items()]
    assert "CONFIRMED --RECEIVE_BYE--> ENDED" in lines
    assert len(lines) == len(set(lines))
