"""Redirections: whom the routing table makes of a Contact, and how circles end."""

from __future__ import annotations

import asyncio

import pytest

from mediaserver.call.agents import Presentation
from mediaserver.call.call_request import CallRequest
from mediaserver.call.dial_failed import DialFailed
from mediaserver.call.leg import Leg
from mediaserver.call.redirects import MOST, Redirects
from mediaserver.call.routing import Destination, Question
from mediaserver.config.sections import Target
from mediaserver.sip import events as sip
from mediaserver.sip.uri import SipUri, parse_sip_uri
from tests.call.fakes import FakeEngine, FakeLeg, FakeSession
from tests.call.test_sip_leg import leg_of, settle
from tests.call.test_sip_media import BROWSER


def uri(user: str) -> SipUri:
    return parse_sip_uri(f"sip:{user}@192.0.2.9")


class House:
    """Carol has a phone here, 0900 may not be called, the trunk knows the rest."""

    def __init__(self, *answers: DialFailed | Leg) -> None:
        self.answers = list(answers)
        self.rung: list[Destination] = []
        self.questions: list[Question] = []
        self.redirects = Redirects(ring=self._ring, decide=self.decide)

    async def _ring(self, request: CallRequest) -> Leg:
        self.rung.append(request.destination)
        answer = self.answers.pop(0)
        if isinstance(answer, DialFailed):
            raise answer
        return answer

    async def decide(self, question: Question) -> Destination | None:
        self.questions.append(question)
        if question.called == "0900":
            return Destination(Target(refuse=403), None, "route 1")
        return Destination(Target(user="carol"), "carol", "user carol") if question.called == "carol" else None

    async def call(self, **target: str) -> Leg:
        destination = Destination(Target(**target), None, "route 7")
        return await self.redirects.ring(
            CallRequest("contact", FakeLeg("visitor"), destination, Presentation(name="x"))
        )


def moved(*users: str) -> DialFailed:
    return DialFailed(302, "Moved Temporarily", redirect=tuple(uri(user) for user in users))


async def test_a_trunk_redirects_to_a_user_of_ours() -> None:
    carol = FakeLeg("carol")
    house = House(moved("carol"), carol)
    assert await house.call(trunk="acd") is carol
    assert house.rung[1].target.user == "carol"
    assert house.questions[0] == Question(called="carol", trunk="acd")


async def test_a_number_that_the_table_does_not_know_is_the_trunks_own() -> None:
    house = House(moved("4711"), FakeLeg("x"))
    await house.call(trunk="acd")
    assert (house.rung[1].target.trunk, house.rung[1].number) == ("acd", "4711")


async def test_a_phone_that_forwards_may_only_where_it_could_call() -> None:
    house = House(moved("0900"))
    with pytest.raises(DialFailed, match="403"):
        await house.call(user="bob")
    assert house.questions[0].caller == "bob"
    house = House(moved("4711"))
    with pytest.raises(DialFailed, match="480"):
        await house.call(user="bob")


async def test_circles_and_endless_chains_end() -> None:
    house = House(moved("carol"), moved("carol"))
    with pytest.raises(DialFailed, match="482"):
        await house.call(trunk="acd")
    house = House(*(moved(str(number)) for number in range(20)))
    with pytest.raises(DialFailed, match="483"):
        await house.call(trunk="acd")
    assert len(house.rung) == MOST + 1


async def test_other_failures_are_passed_on() -> None:
    with pytest.raises(DialFailed, match="486"):
        await House(DialFailed(486, "Busy Here")).call(user="bob")


@pytest.mark.parametrize(
    ("contacts", "users"),
    [
        (("<sip:b@h>;q=0.1, <sip:a@h>;q=0.9",), ["a", "b"]),
        (("<sip:a@h>", "<mailto:x@h>"), ["a"]),
        (("<sip:a@h", "<sip:b@h>"), []),
        ((",".join(f"<sip:u{n}@h>" for n in range(40)),), [f"u{n}" for n in range(10)]),
    ],
)
async def test_a_phone_names_whom_to_call_best_first(contacts: tuple[str, ...], users: list[str]) -> None:
    leg, session = leg_of(FakeEngine()), FakeSession()

    async def make(body: bytes) -> FakeSession:
        return session

    dial = asyncio.ensure_future(leg.dial(make, BROWSER, srtp=False))  # type: ignore[arg-type]
    await settle()
    headers = tuple(("Contact", value) for value in contacts)
    session.happen(sip.Rejected(302, "Moved Temporarily", headers))
    with pytest.raises(DialFailed) as failure:
        await dial
    assert [target.user for target in failure.value.redirect] == users
