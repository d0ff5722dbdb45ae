"""INVITEs with a Join or Replaces: what each is answered with, and what the contact keeps of who came in."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from mediaserver.call.named_dialogs import DialogRefused
from mediaserver.call.routing import Destination, Question
from mediaserver.config.sections import Target
from mediaserver.contact.named_calls import NamedCalls
from mediaserver.errors import LimitExceeded, LocalProtocolError, NegotiationError
from mediaserver.sdp.description import SdpError
from mediaserver.sip.dialog_name import DialogName
from mediaserver.sip.headers import Headers, NameAddr
from mediaserver.sip.replaces import Replaces
from mediaserver.sip.uri import parse_sip_uri
from tests.call.fakes import FakeLeg, FakeSession

NAME = "call;to-tag=ours;from-tag=theirs"


class House:
    """`refused` keeps somebody out, `fails` what goes wrong when he comes in; a room answers to `room`."""

    def __init__(self) -> None:
        self.refused: DialogRefused | None = None
        self.fails_to_take: Exception | None = None
        self.fails: Exception | None = None
        self.looked: list[tuple[object, ...]] = []
        self.notes: list[tuple[str, str]] = []
        self.carol = FakeLeg("carol")
        bob = FakeLeg("bob")
        contact = SimpleNamespace(note=lambda what, detail: self.notes.append((what, detail)))
        opened: Any = {bob.contact_id: SimpleNamespace(contact=contact)}
        self._joined = SimpleNamespace(leg=bob)
        fakes: Any = self
        self.joining = self.conferences = self.taking_over = self
        self.entered: list[FakeLeg] = []
        self.conference: Any = SimpleNamespace(caller=bob)
        self.trunks: dict[str, object] = {}
        self.named = NamedCalls(calls=fakes, opened=opened, dial_plan=fakes, server_name="ms")

    def look(self, name: DialogName, *, user: str | None, trunk: str | None) -> Any:
        self.looked.append((name, user, trunk))
        if self.refused is not None:
            raise self.refused
        return self._joined

    def incoming_leg(self, incoming: object, contact_id: str, *, note: object) -> FakeLeg:
        if self.fails_to_take is not None:
            raise self.fails_to_take
        return self.carol

    async def join(self, leg: FakeLeg, joined: object) -> None:
        assert (leg, joined) == (self.carol, self._joined)
        if self.fails is not None:
            raise self.fails

    async def take(self, leg: FakeLeg, place: object) -> None:
        await self.join(leg, place)

    def called_by(self, incoming: Any) -> Any:
        return self.conference if incoming.request.uri.user_text == "conf-17" else None

    async def enter(self, call: object, leg: FakeLeg) -> None:
        assert call is self.conference
        if self.fails is not None:
            raise self.fails
        self.entered.append(leg)

    async def decide(self, question: Question) -> Destination | None:
        return Destination(Target(room="room"), "room", "x") if question.called == "room" else None

    async def invites(self, *fields: tuple[str, str], to: str = "bob") -> tuple[bool, list[int]]:
        """Whether the INVITE was dealt with, and what it was refused with."""
        session, headers = FakeSession("incoming"), Headers()
        for name, value in fields:
            headers.add(name, value)
        incoming: Any = SimpleNamespace(
            session=SimpleNamespace(
                reject=session.reject,
                call_id="c",
                remote_party=NameAddr(parse_sip_uri("sip:carol@example.org")),
                session_id=session.session_id,
            ),
            request=SimpleNamespace(headers=headers, uri=parse_sip_uri(f"sip:{to}@example.org")),
            authenticated_user="carol",
            trunk=None,
        )
        taken = await self.named.take(incoming)
        return taken, [entry[1] for entry in session.log if entry[0] == "reject"]


@pytest.fixture
def house() -> House:
    return House()


async def test_whoever_joins_is_known_by_his_password_and_kept_in_the_contact(house: House) -> None:
    assert await house.invites(("Join", NAME)) == (True, [])
    assert house.looked == [(DialogName("call", "ours", "theirs"), "carol", None)]
    assert house.notes == [("added", "carol")]


async def test_an_invite_that_names_no_call_is_left_to_be_routed(house: House) -> None:
    assert await house.invites(("Subject", NAME)) == (False, [])


@pytest.mark.parametrize(
    "fields",
    [
        [("Join", NAME), ("Join", NAME)],
        [("Join", NAME), ("Replaces", NAME)],
        [("Join", "call")],
    ],
)
async def test_a_broken_join_is_a_bad_request(house: House, fields: list[tuple[str, str]]) -> None:
    assert await house.invites(*fields) == (True, [400])
    assert house.looked == []


@pytest.mark.parametrize("code", [403, 481, 486, 488, 603])
async def test_whoever_may_not_join_is_told_the_code(house: House, code: int) -> None:
    house.refused = DialogRefused(code, "no")
    assert await house.invites(("Join", NAME)) == (True, [code])
    assert house.notes == []


async def test_a_room_takes_a_join_that_names_nothing_as_if_it_were_not_there(house: House) -> None:
    house.refused = DialogRefused(481, "no")
    assert await house.invites(("Join", NAME), to="room") == (False, [])
    house.refused = DialogRefused(403, "no")
    assert await house.invites(("Join", NAME), to="room") == (True, [403])


@pytest.mark.parametrize(
    ("error", "code"), [(SdpError(0, "broken"), 400), (LimitExceeded("full", limit="limits.calls"), 503)]
)
async def test_a_leg_that_cannot_be_made_is_refused(house: House, error: Exception, code: int) -> None:
    house.fails_to_take = error
    assert await house.invites(("Join", NAME)) == (True, [code])


@pytest.mark.parametrize(
    ("error", "code"), [(NegotiationError("nothing in common"), 488), (LocalProtocolError("over"), 503)]
)
async def test_a_leg_that_does_not_come_in_is_refused_with_its_reason(
    house: House, error: Exception, code: int
) -> None:
    house.fails = error
    assert await house.invites(("Join", NAME)) == (True, [])
    assert [cause.code for cause, _ in house.carol.refused] == [code]
    assert house.notes == []


async def test_whoever_calls_the_uri_of_a_conference_comes_in_and_is_kept_in_its_contact(house: House) -> None:
    assert await house.invites(to="conf-17") == (True, [])
    assert (house.entered, house.notes) == ([house.carol], [("added", "carol")])
    house.fails = LimitExceeded("full", limit="call_members")
    assert await house.invites(to="conf-17") == (True, [])
    assert [cause.code for cause, _ in house.carol.refused] == [503]


async def test_whoever_takes_a_call_over_is_known_by_his_password_and_kept_in_the_contact(house: House) -> None:
    assert await house.invites(("Replaces", f"{NAME};early-only")) == (True, [])
    assert house.looked == [(Replaces("call", "ours", "theirs", early_only=True), "carol", None)]
    assert house.notes == [("taken_over", "carol")]


@pytest.mark.parametrize("code", [403, 481, 486, 603])
async def test_whoever_may_not_take_a_call_over_is_told_the_code_and_no_leg_is_made(house: House, code: int) -> None:
    house.refused = DialogRefused(code, "no")
    house.fails_to_take = AssertionError("a leg was made")
    assert await house.invites(("Replaces", NAME)) == (True, [code])
    assert house.notes == []


@pytest.mark.parametrize("fields", [[("Replaces", NAME), ("Replaces", NAME)], [("Replaces", "call")]])
async def test_a_broken_replaces_is_a_bad_request(house: House, fields: list[tuple[str, str]]) -> None:
    assert await house.invites(*fields) == (True, [400])
    assert house.looked == []


async def test_whoever_waits_to_join_and_is_refused_then_is_told_the_code(house: House) -> None:
    house.fails = DialogRefused(603, "nobody has answered there")
    assert await house.invites(("Join", NAME)) == (True, [])
    assert [cause.code for cause, _ in house.carol.refused] == [603]
