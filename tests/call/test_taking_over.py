"""INVITEs with Replaces (RFC 3891): who may take the place of somebody, in a call that is up and in one that rings."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from typing import Any

import pytest

from mediaserver.call.booking import Party
from mediaserver.call.call import Call
from mediaserver.call.events import EndCause
from mediaserver.call.named_dialogs import DialogRefused
from mediaserver.call.sip_leg import SipLeg
from mediaserver.config.routes import Group
from mediaserver.errors import NegotiationError
from mediaserver.sip import events as sip
from mediaserver.sip.replaces import Replaces
from mediaserver.sip.session_states import SessionState
from tests.call.fakes import FakeEngine, FakeLeg, FakeSession
from tests.call.test_sip_leg import leg_of, settle, taken
from tests.call.test_sip_media import BROWSER, media
from tests.call.test_transfers import CAROL, NAMED, Booked, House, impatient, told, wait

__all__ = ["impatient"]

EARLY = Replaces(NAMED.call_id, NAMED.to_tag, NAMED.from_tag, early_only=True)
TEAM = Group(members=("bob", "carol"), pickup=True)


async def talk(house: House, *, user: str | None = "bob", trunk: str | None = None) -> tuple[FakeLeg, SipLeg, Call]:
    """A visitor talks to Bob's phone, whose dialog is `NAMED`."""
    visitor, phone, session, call = await house.talk(user=user)
    phone.booking = Booked(Party(address="192.0.2.9", user=user, trunk=trunk))  # type: ignore[assignment]
    house.sessions[NAMED] = session
    return visitor, phone, call


async def comes() -> tuple[SipLeg, FakeSession]:
    """The leg of the INVITE with Replaces."""
    return await taken(await media(FakeEngine()).offer(BROWSER, srtp=False))


async def refusal(house: House, name: Replaces = NAMED, *, user: str | None = "bob", trunk: str | None = None) -> int:
    leg, session = await comes()
    with pytest.raises(DialogRefused) as refused:
        await house.take_over(leg, name, user=user, trunk=trunk)
    assert session.log == []
    return refused.value.code


@pytest.mark.parametrize(
    ("party", "by"),
    [
        ({"user": "bob"}, {"user": "bob"}),
        ({"user": None, "trunk": "pbx"}, {"user": None, "trunk": "pbx"}),
    ],
)
async def test_whose_the_dialog_is_takes_it_to_another_device(party: dict[str, Any], by: dict[str, Any]) -> None:
    house = House()
    visitor, phone, call = await talk(house, **party)
    leg, session = await comes()
    await house.take_over(leg, NAMED, **by)
    await wait()
    assert [entry[0] for entry in session.log] == ["answer"]
    assert (call.caller, call.callee) == (visitor, leg)
    assert phone.end_cause == EndCause("system", "transferred")
    assert not visitor.ended


@pytest.mark.parametrize(
    ("party", "by", "code"),
    [
        ({"user": "bob"}, {"user": "mallory"}, 403),
        ({"user": "bob"}, {"user": None}, 481),
        ({"user": "bob"}, {"user": None, "trunk": "world"}, 481),
        ({"user": None, "trunk": "pbx"}, {"user": "mallory"}, 403),
        ({"user": None, "trunk": "pbx"}, {"user": None, "trunk": "world"}, 481),
        # A trunk that gives a user's name with its calls is that trunk all the same.
        ({"user": "bob"}, {"user": "bob", "trunk": "world"}, 481),
        # Neither are two who are nobody the same one.
        ({"user": None}, {"user": None}, 481),
    ],
)
async def test_to_know_the_tags_of_a_dialog_lets_nobody_take_it_over(
    party: dict[str, Any], by: dict[str, Any], code: int
) -> None:
    house = House()
    visitor, phone, call = await talk(house, **party)
    assert await refusal(house, **by) == code
    assert (call.caller, call.callee) == (visitor, phone)
    assert not phone.ended
    assert not visitor.ended


async def test_a_trunk_is_told_of_others_calls_what_it_is_told_of_none() -> None:
    house = House()
    await talk(house)
    seen = {await refusal(house, name, user=None, trunk="world") for name in (NAMED, EARLY, Replaces("x", "y", "z"))}
    house.sessions[NAMED].state = SessionState.ENDING
    seen.add(await refusal(house, user=None, trunk="world"))
    assert seen == {481}


@pytest.mark.parametrize(
    ("group", "may"),
    [
        (TEAM, True),
        (Group(members=("bob", "carol"), join=True), False),
        (Group(members=("bob", "dave"), pickup=True), False),
        (Group(members=("carol", "dave"), pickup=True), False),
    ],
)
async def test_colleagues_take_each_others_calls_where_their_group_says_so(group: Group, may: bool) -> None:
    house = House(groups=[group])
    _, phone, call = await talk(house)
    if may:
        leg, _ = await comes()
        await house.take_over(leg, NAMED, user="carol")
        assert call.callee is leg
        assert phone.ended
    else:
        assert await refusal(house, user="carol") == 403
        assert not phone.ended


async def test_a_dialog_that_nobody_knows_is_refused() -> None:
    house = House()
    await talk(house)
    assert await refusal(house, Replaces("other-call", "ours", "guessed")) == 481


async def test_a_call_that_is_over_is_declined() -> None:
    house = House()
    await talk(house)
    house.sessions[NAMED].state = SessionState.ENDING
    assert await refusal(house) == 603


async def test_a_call_that_was_answered_is_busy_for_whoever_wants_one_that_rings() -> None:
    house = House()
    _, phone, _ = await talk(house)
    assert await refusal(house, EARLY) == 486
    assert not phone.ended


async def test_a_refer_that_names_one_that_rings_takes_none_that_was_answered() -> None:
    house = House()
    _, _, session, _ = await house.talk()
    colleague, _, second, _ = await house.talk("colleague")
    house.sessions[NAMED] = second
    session.happen(sip.Referred(CAROL, EARLY, None))
    await wait()
    assert told(session) == [("reject_referral", 486)]
    assert not colleague.ended


async def test_a_call_that_cannot_be_taken_stays_as_it_is() -> None:
    house = House()
    visitor, phone, call = await talk(house)
    visitor._codecs = {"audio": ()}
    leg, session = await taken(b"v=0\r\no=- 1 1 IN IP4 192.0.2.8\r\ns=-\r\nt=0 0\r\nm=audio 9 RTP/AVP 96\r\n")
    with pytest.raises(NegotiationError):
        await house.take_over(leg, NAMED, user="bob")
    assert session.log == []
    assert call.callee is phone
    assert not phone.ended


# -- what rings ------------------------------------------------------------------------------------------------------


class Ringing:
    """Bob's phone rings for a visitor."""

    def __init__(self, house: House) -> None:
        self.visitor = FakeLeg("visitor", codecs=BROWSER)
        self.phone, self.session = leg_of(FakeEngine()), FakeSession()
        self.phone.id = "bob"
        self.phone.booking = Booked(Party(address="192.0.2.9", user="bob"))  # type: ignore[assignment]
        self.session.state = SessionState.EARLY
        self._house = house
        self._stack = ExitStack()
        house.sessions[NAMED] = self.session

    async def begin(self) -> asyncio.Future[None]:
        async def make(body: bytes) -> FakeSession:
            return self.session

        self._stack.enter_context(self._house.unanswered.ringing(self.phone, self.visitor))
        dial = asyncio.ensure_future(self.phone.dial(make, BROWSER, srtp=False))  # type: ignore[arg-type]
        await settle()
        return dial

    def end(self) -> None:
        self._stack.close()


@pytest.mark.parametrize("name", [NAMED, EARLY])
async def test_a_colleague_picks_up_what_rings(name: Replaces) -> None:
    house = House(groups=[TEAM])
    ringing = Ringing(house)
    dial = await ringing.begin()
    leg, session = await comes()
    await house.take_over(leg, name, user="carol")
    await dial
    assert ringing.phone.taker is leg
    assert [entry[0] for entry in session.log] == ["answer"]
    ringing.end()


async def test_to_know_the_tags_of_what_rings_lets_nobody_pick_it_up() -> None:
    house = House()
    ringing = Ringing(house)
    dial = await ringing.begin()
    assert await refusal(house, EARLY, user="mallory") == 403
    assert await refusal(house, EARLY, user=None, trunk="world") == 481
    assert not dial.done()
    await ringing.phone.end(EndCause("system", "over"))
    ringing.end()


async def test_whoever_rings_elsewhere_than_by_our_invite_is_not_to_be_replaced() -> None:
    house = House()
    caller, session = await comes()
    caller.booking = Booked(Party(address="192.0.2.9", user="bob"))  # type: ignore[assignment]
    house.sessions[NAMED] = session
    session.state = SessionState.RINGING
    with house.unanswered.calling(caller):
        assert await refusal(house, EARLY) == 481
    assert not caller.ended


async def test_what_cannot_be_picked_up_rings_on() -> None:
    house = House(groups=[TEAM])
    ringing = Ringing(house)
    dial = await ringing.begin()
    leg, session = await taken(b"v=0\r\no=- 1 1 IN IP4 192.0.2.8\r\ns=-\r\nt=0 0\r\nm=audio 9 RTP/AVP 96\r\n")
    with pytest.raises(NegotiationError):
        await house.take_over(leg, EARLY, user="carol")
    assert session.log == []
    assert not dial.done()
    await ringing.phone.end(EndCause("system", "over"))
    ringing.end()


async def test_whoever_picks_up_too_late_is_hung_up() -> None:
    house = House(groups=[TEAM])
    ringing = Ringing(house)
    dial = await ringing.begin()
    leg, session = await comes()
    place = house.taking_over.look(EARLY, user="carol", trunk=None)
    ringing.session.happen(sip.Rejected(486, "Busy Here"))
    await settle()
    await house.taking_over.take(leg, place)
    with pytest.raises(Exception, match="Busy Here"):
        await dial
    assert leg.end_cause == EndCause("system", "answered_elsewhere")
    assert session.log[-1][0] == "hangup"
    ringing.end()
