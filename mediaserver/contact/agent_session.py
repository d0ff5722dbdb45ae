"""An agent on a web page: signed in, rung, talking, and able to call out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, Literal

from mediaserver.call.agents import Agents, PageCall, Presentation
from mediaserver.call.dial_failed import DialFailed
from mediaserver.call.events import EndCause
from mediaserver.call.leg import Codecs, Leg
from mediaserver.call.signaling import Signaling
from mediaserver.call.webrtc_leg import WebRtcLeg
from mediaserver.errors import RemoteProtocolError
from mediaserver.runtime.tasks import TaskGroupOwner
from mediaserver.webrtc import messages

_OFFER_TIMEOUT_S: Final = 15.0
_STOP_DEADLINE_S: Final = 2.0

LegMaker = Callable[[str, Codecs], WebRtcLeg]
"""Makes the agent's leg for a contact, with the codecs of the other side first."""
PlaceCall = Callable[[WebRtcLeg, str], Coroutine[Any, Any, None]]
"""Connects the agent's leg, which has just offered, with a number or user."""


class AgentSession:
    """Implements `call.signaling.AgentSession` and `call.agents.BrowserPhone`: one call at a time."""

    def __init__(
        self,
        *,
        user: str,
        agents: Agents,
        signaling: Signaling,
        make_leg: LegMaker,
        make_outgoing_leg: Callable[[], WebRtcLeg],
        place_call: PlaceCall,
    ) -> None:
        self.user = user
        self._agents = agents
        self._signaling = signaling
        self._make_leg = make_leg
        self._make_outgoing_leg = make_outgoing_leg
        self._place_call = place_call
        self._tasks = TaskGroupOwner(f"agent-{user}")
        self._leg: WebRtcLeg | None = None
        self._ringing: str | None = None
        self._ringing_for: tuple[str, Codecs] = ("", {})
        self._decision: asyncio.Future[bool] | None = None
        self._offered: asyncio.Future[None] | None = None
        self._target: str | None = None
        self._shown: str | None = None

    # -- what the page says --------------------------------------------------------------------------------------

    async def handle(self, message: messages.ClientMessage) -> None:
        """Takes what the page says. Raises RemoteProtocolError, SdpError, NegotiationError."""
        match message:
            case messages.Accept(call_id=call_id):
                self._decide(call_id, accepted=True)
            case messages.Decline(call_id=call_id):
                self._decide(call_id, accepted=False)
            case messages.Call(target=target):
                self._begin_call(target)
            case messages.Hangup():
                if self._leg is not None:
                    await self._leg.end(EndCause("agent", "hangup"))
            case messages.Consent():
                raise RemoteProtocolError("only callers are asked for consent", status=400)
            case _:
                await self._pass_on(message)

    async def _pass_on(self, message: messages.ClientMessage) -> None:
        leg = self._leg
        if leg is None:
            raise RemoteProtocolError(f"{message.type} belongs to a call, and there is none", status=409)
        await leg.handle(message)
        if not isinstance(message, messages.Offer):
            return
        if self._offered is not None and not self._offered.done():
            self._offered.set_result(None)
        elif self._target is not None and not leg.ended:
            target, self._target = self._target, None
            self._tasks.spawn(self._place_call(leg, target), name="place-call")

    def _decide(self, call_id: str, *, accepted: bool) -> None:
        if call_id != self._ringing or self._decision is None or self._decision.done():
            raise RemoteProtocolError("this call is no longer there to take", status=410)
        if accepted:
            # Here and not when `ring` wakes: the page's offer may be the very next message.
            self._leg = leg = self._make_leg(*self._ringing_for)
            leg.on_released = lambda: self._on_released(leg)
            self._watch(leg, call_id, calling=False, remote=self._shown)
            self._offered = asyncio.get_running_loop().create_future()
        self._decision.set_result(accepted)

    def _begin_call(self, target: str) -> None:
        if self._leg is not None or self._ringing is not None:
            raise RemoteProtocolError("hang up first: there is one call at a time", status=409)
        leg = self._make_outgoing_leg()
        leg.on_released = lambda: self._on_released(leg)
        self._leg = leg
        self._target = target
        self._watch(leg, leg.id, calling=True, remote=target)

    async def gone(self, reason: str) -> None:
        """The page signed out or did not come back."""
        self._agents.sign_out(self)
        if self._leg is not None:
            await self._leg.end(EndCause("agent", reason))
        await self._tasks.stop(_STOP_DEADLINE_S)

    async def dismiss(self) -> None:
        """Another page of the same user has signed in: this one's call ends and it rings no more."""
        await self._signaling.send(
            messages.Error(code="signed_in_elsewhere", message="You have signed in on another page.")
        )
        await self.gone("signed_in_elsewhere")

    # -- what a call asks ----------------------------------------------------------------------------------------

    async def ring(self, *, call_id: str, contact_id: str, presentation: Presentation, wanted: Codecs) -> Leg:
        """Shows the call and waits for Answer and the page's offer. Raises DialFailed."""
        if self._leg is not None or self._ringing is not None:
            raise DialFailed(486, "Busy here")
        self._ringing, self._ringing_for = call_id, (contact_id, wanted)
        self._shown = None if presentation.withheld else presentation.number
        self._agents.talks(self, PageCall(call_id, calling=False, state="early", remote=self._shown))
        self._decision = asyncio.get_running_loop().create_future()
        reason = "cancelled"
        try:
            await self._signaling.send(_incoming(call_id, presentation, wanted))
            if not await self._decision:
                reason = "declined"
                raise DialFailed(603, "Declined")
            leg = await self._answered()
            reason = ""
            return leg
        finally:
            self._ringing = None
            self._decision = None
            if self._leg is None:
                self._agents.talks(self, None)
            if reason == "cancelled":
                await self._signaling.send(messages.Withdrawn(call_id=call_id, reason=reason))

    async def _answered(self) -> WebRtcLeg:
        leg, offered = self._leg, self._offered
        if leg is None or offered is None:
            raise DialFailed(480, "The agent hung up")
        try:
            async with asyncio.timeout(_OFFER_TIMEOUT_S):
                await offered
        except TimeoutError:
            await leg.end(EndCause("system", "no_offer"))
            raise DialFailed(480, "The agent's page answered without media") from None
        except asyncio.CancelledError:
            await leg.end(EndCause("system", "cancelled"))
            raise
        finally:
            self._offered = None
        if leg.ended:  # its offer found no room on its lines
            raise DialFailed(488, "The agent's lines have no room", warning_code=370)
        return leg

    def _watch(self, leg: WebRtcLeg, call_id: str, *, calling: bool, remote: str | None) -> None:
        """Colleagues who watch the agent see the call from here on: it is tried, and confirmed when the legs meet."""

        def show(state: Literal["trying", "confirmed"]) -> None:
            if self._leg is leg:
                self._agents.talks(self, PageCall(call_id, calling=calling, state=state, remote=remote))

        leg.on_joined = lambda: show("confirmed")
        show("trying" if calling else "confirmed")

    def _on_released(self, leg: WebRtcLeg) -> None:
        leg.on_joined = None  # it holds the leg: two that hold each other wait for the collector
        if self._leg is leg:
            self._leg = None
            self._target = None
            self._agents.talks(self, None)


def _incoming(call_id: str, presentation: Presentation, wanted: Codecs) -> messages.Incoming:
    return messages.Incoming(
        call_id=call_id,
        caller=messages.CallerInfo(
            name=presentation.name,
            verified=presentation.verified,
            attributes=dict(presentation.attributes),
            unverified_attributes=dict(presentation.unverified),
        ),
        page=presentation.page,
        media=messages.MediaKinds(audio="audio" in wanted, video="video" in wanted),
    )
