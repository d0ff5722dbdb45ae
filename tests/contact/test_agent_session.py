"""What colleagues who watch an agent see of the agent's page: there or not, and each call from its first ring on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from mediaserver.call.agents import Agents, Presentation
from mediaserver.call.dial_failed import DialFailed
from mediaserver.call.page_presence import PagePresence
from mediaserver.contact.agent_session import AgentSession
from mediaserver.sip.event_packages import UserState
from mediaserver.webrtc import messages
from tests.call.fakes import FakeSignaling
from tests.contact.call_house import settled

CALLER = Presentation(name="Anna", number="+4930555")


class Shown:
    """Has the face of a user agent that shows users; `states` is what it was told, in words."""

    def __init__(self) -> None:
        self.states: list[str] = []

    def show_user(self, aor: str, state: UserState) -> None:
        calls = [f"{call.direction} {call.state} {call.remote}" for call in state.dialogs]
        self.states.append(f"{aor} {'here' if state.registered else 'away'} {' '.join(calls)}".strip())


class PageLeg:
    """Has the face of a browser's leg as far as the session of its agent uses it."""

    id = "leg"
    ended = False

    def __init__(self) -> None:
        self.on_released: Callable[[], None] | None = None
        self.on_joined: Callable[[], None] | None = None

    async def handle(self, message: object) -> None:
        return None

    async def end(self, cause: object) -> None:
        self.ended = True
        if self.on_released is not None:
            self.on_released()


class Desk:
    """An agent's page, and what others see of it."""

    def __init__(self) -> None:
        self.shown, self.leg, self.signaling = Shown(), PageLeg(), FakeSignaling()
        self.agents = Agents(PagePresence(self.shown, realm="house.test"))
        self.session = self.page()
        self.agents.sign_in(self.session)

    def page(self) -> AgentSession:
        async def place_call(leg: Any, target: str) -> None:
            return None

        made: Any = self.leg
        return AgentSession(
            user="agent",
            agents=self.agents,
            signaling=self.signaling,  # type: ignore[arg-type]
            make_leg=lambda *_: made,
            make_outgoing_leg=lambda: made,
            place_call=place_call,
        )

    async def rung(self, presentation: Presentation = CALLER) -> asyncio.Task[Any]:
        ring = self.session.ring(call_id="call", contact_id="contact", presentation=presentation, wanted={})
        task = asyncio.get_running_loop().create_task(ring)
        await settled()
        return task


@pytest.mark.parametrize(
    ("presentation", "remote"),
    [
        (CALLER, "sip:+4930555@house.test"),
        (Presentation(name="Visitor"), "sip:anonymous@house.test"),
        (Presentation(name="anonymous", number="+4930555", withheld=True), "sip:anonymous@house.test"),
    ],
)
async def test_a_call_that_is_taken_is_seen_from_its_ring_to_its_end(presentation: Presentation, remote: str) -> None:
    desk = Desk()
    ringing = await desk.rung(presentation)
    await desk.session.handle(messages.Accept(call_id="call"))
    await desk.session.handle(messages.Offer(id=1, sdp="v=0"))
    assert await ringing is desk.leg
    await desk.session.handle(messages.Hangup())
    await desk.session.gone("signed_out")
    assert desk.shown.states == [
        "agent@house.test here",
        f"agent@house.test here recipient early {remote}",
        f"agent@house.test here recipient confirmed {remote}",
        "agent@house.test here",
        "agent@house.test away",
    ]


async def test_a_call_that_is_declined_or_withdrawn_is_over_for_those_who_watch() -> None:
    desk = Desk()
    ringing = await desk.rung()
    await desk.session.handle(messages.Decline(call_id="call"))
    with pytest.raises(DialFailed):
        await ringing
    again = await desk.rung()
    again.cancel()
    await asyncio.gather(again, return_exceptions=True)
    early, nothing = "agent@house.test here recipient early sip:+4930555@house.test", "agent@house.test here"
    assert desk.shown.states == [nothing, early, nothing, early, nothing]


async def test_a_call_of_the_agents_own_is_tried_and_then_confirmed() -> None:
    desk = Desk()
    await desk.session.handle(messages.Call(target="anna"))
    assert desk.leg.on_joined is not None
    desk.leg.on_joined()
    assert desk.shown.states[1:] == [
        "agent@house.test here initiator trying sip:anna@house.test",
        "agent@house.test here initiator confirmed sip:anna@house.test",
    ]
    await desk.session.gone("lost")
    assert desk.shown.states[-1] == "agent@house.test away"


async def test_a_page_whose_place_another_has_taken_is_seen_no_more() -> None:
    desk = Desk()
    await desk.session.handle(messages.Call(target="anna"))
    second = desk.page()
    assert desk.agents.sign_in(second) is desk.session
    before = len(desk.shown.states)
    assert desk.shown.states[-1] == "agent@house.test here"
    await desk.session.dismiss()
    assert len(desk.shown.states) == before
