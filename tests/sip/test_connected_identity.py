"""Who is at the other end, told in answers and, when that changes, by UPDATE (RFC 3325, RFC 4916)."""

from __future__ import annotations

import pytest

from mediaserver.sip.events import PartyTold
from mediaserver.sip.headers import NameAddr
from mediaserver.sip.invite_session import InviteMachine
from mediaserver.sip.message import Request, Response
from mediaserver.sip.uri import parse_sip_uri
from tests.sip.wire import PEER, Wire, answer, request

ANNA = (("P-Asserted-Identity", '"Anna" <sip:anna@example.org>'),)
BERT = (("P-Asserted-Identity", '"Bert" <sip:bert@example.org>'),)
UPDATES = "Allow: INVITE, ACK, BYE, UPDATE\n"


def act(wire: Wire, machine: InviteMachine) -> list[Request | Response]:
    wire.core.touch(machine)
    return wire.sent()


def called(wire: Wire, allow: str = UPDATES) -> InviteMachine:
    """Their call, answered for Anna."""
    machine = wire.invited(request(extra=allow))
    machine.identify(ANNA, now=wire.now)
    machine.ring(180, None, (), now=wire.now)
    machine.answer(b"answer", (), now=wire.now)
    said = [one for one in act(wire, machine) if isinstance(one, Response) and one.code != 100]
    assert [one.headers.get("P-Asserted-Identity") for one in said] == [ANNA[0][1]] * 2
    wire.receive(request("ACK", to_tag=machine.local_tag, body=""))
    wire.events.clear()
    return machine


def test_who_answers_is_told_in_the_ringing_and_in_the_200_and_who_comes_later_by_update() -> None:
    wire = Wire()
    machine = called(wire)
    assert machine.identify(ANNA, now=wire.now)
    assert act(wire, machine) == []  # nothing new
    assert machine.identify(BERT, now=wire.now)
    (update,) = act(wire, machine)
    assert isinstance(update, Request)
    assert (update.method, update.body, update.headers.get("P-Asserted-Identity")) == ("UPDATE", b"", BERT[0][1])
    assert update.headers.get("Session-Expires") is not None or "timer" in (update.headers.get("Supported") or "")
    wire.receive(answer(update, 200))
    assert wire.events == []


def test_a_peer_without_update_is_left_to_the_owner_whose_reinvite_tells_it() -> None:
    wire = Wire()
    machine = called(wire, allow="Allow: INVITE, ACK, BYE\n")
    assert not machine.identify(BERT, now=wire.now)
    assert act(wire, machine) == []
    machine.reoffer(b"same", now=wire.now)
    (invite,) = act(wire, machine)
    assert isinstance(invite, Request)
    assert (invite.method, invite.headers.get("P-Asserted-Identity")) == ("INVITE", BERT[0][1])


def test_their_reinvite_and_update_are_answered_with_who_is_there() -> None:
    wire = Wire()
    machine = called(wire)
    (ok,) = wire.receive(request("UPDATE", cseq=2, to_tag=machine.local_tag, body="", branch="z9hG4bKu"))
    assert isinstance(ok, Response)
    assert ok.headers.get("P-Asserted-Identity") == ANNA[0][1]
    (info,) = wire.receive(request("INFO", cseq=3, to_tag=machine.local_tag, body="", branch="z9hG4bKi"))
    assert "P-Asserted-Identity" not in info.headers


def test_what_our_invite_said_is_not_said_again() -> None:
    wire = Wire()
    machine = wire.core.invite(
        parse_sip_uri("sip:bob@192.0.2.9"),
        destinations=[PEER],
        from_=NameAddr(parse_sip_uri("sip:alice@example.org")),
        to=NameAddr(parse_sip_uri("sip:bob@192.0.2.9")),
        body=b"offer",
        headers=(("Subject", "x"), *ANNA),
        credentials=None,
        max_forwards=70,
        now=wire.now,
    )
    (invite,) = wire.sent()
    assert isinstance(invite, Request)
    wire.receive(answer(invite, 200, body="sdp", extra=UPDATES))
    assert machine.identify(ANNA, now=wire.now)
    assert act(wire, machine) == []


def test_who_the_peer_says_is_there_is_told_once_for_each_change() -> None:
    wire = Wire()
    _, invite = wire.call()
    said = "P-Asserted-Identity: <sip:desk@192.0.2.9>\n"
    wire.receive(answer(invite, 200, body="sdp", extra=said))
    told = PartyTold((("P-Asserted-Identity", "<sip:desk@192.0.2.9>"),))
    assert wire.events[0] == told
    wire.events.clear()
    tag = invite.from_.tag or ""
    for number, line in enumerate((said, "Remote-Party-ID: <sip:boss@192.0.2.9>\nPrivacy: id\n", "Privacy: id\n", "")):
        text = request("UPDATE", cseq=5 + number, to_tag=tag, call_id=invite.call_id, body="", extra=line)
        wire.receive(text.replace("z9hG4bKtheirs1", f"z9hG4bK{number}"))
    assert wire.events == [PartyTold((("Remote-Party-ID", "<sip:boss@192.0.2.9>"), ("Privacy", "id")))]


@pytest.mark.parametrize("count", [50])
def test_a_message_full_of_identities_is_not_kept(count: int) -> None:
    wire = Wire()
    _, invite = wire.call()
    wire.receive(answer(invite, 200, body="sdp", extra="Remote-Party-ID: <sip:a@b>\n" * count))
    (told, *_) = wire.events
    assert isinstance(told, PartyTold)
    assert len(told.headers) == 8
