"""What attackers and broken peers send, by name: each is refused clearly, bounded, counted, and logged once."""

from __future__ import annotations

import pytest

from mediaserver.sip.config import SipLimits
from mediaserver.sip.credentials import Credentials
from mediaserver.sip.digest import answer_challenge, parse_digest
from mediaserver.sip.events import Answered
from mediaserver.sip.flow import Flow
from mediaserver.sip.message import Request, Response
from mediaserver.sip.session_states import SessionState
from tests.sip.conftest import PASSWORDS
from tests.sip.wire import PEER, Wire, answer, request

ATTACKER = Flow("udp", "192.0.2.1", 5060, "203.0.113.66", 5060)


def code(sent: list[Request | Response]) -> int:
    (response,) = sent
    assert isinstance(response, Response)
    return response.code


def proof(wire: Wire, method: str, uri: str, *, user: str = "bob", password: str = "", flow: Flow = PEER) -> str:
    """An Authorization line for a challenge that is asked for here."""
    (challenge,) = wire.receive(request(method, uri=uri, call_id="asks", branch=f"z9hG4bK{wire.now}"), flow)
    assert isinstance(challenge, Response)
    return proven(challenge, method, uri, user=user, password=password)


def proven(challenge: Response, method: str, uri: str, *, user: str = "bob", password: str = "") -> str:
    params = parse_digest(challenge.headers.all("WWW-Authenticate")[0])
    assert params is not None
    credentials = Credentials(user, password or PASSWORDS[user])
    return f"Authorization: {answer_challenge(params, credentials, method=method, uri=uri)}\n"


def users_call(wire: Wire):  # type: ignore[no-untyped-def]
    """A call of bob's phone, proven by his password, that stands."""
    uri = "sip:alice@192.0.2.1"
    invite = request(cseq=2, branch="z9hG4bKproven", extra=proof(wire, "INVITE", uri))
    machine = wire.invited(invite)
    machine.answer(b"answer", (), now=wire.now)
    wire.core.touch(machine)
    wire.sent()
    wire.receive(request("ACK", cseq=2, to_tag=machine.local_tag, body="", branch="z9hG4bKack"))
    assert machine.state is SessionState.CONFIRMED
    wire.events.clear()
    return machine


def inside(machine, method: str, cseq: int, extra: str = "") -> str:  # type: ignore[no-untyped-def]
    """A request with the right tags."""
    body = "v=0\n" if method == "INVITE" else ""
    return request(method, cseq=cseq, to_tag=machine.local_tag, body=body, extra=extra, branch=f"z9hG4bK{method}{cseq}")


def test_wrong_digest_is_challenged_then_banned_and_logged_once() -> None:
    wire = Wire(trunk=False)
    answers = []
    for number in range(30):
        wire.now += 0.5
        sent = wire.receive(request(call_id="asks", branch=f"z9hG4bKa{number}"))
        if not sent:
            break
        (challenge,) = sent
        assert isinstance(challenge, Response)
        wrong = proven(challenge, "INVITE", "sip:alice@192.0.2.1", password="guess")
        answers.append(wire.receive(request(cseq=2 + number, branch=f"z9hG4bKb{number}", extra=wrong)))
    assert [len(sent) for sent in answers] == [1] * 9 + [0]
    assert wire.counts.table["sip.challenges.wrong"] == 10
    for number in range(50):
        assert wire.receive(request(branch=f"z9hG4bKc{number}")) == []
    assert wire.counts.table["sip.dropped.banned"] == 51
    assert wire.noticed == [("banned", "192.0.2.9")]
    assert wire.new == []


def test_replayed_nonces_are_challenged_again_counted_and_logged_once() -> None:
    wire = Wire(trunk=False)
    recorded = proof(wire, "INVITE", "sip:alice@192.0.2.1")
    assert code(wire.receive(request(branch="z9hG4bKfirst", extra=recorded))) == 100
    for number in range(20):
        (refused,) = wire.receive(request(branch=f"z9hG4bKr{number}", call_id=f"again{number}", extra=recorded))
        assert isinstance(refused, Response)
        assert refused.code == 401
        assert "stale=true" in refused.headers.all("WWW-Authenticate")[0]
    assert wire.counts.table["sip.challenges.replayed"] == 20
    assert wire.noticed == [("nonce_replayed", "192.0.2.9")]
    assert len(wire.new) == 1


@pytest.mark.parametrize("method", ["BYE", "INVITE", "REFER", "UPDATE", "INFO", "MESSAGE"])
def test_spoofed_requests_with_overheard_tags_change_nothing_without_the_password(method: str) -> None:
    wire = Wire(trunk=False)
    machine = users_call(wire)
    for number in range(30):
        sent = wire.receive(inside(machine, method, 10 + number, "Refer-To: <sip:0900@192.0.2.1>\n"), ATTACKER)
        assert code(sent) == 401
    assert machine.state is SessionState.CONFIRMED
    assert machine.flow == PEER
    assert machine.dialog is not None
    assert machine.dialog.remote_cseq == 2
    assert wire.events == []
    assert wire.counts.table["sip.dropped.dialog_from_elsewhere"] == 30
    assert wire.noticed == [("dialog_from_elsewhere", "203.0.113.66")]
    assert code(wire.receive(inside(machine, "BYE", 3))) == 200  # the phone itself goes on as before


def test_a_spoofed_ack_moves_nobody() -> None:
    wire = Wire(trunk=False)
    machine = users_call(wire)
    wire.receive(inside(machine, "INVITE", 3))
    machine.answer_reoffer(b"answer", now=wire.now)
    wire.core.touch(machine)
    wire.sent()
    wire.receive(inside(machine, "ACK", 3), ATTACKER)
    assert machine.flow == PEER


def test_a_phone_that_has_moved_proves_itself_and_goes_on() -> None:
    wire = Wire(trunk=False)
    machine = users_call(wire)
    moved = Flow("udp", "192.0.2.1", 5060, "198.51.100.7", 4711)
    (challenge,) = wire.receive(inside(machine, "BYE", 3), moved)
    assert isinstance(challenge, Response)
    assert challenge.code == 401
    other = proven(challenge, "BYE", "sip:alice@192.0.2.1", user="alice")
    assert code(wire.receive(inside(machine, "BYE", 4, other), moved)) == 403
    (challenge,) = wire.receive(inside(machine, "BYE", 5), moved)
    assert isinstance(challenge, Response)
    assert code(wire.receive(inside(machine, "BYE", 6, proven(challenge, "BYE", "sip:alice@192.0.2.1")), moved)) == 200
    assert machine.state is SessionState.ENDED


def test_spoofed_requests_with_guessed_tags_are_481_and_change_nothing() -> None:
    wire = Wire(trunk=False)
    machine = users_call(wire)
    bye = request("BYE", cseq=9, to_tag="guess", body="", branch="z9hG4bKg")
    assert code(wire.receive(bye, ATTACKER)) == 481
    bye = request("BYE", cseq=9, to_tag=machine.local_tag, from_tag="guess", body="", branch="z9hG4bKh")
    assert code(wire.receive(bye, ATTACKER)) == 481
    assert machine.state is SessionState.CONFIRMED


def test_cseq_going_backwards_is_500_counted_and_logged_once() -> None:
    wire = Wire(trunk=False)
    machine = users_call(wire)
    assert code(wire.receive(inside(machine, "INFO", 1_000))) == 200
    for number in range(3, 30):
        assert code(wire.receive(inside(machine, "BYE", number))) == 500
    assert wire.counts.table["sip.dropped.cseq_backwards"] == 27
    assert wire.noticed == [("cseq_backwards", "192.0.2.9")]
    assert machine.state is SessionState.CONFIRMED


def test_endless_1xx_is_bounded_ends_in_time_and_is_logged_once() -> None:
    wire = Wire(limits=SipLimits(provisionals=20, ringing_s=60))
    machine, invite = wire.call()
    for number in range(2_000):
        wire.now += 0.1
        wire.core.handle_timeout(wire.now)
        wire.receive(answer(invite, 180 + number % 4, tag=f"tag{number % 3}"))
    assert len(wire.events) == 21  # twenty, and that nobody answered
    assert machine.state in (SessionState.CANCELLING, SessionState.ENDED)
    assert wire.noticed == [("endless_provisionals", "192.0.2.9")]
    assert wire.counts.table["sip.dropped.provisionals_full"] > 500


def test_a_forked_storm_is_bounded_answered_once_and_logged_once() -> None:
    wire = Wire(limits=SipLimits(early_dialogs=4))
    machine, invite = wire.call()
    for number in range(100):
        wire.receive(answer(invite, 183, tag=f"fork{number}"))
    assert len(machine._early) == 4
    assert wire.noticed == [("fork_storm", "192.0.2.9")]
    methods = []
    for number in range(50):  # every branch answers as well: each but the first is hung up
        methods += [
            one.method
            for one in wire.receive(answer(invite, 200, tag=f"fork{number}", body="sdp"))
            if isinstance(one, Request)
        ]
    assert methods == ["ACK"] + ["ACK", "BYE"] * 49
    assert [event for event in wire.events if isinstance(event, Answered)] == [Answered(b"sdp")]


def test_a_call_that_comes_round_by_two_ways_is_482_and_at_its_last_hop_483() -> None:
    wire = Wire()
    assert code(wire.receive(request())) == 100
    for number in range(20):
        assert code(wire.receive(request(branch=f"z9hG4bKother{number}"))) == 482
    spent = request(call_id="spent", branch="z9hG4bKspent").replace("Max-Forwards: 70", "Max-Forwards: 0")
    assert code(wire.receive(spent)) == 483
    assert wire.counts.table["sip.dropped.loop"] == 21
    assert wire.noticed == [("loop", "192.0.2.9")]
    assert len(wire.new) == 1


def test_a_route_that_leads_back_to_us_or_to_others_is_not_followed() -> None:
    wire = Wire()
    routes = "".join(f"Route: <sip:192.0.2.1;lr>, <sip:203.0.113.{number};lr>\n" for number in range(20))
    (trying,) = wire.receive(request(extra=routes))
    assert isinstance(trying, Response)  # nothing but this: no request leaves for any of them
    assert trying.code == 100


def test_a_route_set_without_end_is_refused() -> None:
    wire = Wire()
    recorded = "".join(f"Record-Route: <sip:203.0.113.{number};lr>\n" for number in range(60))
    codes = [one.code for one in wire.receive(request(extra=recorded)) if isinstance(one, Response)]
    assert codes == [400]
    assert wire.new == []


@pytest.mark.parametrize(
    "extra",
    [
        f"Subject: {'x' * 20_000}\n",
        "".join(f"X-{number}: y\n" for number in range(400)),
        f"Via: {', '.join(f'SIP/2.0/UDP 192.0.2.{n};branch=z9hG4bK{n}' for n in range(200))}\n" * 3,
        f"Contact: {', '.join(f'<sip:a@192.0.2.{n}>' for n in range(250))}\n",
    ],
    ids=["long", "many", "vias", "contacts"],
)
def test_gigantic_headers_are_refused_and_logged_once(extra: str) -> None:
    wire = Wire(trunk=False)
    for number in range(60):
        sent = wire.receive(request(extra=extra, branch=f"z9hG4bK{number}", call_id=f"big{number}"))
        assert all(isinstance(one, Response) and one.code in (400, 401, 431, 513) for one in sent)
    assert len(wire.noticed) <= 2
    assert wire.counts.table["sip.dropped.source_rate"] >= 10  # answers have a rate
    assert wire.new == []


def test_strangers_beyond_their_rate_are_not_answered_and_logged_once() -> None:
    wire = Wire(trunk=False)
    answered = sum(len(wire.receive(request("OPTIONS", branch=f"z9hG4bK{n}", body=""))) for n in range(500))
    assert answered == 40
    assert wire.counts.table["sip.dropped.source_rate"] == 460
    assert wire.noticed == [("too_many_requests", "192.0.2.9")]


def test_a_text_without_a_password_takes_one_token() -> None:
    wire = Wire(trunk=False)
    text = "Content-Type: text/plain\n"
    answered = sum(len(wire.receive(request("MESSAGE", branch=f"z9hG4bK{n}", body="", extra=text))) for n in range(100))
    assert answered == 40
