"""From that changes while a call stands (RFC 4916): ours towards peers that know it, and theirs."""

from __future__ import annotations

import pytest

from mediaserver.sip.events import PartyTold
from mediaserver.sip.headers import NameAddr, parse_name_addr
from mediaserver.sip.message import Request, Response
from tests.sip.test_connected_identity import UPDATES, act
from tests.sip.wire import Wire, answer, request

KNOWS = f"{UPDATES}Supported: from-change, timer\n"
ANNA = parse_name_addr('"Anna" <sip:anna@example.org>')
BERT = parse_name_addr('"Bert" <sip:bert@example.org>')


def options(message: Request | Response) -> set[str]:
    return set((message.headers.get("Supported") or "").split(", "))


def called(wire: Wire, extra: str, party: NameAddr | None = None) -> tuple[object, list[Request | Response]]:
    """Their call, answered; what we send when it stands."""
    machine = wire.invited(request(extra=extra))
    if party is not None:
        machine.identify((), party, now=wire.now)
    machine.answer(b"answer", (), now=wire.now)
    (ok,) = (one for one in act(wire, machine) if isinstance(one, Response) and one.code == 200)
    assert "from-change" in options(ok)
    return machine, wire.receive(request("ACK", to_tag=machine.local_tag, body=""))


def test_we_say_that_we_know_of_it() -> None:
    wire = Wire()
    _, invite = wire.call()
    assert "from-change" in options(invite)
    (told,) = wire.receive(request("OPTIONS", branch="z9hG4bKo", call_id="o"))
    assert "from-change" in options(told)


def test_somebody_else_than_was_called_answers_and_the_caller_learns_it_by_update() -> None:
    wire = Wire()
    machine, sent = called(wire, KNOWS, ANNA)
    (update,) = sent
    assert isinstance(update, Request)
    assert (update.method, update.body) == ("UPDATE", b"")
    assert (str(update.from_.uri), update.from_.display_name) == ("sip:anna@example.org", "Anna")
    assert update.from_.tag == machine.local_tag  # type: ignore[attr-defined]


def test_who_comes_into_a_call_of_ours_is_its_from_from_then_on() -> None:
    wire = Wire()
    machine, invite = wire.call()
    wire.receive(answer(invite, 200, body="sdp", extra=KNOWS))
    assert machine.identify((), BERT, now=wire.now)
    (update,) = act(wire, machine)
    assert isinstance(update, Request)
    assert (str(update.from_.uri), update.from_.tag) == ("sip:bert@example.org", machine.local_tag)
    wire.receive(answer(update, 200))
    assert machine.identify((), BERT, now=wire.now)
    assert act(wire, machine) == []  # nothing new
    machine.hangup(None, now=wire.now)
    (bye,) = act(wire, machine)
    assert isinstance(bye, Request)
    assert str(bye.from_.uri) == "sip:bert@example.org"


@pytest.mark.parametrize("extra", [UPDATES, "Allow: INVITE, ACK, BYE\n"])
def test_a_peer_that_does_not_know_it_sees_the_same_from_all_the_time(extra: str) -> None:
    wire = Wire()
    machine, invite = wire.call()
    wire.receive(answer(invite, 200, body="sdp", extra=extra))
    assert machine.identify((), BERT, now=wire.now)
    assert act(wire, machine) == []
    machine.hangup(None, now=wire.now)
    (bye,) = act(wire, machine)
    assert isinstance(bye, Request)
    assert bye.from_.uri == invite.from_.uri


def test_without_update_it_is_left_to_the_owner_whose_reinvite_has_the_new_from() -> None:
    wire = Wire()
    machine, invite = wire.call()
    wire.receive(answer(invite, 200, body="sdp", extra="Allow: INVITE, ACK, BYE\nSupported: from-change\n"))
    assert not machine.identify((), BERT, now=wire.now)
    assert act(wire, machine) == []
    machine.reoffer(b"same", now=wire.now)
    (again,) = act(wire, machine)
    assert isinstance(again, Request)
    assert (again.method, str(again.from_.uri)) == ("INVITE", "sip:bert@example.org")


def changed(machine_tag: str, call_id: str, said: str, extra: str = "") -> str:
    text = request("UPDATE", cseq=7, to_tag=machine_tag, from_tag="their-tag", call_id=call_id, body="", extra=extra)
    head, _, tail = text.partition("From: ")
    return f"{head}From: {said};tag=their-tag\n{tail.partition(chr(10))[2]}"


def test_their_new_from_is_told_and_is_whom_we_send_to() -> None:
    wire = Wire()
    machine, invite = wire.call()
    wire.receive(answer(invite, 200, body="sdp", extra=KNOWS))
    wire.events.clear()
    for _ in range(2):
        wire.receive(changed(machine.local_tag, invite.call_id, '"Desk" <sip:desk@192.0.2.9>'))
    assert wire.events == [PartyTold((("From", '"Desk" <sip:desk@192.0.2.9>'),))]
    machine.hangup(None, now=wire.now)
    (bye,) = act(wire, machine)
    assert isinstance(bye, Request)
    assert (str(bye.to.uri), bye.to.tag) == ("sip:desk@192.0.2.9", "their-tag")


def test_what_is_asserted_beside_a_new_from_goes_first() -> None:
    wire = Wire()
    machine, invite = wire.call()
    wire.receive(answer(invite, 200, body="sdp", extra=KNOWS))
    wire.events.clear()
    said = "P-Asserted-Identity: <sip:boss@192.0.2.9>\n"
    wire.receive(changed(machine.local_tag, invite.call_id, "<sip:desk@192.0.2.9>", said))
    assert wire.events == [PartyTold((("P-Asserted-Identity", "<sip:boss@192.0.2.9>"),))]


def test_a_users_phone_does_not_become_somebody_else_by_a_new_from() -> None:
    wire = Wire()
    machine, invite = wire.call()
    wire.receive(answer(invite, 200, body="sdp", extra=KNOWS))
    machine.aor = "bob@example.org"
    wire.events.clear()
    before = machine.remote_party
    wire.receive(changed(machine.local_tag, invite.call_id, "<sip:chief@example.org>"))
    assert (machine.remote_party, wire.events) == (before, [])


def test_a_peer_that_writes_its_from_in_several_ways_has_not_changed() -> None:
    wire = Wire()
    machine, invite = wire.call()
    wire.receive(answer(invite, 200, body="sdp", extra=UPDATES))
    wire.events.clear()
    wire.receive(changed(machine.local_tag, invite.call_id, "<sip:bob@192.0.2.9:5060>"))
    assert wire.events == []
