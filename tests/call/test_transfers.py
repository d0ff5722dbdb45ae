"""Transfers: who ends up with whom, what the one who asked is told, and where a transfer may not go."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from mediaserver.call import transfers
from mediaserver.call.agents import Presentation
from mediaserver.call.booking import Party
from mediaserver.call.call import Call
from mediaserver.call.call_request import CallRequest
from mediaserver.call.dial_failed import DialFailed
from mediaserver.call.events import EndCause
from mediaserver.call.focus import Conferences
from mediaserver.call.leg import Leg
from mediaserver.call.named_dialogs import NamedDialogs
from mediaserver.call.routing import Destination, Question
from mediaserver.call.sip_leg import SipLeg
from mediaserver.call.taking_over import TakingOver
from mediaserver.call.transfers import Transfers
from mediaserver.call.unanswered import Unanswered
from mediaserver.config.routes import Group
from mediaserver.config.sections import Target
from mediaserver.sip import events as sip
from mediaserver.sip.conference_info import ConferenceState
from mediaserver.sip.dialog_name import DialogName
from mediaserver.sip.headers import NameAddr
from mediaserver.sip.replaces import Replaces
from mediaserver.sip.uri import parse_sip_uri
from tests.call.fakes import FakeEngine, FakeLeg, FakeSession
from tests.call.test_sip_leg import dialled, settle
from tests.call.test_sip_media import BROWSER
from tests.passing import passed

CAROL = parse_sip_uri("sip:carol@example.org")
NAMED = Replaces("other-call", "ours", "theirs")


class Routes:
    """Knows Carol; refuses 0900."""

    def __init__(self) -> None:
        self.questions: list[Question] = []

    async def decide(self, question: Question) -> Destination | None:
        self.questions.append(question)
        if question.called == "0900":
            return Destination(Target(refuse=403), None, "route 1")
        return Destination(Target(user="carol"), "carol", "route 2") if question.called == "carol" else None


@dataclass
class House:
    """A visitor talks to an agent's phone; whoever is rung answers, unless `rings` is a failure."""

    rings: Leg | Exception = field(default_factory=lambda: FakeLeg("carol", codecs=BROWSER))
    rung: list[CallRequest] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    ended: list[EndCause] = field(default_factory=list)
    joined: list[str] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)
    sessions: dict[Replaces, FakeSession] = field(default_factory=dict)
    groups: list[Group] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.gate.set()
        self.engine: Any = FakeEngine()
        self.shown: list[tuple[str, ConferenceState | None]] = []
        self.conferences = Conferences(
            ring=self._ring,
            engine=self.engine,
            show=lambda address, state: self.shown.append((address, state)),
            domain="example.org",
        )
        self.unanswered = Unanswered()
        self.dialogs = NamedDialogs(
            find=self._find, calls=lambda: self.calls, unanswered=self.unanswered, groups=lambda: self.groups
        )
        self.taking_over = TakingOver(dialogs=self.dialogs, unanswered=self.unanswered)
        self.transfers = Transfers(ring=self._ring, dialogs=self.dialogs, conferences=self.conferences)
        self.routes = Routes()
        self.transfers.decide = self.routes.decide

    def _find(self, name: DialogName) -> Any:
        parts = name.call_id, name.to_tag, name.from_tag
        named = {(key.call_id, key.to_tag, key.from_tag): session for key, session in self.sessions.items()}
        return named.get(parts)

    async def take_over(self, leg: SipLeg, replaces: Replaces, *, user: str | None, trunk: str | None = None) -> None:
        """What becomes of an INVITE with Replaces by somebody who has proven to be `user`. Raises DialogRefused."""
        await self.taking_over.take(leg, self.taking_over.look(replaces, user=user, trunk=trunk))

    async def _ring(self, request: CallRequest) -> Leg:
        self.rung.append(request)
        await self.gate.wait()
        if isinstance(self.rings, Exception):
            raise self.rings
        return self.rings

    async def talk(
        self, name: str = "visitor", *, user: str | None = "agent", calling: bool = False
    ) -> tuple[FakeLeg, SipLeg, FakeSession, Call]:
        visitor = FakeLeg(name, codecs=BROWSER)
        phone, session = await dialled(FakeEngine())
        phone.booking = Booked(Party(address="192.0.2.9", user=user))  # type: ignore[assignment]
        request = CallRequest(
            "contact",
            phone if calling else visitor,
            Destination(Target(user="agent"), "agent", "x"),
            Presentation(name=name, attributes={"ticket": "T1"}),
            on_leg=lambda leg: self.joined.append(leg.name),
            note=lambda what, detail: self.notes.append((what, detail)),
        )
        call = Call(
            call_id=name,
            caller=phone if calling else visitor,
            callee=visitor if calling else phone,
            longest_s=60,
            on_ended=lambda _, cause: self.ended.append(cause),
            on_transfer=lambda call, leg, event: self.transfers.asked(request, call, leg, event),
            on_replaced=request.on_leg,
            engine=self.engine,
        )
        await call.join()
        self.calls.append(call)
        return visitor, phone, session, call


class Booked:
    """Has the face of a booking where nothing is short."""

    def __init__(self, party: Party) -> None:
        self.party = party
        self.on_change = None
        self.packets = party.packets

    def cap(self, kind: str) -> None:
        return None

    def settle(self, *_: object) -> None:
        return None

    def stand_beside(self, *_: object) -> None:
        return None

    def narrow(self, codecs: Any, *_: object) -> Any:
        return codecs

    def wishes(self) -> dict[str, int]:
        return {}

    def close(self) -> None:
        return None

    @property
    def decision(self) -> object:
        return type("Decision", (), {"verdicts": {"audio": 1, "video": 1}, "denied": {}})()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfers, "_HANGS_UP_ITSELF_S", 0.02)


async def wait() -> None:
    await passed(0.05)
    await settle()


def told(session: FakeSession) -> list[tuple[object, ...]]:
    return [entry for entry in session.log if "referral" in str(entry[0])]


async def test_a_blind_transfer_moves_the_other_party_and_lets_the_phone_go() -> None:
    house = House()
    visitor, phone, session, call = await house.talk()
    session.happen(sip.Referred(CAROL, None, None))
    await wait()
    assert told(session) == [("accept_referral",), ("notify_referral", 180), ("notify_referral", 200)]
    assert {call.caller.name, call.callee.name} == {"visitor", "carol"}
    assert visitor.met[-1] == "carol"
    assert phone.end_cause == EndCause("system", "transferred")
    assert not visitor.ended
    assert house.ended == []
    assert house.joined == ["carol"]
    assert (house.routes.questions[0].caller, house.rung[0].caller) == ("agent", visitor)
    assert isinstance(house.rings, FakeLeg)
    await house.rings.end(EndCause("agent", "hangup"))
    await wait()
    assert visitor.end_cause == EndCause("agent", "hangup")


async def test_a_phone_that_hangs_up_at_once_does_not_end_the_call_it_has_given_away() -> None:
    house = House()
    house.gate.clear()
    visitor, _, session, call = await house.talk()
    session.happen(sip.Referred(CAROL, None, None))
    await wait()
    session.happen(sip.Ended("remote"))
    await wait()
    assert not visitor.ended
    house.gate.set()
    await wait()
    assert call.callee.name == "carol"
    assert not visitor.ended


async def test_a_phone_that_hung_up_and_whose_transfer_failed_ends_the_call() -> None:
    house = House(rings=DialFailed(486, "Busy Here"))
    house.gate.clear()
    visitor, _, session, _ = await house.talk()
    session.happen(sip.Referred(CAROL, None, None))
    await wait()
    session.happen(sip.Ended("remote"))
    house.gate.set()
    await wait()
    assert visitor.ended
    assert len(house.ended) == 1


async def test_a_failed_transfer_is_told_and_the_call_goes_on() -> None:
    house = House(rings=DialFailed(403, "trunk pbx may not call this number"))
    visitor, phone, session, call = await house.talk()
    session.happen(sip.Referred(CAROL, None, None))
    await wait()
    assert told(session)[-1] == ("notify_referral", 403)
    assert call.callee is phone
    assert not visitor.ended
    assert not phone.ended


@pytest.mark.parametrize(("number", "code"), [("0900", 403), ("nobody", 404)])
async def test_a_transfer_where_the_phone_could_not_call_is_refused_before_anybody_rings(
    number: str, code: int
) -> None:
    house = House()
    _, phone, session, _ = await house.talk()
    session.happen(sip.Referred(parse_sip_uri(f"sip:{number}@example.org"), None, None))
    await wait()
    assert told(session) == [("reject_referral", code)]
    assert house.rung == []
    assert not phone.ended


async def test_the_other_party_that_hangs_up_meanwhile_stops_the_ringing() -> None:
    house = House()
    house.gate.clear()
    visitor, phone, session, _ = await house.talk()
    session.happen(sip.Referred(CAROL, None, None))
    await wait()
    await visitor.end(EndCause("caller", "hangup"))
    await wait()
    assert phone.ended
    assert house.ended == [EndCause("caller", "hangup")]


async def test_an_attended_transfer_joins_the_two_others_and_ends_both_calls_of_the_phone() -> None:
    house = House()
    visitor, phone, session, call = await house.talk()
    colleague, second_phone, second, _ = await house.talk("colleague")
    house.sessions[NAMED] = second
    session.happen(sip.Referred(CAROL, NAMED, None))
    await wait()
    assert {call.caller.name, call.callee.name} == {"visitor", "colleague"}
    assert phone.ended
    assert second_phone.ended
    assert not visitor.ended
    assert not colleague.ended
    assert house.ended == [EndCause("system", "transferred")]
    assert told(session)[-1] == ("notify_referral", 200)
    await colleague.end(EndCause("agent", "hangup"))
    await wait()
    assert visitor.ended


@pytest.mark.parametrize(("user", "known", "code"), [("agent", False, 481), ("somebody", True, 403)])
async def test_a_call_that_is_not_the_phones_own_cannot_be_given_away(user: str, known: bool, code: int) -> None:
    house = House()
    _, _, session, _ = await house.talk()
    colleague, _, second, _ = await house.talk("colleague", user=user)
    if known:
        house.sessions[NAMED] = second
    session.happen(sip.Referred(CAROL, NAMED, None))
    await wait()
    assert told(session) == [("reject_referral", code)]
    assert not colleague.ended


async def test_whoever_is_called_by_a_transfer_is_told_by_whom_and_what_is_known_goes_along() -> None:
    house = House()
    _, _, session, _ = await house.talk()
    session.happen(sip.Referred(CAROL, None, NameAddr(parse_sip_uri("sip:boss@example.org"))))
    await wait()
    (asked,) = house.rung
    # The phone of a user of the house is who has proven it, whatever it says.
    assert asked.own_headers == (("Referred-By", "<sip:agent@example.org>"),)
    assert (asked.contact_id, asked.presentation.attributes) == ("contact", {"ticket": "T1"})


async def test_a_caller_who_transfers_the_agent_away_leaves_what_is_known_with_the_contact() -> None:
    house = House()
    visitor, _, session, _ = await house.talk(calling=True)
    session.happen(sip.Referred(CAROL, None, None))
    await wait()
    (asked,) = house.rung
    assert (asked.caller, asked.presentation.name) == (visitor, "visitor")
    assert asked.presentation.attributes == {"ticket": "T1"}


async def test_a_call_manager_is_quoted_and_its_own_second_call_is_named_to_whom_it_is_with() -> None:
    house = House()
    _, phone, session, _ = await house.talk()
    phone.booking = Booked(Party(address="192.0.2.9", trunk="pbx"))  # type: ignore[assignment]
    session.happen(sip.Referred(CAROL, NAMED, NameAddr(parse_sip_uri("sip:boss@pbx.example"))))
    await wait()
    (asked,) = house.rung
    assert asked.own_headers == (
        ("Referred-By", "<sip:boss@pbx.example>"),
        ("Replaces", "other-call;to-tag=ours;from-tag=theirs"),
        ("Require", "replaces"),
    )
    assert told(session)[-1] == ("notify_referral", 200)


async def test_an_attended_transfer_brings_the_colleague_into_the_contact() -> None:
    house = House()
    _, _, session, _ = await house.talk()
    colleague, _, second, _ = await house.talk("colleague")
    colleague.contact_id = "other"
    house.sessions[NAMED] = second
    session.happen(sip.Referred(CAROL, NAMED, None))
    await wait()
    assert colleague.contact_id == "contact"
    assert ("contact_joined", "other") in house.notes
