"""Legs joined: two that hear and see each other, and others who come into their call; with the last but one it is over."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import structlog

from mediaserver.call.call_media import CallMedia
from mediaserver.call.conference import Conference, Supervision
from mediaserver.call.events import (
    Dtmf,
    EndCause,
    LegEnded,
    LegEvent,
    MediaChanged,
    PartyChanged,
    PictureWithheld,
    QualityChanged,
    RateChanged,
    TextReceived,
    TransferAsked,
)
from mediaserver.call.leg import Leg
from mediaserver.call.linking import mixes, part, spoken, stop_transcoding
from mediaserver.call.quality import LegQuality
from mediaserver.engine.engine import Engine
from mediaserver.errors import LimitExceeded, LocalProtocolError, MediaServerError, NegotiationError

MAX_MEMBERS: Final = 16
"""Parties, supervisors and companions of one call; more people meet in a room."""

_STOP_DEADLINE_S = 2.0
_log = structlog.get_logger(__name__)


class Call(CallMedia):
    """`caller` and `callee` are legs that both exist; `join` lets them meet, `add` brings in others.

    The call subscribes each leg's down tracks to the other's up tracks and keeps doing so whenever a leg's media
    change; no transport moves. `on_ended` is called once, after both legs are over; `on_withheld(leg, reason)` when the
    peer of a leg gets no picture of the other one, and with an empty reason when it does again;
    `on_quality(leg, quality)` when a leg is doing better or worse.
    """

    def __init__(
        self,
        *,
        call_id: str,
        caller: Leg,
        callee: Leg,
        longest_s: float,
        on_ended: Callable[[Call, EndCause], None],
        on_withheld: Callable[[Leg, str], None] | None = None,
        on_quality: Callable[[Leg, LegQuality], None] | None = None,
        on_transfer: Callable[[Call, Leg, TransferAsked], None] | None = None,
        on_replaced: Callable[[Leg], None] | None = None,
        on_digit: Callable[[Leg, str], None] | None = None,
        engine: Engine | None = None,
        shows_supervision: bool = False,
    ) -> None:
        """`on_transfer(call, leg, event)`: a leg asks to be replaced; `on_replaced(leg)`: somebody else came in;
        `on_digit(leg, digit)`: a key was pressed there. Without `engine` nobody can be added.
        `shows_supervision`: a leg's peer is shown who supervises it."""
        super().__init__(call_id=call_id, caller=caller, callee=callee, engine=engine)
        self._shows_supervision = shows_supervision
        self._on_digit = on_digit
        self._ending = False
        self.focus = ""
        """User part of the URI of the conference that this is (RFC 4579); empty where it is none."""
        self.on_changed: Callable[[Call], None] | None = None
        """Called when somebody may have come or gone, or is held."""
        self._on_transfer = on_transfer
        self._on_replaced = on_replaced
        self._leaving: Leg | None = None
        self._longest_s = longest_s
        self._on_ended = on_ended
        self._on_withheld = on_withheld
        self._on_quality = on_quality
        self._length: asyncio.TimerHandle | None = None

    async def join(self) -> None:
        """Answers the caller with what the callee speaks and connects the media.

        Raises NegotiationError when the two have nothing in common; both legs then still exist.
        """
        self.caller.listen(self._on_leg_event)
        self.callee.listen(self._on_leg_event)
        self.caller.represent(self.callee)
        await self.caller.meet(self.callee)
        await self.callee.meet(self.caller)
        self._met = {leg.id: spoken(leg) for leg in (self.caller, self.callee)}
        self._joined = True
        self.connect()
        self._length = asyncio.get_running_loop().call_later(self._longest_s, self._is_too_long)
        await self.caller.joined(self.callee)
        await self.callee.joined(self.caller)
        for leg in (self.caller, self.callee):
            self._notice_end(leg)

    async def end(self, cause: EndCause) -> None:
        """Ends all legs."""
        self._ending = True
        for leg in self.members:
            await leg.end(cause)

    async def add(self, leg: Leg, supervision: Supervision | None = None) -> None:
        """Brings in somebody who has answered; `supervision` makes it no party.

        Raises LocalProtocolError for a call whose sound cannot be mixed.
        """
        self._make_room(leg)
        leg.represent(self.caller)
        if supervision is not None:
            self.supervisions[leg.id] = supervision
        self._take_in(leg)
        await leg.joined(self.callee if supervision is not None and supervision.of == self.callee.id else self.caller)
        await self._show_supervision(leg, supervision)
        self._notice_end(leg)

    async def accompany(self, of: Leg, leg: Leg) -> None:
        """Brings in a further leg of somebody who is in the call, for its picture; it leaves with that one.

        Raises LocalProtocolError where it cannot be, or there is one already.
        """
        if of not in self.parties or of.ended or self.companions.of_leg(of, self.members):
            raise LocalProtocolError(f"{of.name} takes no further leg")
        self._make_room(leg)
        other = next(each for each in self.parties if each is not of)
        leg.represent(other)
        self.companions.add(leg, of)
        self._take_in(leg)
        leg.settle_with(other)
        await self.companions.meet(leg, other)
        await self.companions.show(self.members, self.parties)
        self._notice_end(leg)

    def check_room(self, newcomers: Sequence[Leg], *, instead: int = 0) -> None:
        """Whether these can come in, `instead` of so many who leave. Raises LocalProtocolError, LimitExceeded."""
        if len(self.members) + len(newcomers) - instead > MAX_MEMBERS:
            raise LimitExceeded(f"{MAX_MEMBERS} are in one call at most", limit="call_members")
        if self._engine is None or self._cause is not None:
            raise LocalProtocolError("nobody can come into this call")
        silent = [each.name for each in (*self.members, *newcomers) if not mixes(each)]
        if silent:
            raise LocalProtocolError(f"the sound of {', '.join(silent)} cannot be mixed")

    def _make_room(self, leg: Leg) -> None:
        self.check_room([leg])
        if self._engine is None:
            raise LocalProtocolError("nobody can come into this call")
        if self._conference is None:
            self._conference = Conference(engine=self._engine, on_refused=self._on_mix_refused)

    def _take_in(self, leg: Leg) -> None:
        leg.listen(self._on_leg_event)
        self.guests.append(leg)
        if self._on_replaced is not None:
            self._on_replaced(leg)
        self.connect()

    def supervisor(self, by: str) -> Leg | None:
        """Who supervises by this name."""
        found = (leg for leg in self.guests if not leg.ended and leg.id in self.supervisions)
        return next((leg for leg in found if self.supervisions[leg.id].by == by), None)

    async def supervise(self, leg: Leg, supervision: Supervision) -> None:
        """Somebody who supervises does so in another way."""
        self.supervisions[leg.id] = supervision
        self.connect()
        await self._show_supervision(leg, supervision)

    async def _show_supervision(self, leg: Leg, supervision: Supervision | None, *, over: bool = False) -> None:
        if supervision is not None and self._shows_supervision:
            supervised = next((each for each in self.members if each.id == supervision.of), None)
            if supervised is not None:
                await supervised.show_supervision(leg.name, "" if over else supervision.mode)

    def run(self, work: Coroutine[Any, Any, None], *, name: str) -> None:
        """Runs `work` as a task that ends with the call."""
        self._tasks.spawn(work, name=name)

    @contextmanager
    def letting_go(self, leg: Leg) -> Iterator[None]:
        """While somebody else is sought for the place of `leg`, it may hang up without ending the call.

        If nobody was found, a call whose leg has gone is over.
        """
        self._leaving = leg
        try:
            yield
        finally:
            self._leaving = None
            if leg in self.members:
                self._notice_end(leg)

    async def replace(self, old: Leg, new: Leg) -> None:
        """`new` takes the place of `old`, which goes on by itself and is heard no more. Raises NegotiationError."""
        other = self.other(old)
        new.represent(other)
        other.represent(new)
        await new.meet(other)
        if old is self.caller:
            self.caller = new
        elif old is self.callee:
            self.callee = new
        else:
            self.guests[self.guests.index(old)] = new
        self.passing.forget(old)
        part(old)
        new.listen(self._on_leg_event)
        await other.meet(new)
        self._met = {leg.id: spoken(leg) for leg in (self.caller, self.callee)}
        self.connect()
        for leg, peer in ((other, new), (new, other)):
            leg.settle_with(peer)
        if self._on_replaced is not None:
            self._on_replaced(new)
        await other.joined(new)
        await new.joined(other)
        for companion in self.companions.of_leg(old, self.members):
            await companion.end(EndCause("system", "left_alone"))
        await self.companions.show(self.members, self.parties)
        self._notice_end(new)

    async def exchange(self, old: Leg, ring: Callable[[], Awaitable[Leg]]) -> Leg:
        """Whoever `ring` finds takes the place of `old`; who he is. Raises what `ring` raises, and NegotiationError."""
        with self.letting_go(old):
            new = await ring()
            try:
                await self.replace(old, new)
            except MediaServerError:
                new.listen(None)
                await new.end(EndCause("system", "no_common_media", 488))
                raise
        return new

    async def merge(self, old: Leg, second: Call, theirs: Leg, cause: EndCause) -> tuple[Leg, str]:
        """Whom `theirs` talks to in another call takes the place of `old`; who that is, and the contact he came from.

        Where they are several, the others come in beside him. The other call ends with `cause`. Raises NegotiationError.
        """
        if len(second.parties) > 2:
            self.check_room([party for party in second.parties if party is not theirs], instead=1)
        with self.letting_go(old):
            new, *beside = await second.surrender(theirs, cause)
            joined = new.contact_id
            for leg in (new, *beside):
                leg.move_to(old.contact_id)
            await self.replace(old, new)
            for leg in beside:
                await self.add(leg)
        return new, joined

    async def surrender(self, leg: Leg, cause: EndCause, *, keep: bool = False) -> list[Leg]:
        """Gives away whom `leg` talks to, and ends; `leg` is hung up, unless it is kept, and so is who is no party."""
        given = [party for party in self.parties if party is not leg]
        self._cause = cause
        for other in given:
            if self.passing.is_held(other):
                await other.show_hold(on=False, hears=False)  # what it comes to knows of no hold
            self.passing.forget(other)
            part(other)
            stop_transcoding(other)
        self._close_media()
        stop_transcoding(leg)
        for gone in self.members:
            if gone not in given and not (keep and gone is leg):
                await gone.end(cause)
        await self._close(cause)
        return given

    def _is_too_long(self) -> None:
        self._ending = True
        self._tasks.spawn(self.caller.end(EndCause("system", "call_duration")), name="length")

    async def _close(self, cause: EndCause) -> None:
        self._on_ended(self, cause)
        if self._length is not None:
            self._length.cancel()
        await self._tasks.stop(_STOP_DEADLINE_S)

    def _notice_end(self, leg: Leg) -> None:
        """A leg may have hung up while it was brought in, and before anybody listened to it."""
        if leg.end_cause is not None:
            self._on_leg_event(leg, LegEnded(leg.end_cause))

    def _on_leg_event(self, leg: Leg, event: LegEvent) -> None:
        match event:
            case MediaChanged():
                self.connect()
                self._meet_again(leg)
                for companion in self.companions.met_by(leg, self.members):
                    self._tasks.spawn(self.companions.meet(companion, leg), name="companion")
            case RateChanged():
                self._bound_pictures()
            case PictureWithheld(reason=reason):
                if self._on_withheld is not None:
                    self._on_withheld(leg, reason)
                self._tasks.spawn(self.other(leg).show_withheld(reason), name="picture")
            case QualityChanged(quality=quality):
                if self._on_quality is not None:
                    self._on_quality(leg, quality)
                self._tasks.spawn(leg.show_quality(quality), name="quality")
            case PartyChanged() if self._joined:
                self.other(leg).represent(leg)
                self._tasks.spawn(self.other(leg).show_party(leg), name="party")
                self._tell_changed()
            case Dtmf(digit=digit):
                if self._on_digit is not None:
                    self._on_digit(leg, digit)
                self._pass_key(leg, event)
            case TextReceived(text=text):
                self.say(leg, text)
            case TransferAsked():
                if self._on_transfer is not None:
                    self._on_transfer(self, leg, event)
            case LegEnded(cause=cause) if leg is not self._leaving and self._cause is None:
                if not self._ending and self._goes_on_without(leg):
                    self._tasks.spawn(self._left(leg), name="left")
                else:
                    self._cause = cause
                    self._tasks.spawn(self._finish(leg, cause), name="finish")
            case _:
                pass

    def _pass_key(self, leg: Leg, key: Dtmf) -> None:
        """A key that came as a message goes on in the way that the other side takes; what came as RFC 4733 events is

        forwarded as packets, but to a phone without them.
        """
        if len(self.parties) > 2 or leg in self.guests:
            return  # of several nobody knows whom it is for
        other = self.other(leg)
        if leg.kind == "browser" or key.as_message or (other.kind == "sip" and not other.takes_events):
            other.press(key.digit, duration_ms=key.duration_ms)

    def _goes_on_without(self, leg: Leg) -> bool:
        """Whether two parties remain; whoever came in later then has the place of one of the first two who goes."""
        parties = [each for each in self.parties if each is not leg]
        if leg not in self.members or len([each for each in parties if not each.ended]) < 2:
            return False
        if leg in self.guests:
            self.guests.remove(leg)
        else:
            heir = next(each for each in self.guests if each in parties and not each.ended)
            self.guests.remove(heir)
            if leg is self.caller:
                self.caller = heir
            else:
                self.callee = heir
        return True

    async def _left(self, leg: Leg) -> None:
        """Somebody has left, and the others go on: two who remain do so as if nobody had been there."""
        self.passing.forget(leg)
        stop_transcoding(leg)
        await self._show_supervision(leg, self.supervisions.pop(leg.id, None), over=True)
        await self._leave_companions(leg)
        if not self.guests:
            try:
                await self.caller.meet(self.callee)
                await self.callee.meet(self.caller)
            except NegotiationError as error:
                self.caller.log.info("legs_apart", call=self.id, reason=str(error))
            self._met = {each.id: spoken(each) for each in (self.caller, self.callee)}
        if self._cause is not None:
            return
        self.connect()
        if not self.guests:
            await self.caller.joined(self.callee)
            await self.callee.joined(self.caller)

    async def _leave_companions(self, leg: Leg) -> None:
        """Whoever came with a leg goes with it; and the picture that a companion brought is gone."""
        for companion in self.companions.of_leg(leg, self.members):
            await companion.end(EndCause("system", "left_alone"))
        of_id = self.companions.forget(leg)
        of = next((each for each in self.parties if each.id == of_id), None)
        for party in self.parties if of is not None else ():
            if of is not None and party is not of:
                await party.see(of, None)

    async def _finish(self, first: Leg, cause: EndCause) -> None:
        for leg in self.members:
            if leg is not first:
                await leg.end(cause)
        self._close_media()
        for leg in (first, *self.members):
            stop_transcoding(leg)
        await self._close(cause)

    def _tell_changed(self) -> None:
        if self.on_changed is not None:
            self.on_changed(self)
