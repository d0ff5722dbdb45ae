"""Calls that somebody joins by an INVITE (RFC 3911): who hears whom then, and who may not come in."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from mediaserver.call.booking import Party
from mediaserver.call.call import Call
from mediaserver.call.events import EndCause
from mediaserver.call.joining import MAX_MEMBERS, Joined, Joining
from mediaserver.call.named_dialogs import DialogRefused, NamedDialogs
from mediaserver.call.sip_leg import SipLeg
from mediaserver.call.unanswered import Unanswered
from mediaserver.config.routes import Group
from mediaserver.sip import events as sip
from mediaserver.sip.dialog_name import DialogName
from mediaserver.sip.session_states import SessionState
from tests.call.fakes import FakeEngine, FakeLeg, FakeSession
from tests.call.test_conference import House as Mixed
from tests.call.test_conference import settled
from tests.call.test_sip_leg import dialled, leg_of
from tests.call.test_sip_media import BROWSER, media
from tests.call.test_transfers import Booked

NAME = DialogName("call", "ours", "theirs")
TEAM = Group(members=("bob", "carol"), join=True)


@dataclass
class House(Mixed):
    """Alice talks to Bob's phone, whose dialog is `NAME`."""

    groups: list[Group] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.sessions: dict[DialogName, FakeSession] = {}
        engine: Any = self.engine
        find: Any = self.sessions.get
        self.unanswered = Unanswered()
        self.dialogs = NamedDialogs(
            find=find, calls=lambda: self.calls, unanswered=self.unanswered, groups=lambda: self.groups
        )
        self.joining = Joining(dialogs=self.dialogs, unanswered=self.unanswered, engine=engine)

    async def talk(self, *, user: str | None = "bob", trunk: str | None = None) -> tuple[FakeLeg, SipLeg, Call]:
        alice = self.leg("alice", picture=None)
        phone, session = await dialled(self.engine)
        phone.id = "bob"
        phone.booking = Booked(Party(address="192.0.2.9", user=user, trunk=trunk))  # type: ignore[assignment]
        self.sessions[NAME] = session
        call = await self.call(alice, phone)  # type: ignore[arg-type]
        self.calls.append(call)
        return alice, phone, call

    async def comes(self) -> tuple[SipLeg, FakeSession]:
        """The leg of an INVITE that is not answered yet."""
        leg, session = leg_of(self.engine), FakeSession("incoming")
        leg.id = "carol"
        offer = await media(FakeEngine()).offer(BROWSER, srtp=False)
        leg.take(session, offer)  # type: ignore[arg-type]
        return leg, session

    def refusal(self, name: DialogName = NAME, *, user: str | None = "bob", trunk: str | None = None) -> int:
        with pytest.raises(DialogRefused) as refused:
            self.joining.look(name, user=user, trunk=trunk)
        return refused.value.code


@pytest.fixture
def house() -> House:
    return House()


async def test_whoever_joins_hears_both_and_is_heard_by_both(house: House) -> None:
    alice, bob, call = await house.talk()
    carol, session = await house.comes()
    await house.joining.join(carol, house.joining.look(NAME, user="bob", trunk=None))
    everybody: list[Any] = [alice, bob, carol]
    assert [house.hears(leg, everybody) for leg in everybody] == [
        ["bob", "carol"],
        ["alice", "carol"],
        ["alice", "bob"],
    ]
    assert [entry[0] for entry in session.log if entry[0] in ("answer", "reject")] == ["answer"]
    assert call.members == (alice, bob, carol)


@pytest.mark.parametrize("focus", ["conf-17", ""])
async def test_whoever_joins_a_conference_is_told_that_he_talks_to_its_focus(house: House, focus: str) -> None:
    _, _, call = await house.talk()
    call.focus = focus
    carol, session = await house.comes()
    await house.joining.join(carol, house.joining.look(NAME, user="bob", trunk=None))
    assert session.focus == (focus or None)


async def test_two_go_on_when_whoever_joined_hangs_up(house: House) -> None:
    alice, bob, call = await house.talk()
    carol, session = await house.comes()
    await house.joining.join(carol, house.joining.look(NAME, user="bob", trunk=None))
    session.happen(sip.Ended("remote"))
    await settled()
    assert carol.ended
    assert call.members == (alice, bob)
    assert not alice.ended
    await call.end(EndCause("system", "over"))


async def test_a_dialog_that_nobody_knows_is_refused(house: House) -> None:
    await house.talk()
    assert house.refusal(DialogName("call", "ours", "guessed")) == 481


@pytest.mark.parametrize(
    ("party", "by", "code"),
    [
        ({"user": "bob"}, {"user": "carol"}, 403),
        ({"user": "bob"}, {"user": None, "trunk": "world"}, 481),
        ({"user": None, "trunk": "world"}, {"user": "bob"}, 403),
        ({"user": None, "trunk": "world"}, {"user": None, "trunk": "other"}, 481),
        ({"user": "bob"}, {"user": None}, 481),
    ],
)
async def test_somebody_elses_call_is_refused_and_a_trunk_does_not_learn_that_there_is_one(
    house: House, party: dict[str, Any], by: dict[str, Any], code: int
) -> None:
    await house.talk(**party)
    assert house.refusal(**by) == code


@pytest.mark.parametrize(
    ("group", "may"),
    [
        (TEAM, True),
        (Group(members=("bob", "carol")), False),
        (Group(members=("bob", "dave"), join=True), False),
        (Group(members=("carol", "dave"), join=True), False),
    ],
)
async def test_colleagues_of_a_group_join_each_other_where_the_group_says_so(
    house: House, group: Group, may: bool
) -> None:
    _, bob, call = await house.talk()
    house.groups.append(group)
    if may:
        assert house.joining.look(NAME, user="carol", trunk=None) == Joined(call, bob)
    else:
        assert house.refusal(user="carol") == 403


@pytest.mark.parametrize(
    ("group", "may"),
    [(TEAM, True), (Group(members=("bob", "carol"), pickup=True), True), (Group(members=("bob", "carol")), False)],
)
def test_who_may_join_or_take_over_is_told_how_calls_are_named_and_nobody_else(
    house: House, group: Group, may: bool
) -> None:
    house.groups.append(group)
    assert house.dialogs.may_name("carol", "bob") is may
    assert not house.dialogs.may_name("dave", "bob")
    assert house.dialogs.may_name("bob", "bob")


async def test_a_call_manager_joins_its_own_call(house: House) -> None:
    _, phone, call = await house.talk(user=None, trunk="world")
    assert house.joining.look(NAME, user=None, trunk="world") == Joined(call, phone)


async def test_a_dialog_that_belongs_to_no_call_is_as_one_that_nobody_knows(house: House) -> None:
    house.sessions[NAME] = FakeSession()
    assert house.refusal() == 481


async def rings(house: House) -> tuple[FakeLeg, SipLeg]:
    """Bob's phone rings for Alice."""
    alice, phone, session = house.leg("alice", picture=None), leg_of(house.engine), FakeSession()
    phone.id = "bob"
    phone.booking = Booked(Party(address="192.0.2.9", user="bob"))  # type: ignore[assignment]
    phone._session = session  # type: ignore[assignment]
    house.sessions[NAME] = session
    return alice, phone


async def test_whoever_joins_a_call_that_rings_hears_ringing_and_comes_in_when_it_is_up(house: House) -> None:
    alice, ringing = await rings(house)
    carol, session = await house.comes()
    with house.unanswered.calling(alice):
        with house.unanswered.ringing(ringing, alice):
            joined = house.joining.look(NAME, user="bob", trunk=None)
            assert joined == Joined(None, ringing)
            comes = asyncio.ensure_future(house.joining.join(carol, joined))
            await settled()
            assert session.log == [("ring", 180)]
        phone, _ = await dialled(house.engine)
        ringing.__dict__.update(phone.__dict__ | {"id": "bob"})  # its phone has answered
        call = await house.call(alice, ringing)  # type: ignore[arg-type]
        house.unanswered.up(call)
    await comes
    assert call.members == (alice, ringing, carol)
    assert session.log[-1][0] == "answer"
    await call.end(EndCause("system", "over"))


async def test_whoever_joins_a_call_that_nobody_answers_is_declined(house: House) -> None:
    alice, ringing = await rings(house)
    carol, _ = await house.comes()
    with house.unanswered.calling(alice), house.unanswered.ringing(ringing, alice):
        comes = asyncio.ensure_future(house.joining.join(carol, Joined(None, ringing)))
        await settled()
    with pytest.raises(DialogRefused) as refused:
        await comes
    assert refused.value.code == 603


async def test_whoever_gives_up_waiting_for_an_answer_does_not_come_in(house: House) -> None:
    alice, ringing = await rings(house)
    carol, session = await house.comes()
    with house.unanswered.calling(alice), house.unanswered.ringing(ringing, alice):
        comes = asyncio.ensure_future(house.joining.join(carol, Joined(None, ringing)))
        await settled()
        session.happen(sip.Cancelled())
        with pytest.raises(DialogRefused):
            await comes
    assert carol.end_cause == EndCause("agent", "cancelled", 487)


async def test_so_many_may_wait_for_an_answer_as_a_call_has_places(house: House) -> None:
    alice, ringing = await rings(house)
    carol, _ = await house.comes()
    with house.unanswered.calling(alice), house.unanswered.ringing(ringing, alice):
        for _ in range(MAX_MEMBERS - 2):
            assert house.unanswered.wait(ringing, most=MAX_MEMBERS - 2) is not None
        with pytest.raises(DialogRefused) as refused:
            await house.joining.join(carol, Joined(None, ringing))
    assert refused.value.code == 486


@pytest.mark.parametrize("state", [SessionState.CANCELLING, SessionState.ENDING, SessionState.ENDED])
async def test_a_call_that_is_over_is_declined(house: House, state: SessionState) -> None:
    await house.talk()
    house.sessions[NAME].state = state
    assert house.refusal() == 603


async def test_a_full_call_is_busy(house: House) -> None:
    _, _, call = await house.talk()
    for number in range(MAX_MEMBERS - 2):
        await call.add(house.leg(f"guest{number}"))
    assert house.refusal() == 486


async def test_a_call_whose_sound_cannot_be_mixed_is_refused(house: House) -> None:
    alice, _, _ = await house.talk()
    alice.hosts = True  # type: ignore[misc]
    assert house.refusal() == 488


async def test_whoever_joins_a_call_that_ends_meanwhile_is_hung_up(house: House) -> None:
    _, bob, call = await house.talk()
    carol, session = await house.comes()
    joined = house.joining.look(NAME, user="bob", trunk=None)
    await bob.end(EndCause("agent", "hangup"))
    await settled()
    with pytest.raises(Exception, match="nobody can come into this call"):
        await house.joining.join(carol, joined)
    assert carol.end_cause is not None
    assert carol.end_cause.reason == "not_added"
    assert session.log[-1][0] == "hangup"
    assert carol not in call.members


async def test_whoever_has_given_up_waiting_leaves_his_place_to_others(house: House) -> None:
    alice, ringing = await rings(house)
    with house.unanswered.calling(alice), house.unanswered.ringing(ringing, alice):
        first = house.unanswered.wait(ringing, most=1)
        assert first is not None
        assert house.unanswered.wait(ringing, most=1) is None
        first.cancel()
        assert house.unanswered.wait(ringing, most=1) is not None
