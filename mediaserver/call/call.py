"""Two legs joined: each hears and sees the other, and when one goes, both go."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import structlog

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
from mediaserver.call.leg import KINDS, Leg
from mediaserver.call.passing import Passing
from mediaserver.call.phone_chat import PhoneChat
from mediaserver.call.quality import LegQuality
from mediaserver.call.text_bridge import TextBridge
from mediaserver.call.transcoding import stronger, transcoded_into
from mediaserver.core.data import Topics
from mediaserver.core.down_track import DownTrack
from mediaserver.core.up_track import UpTrack
from mediaserver.errors import MediaServerError, NegotiationError
from mediaserver.runtime.tasks import TaskGroupOwner

_STOP_DEADLINE_S = 2.0
_log = structlog.get_logger(__name__)


class Call:
    """`caller` and `callee` are legs that both exist; `join` lets them meet.

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
    ) -> None:
        """`on_transfer(call, leg, event)`: a leg asks to be replaced; `on_replaced(leg)`: somebody else came in;
        `on_digit(leg, digit)`: a key was pressed there."""
        self._on_digit = on_digit
        self.passing = Passing()
        """What of each leg goes to the other; `connect` puts a change of it into force."""
        self._on_transfer = on_transfer
        self._on_replaced = on_replaced
        self._leaving: Leg | None = None
        self.id = call_id
        self.caller = caller
        self.callee = callee
        self._longest_s = longest_s
        self._on_ended = on_ended
        self._on_withheld = on_withheld
        self._on_quality = on_quality
        self._topics: Topics | None = None
        self._chat = PhoneChat()
        self._text = TextBridge()
        self._cause: EndCause | None = None
        self._met: dict[str, tuple[str, ...]] = {}
        """What each leg spoke when the other one last came to terms with it, by leg."""
        self._joined = False
        self._tasks = TaskGroupOwner(f"call-{call_id}")

    async def join(self) -> None:
        """Answers the caller with what the callee speaks and connects the media.

        Raises NegotiationError when the two have nothing in common; both legs then still exist.
        """
        self.caller.listen(self._on_leg_event)
        self.callee.listen(self._on_leg_event)
        self.caller.represent(self.callee)
        await self.caller.meet(self.callee)
        await self.callee.meet(self.caller)
        self._met = {leg.id: _spoken(leg) for leg in (self.caller, self.callee)}
        self._joined = True
        self.connect()
        self._tasks.spawn(self._bound_length(), name="length")
        await self.caller.joined(self.callee)
        await self.callee.joined(self.caller)
        for leg in (self.caller, self.callee):
            if leg.end_cause is not None:  # hung up while the two were being brought together
                self._on_leg_event(leg, LegEnded(leg.end_cause))

    async def end(self, cause: EndCause) -> None:
        """Ends both legs."""
        await self.caller.end(cause)
        await self.callee.end(cause)

    def run(self, work: Coroutine[Any, Any, None], *, name: str) -> None:
        """Runs `work` as a task that ends with the call."""
        self._tasks.spawn(work, name=name)

    def other(self, leg: Leg) -> Leg:
        """The leg on the other side of one of the two."""
        return self.callee if leg is self.caller else self.caller

    def hold(self, leg: Leg, *, on: bool, clip: int | None = None) -> None:
        """Parts a leg from the other one, both ways, or joins them again; its peer is shown. It hears `clip`, if any."""
        self.passing.hold(leg, on=on, clip=clip)
        self.connect()
        self._tasks.spawn(leg.show_hold(on=on, hears=clip is not None), name="show-hold")

    def say(self, leg: Leg, text: str) -> bool:
        """Passes on what the peer of a leg wrote. False where nobody in the call gets it."""
        return self._chat.take(leg, text)

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
            if leg.end_cause is not None and leg in (self.caller, self.callee):
                self._on_leg_event(leg, LegEnded(leg.end_cause))

    async def replace(self, old: Leg, new: Leg) -> None:
        """`new` takes the place of `old`, which goes on by itself and is heard no more. Raises NegotiationError."""
        other = self.other(old)
        new.represent(other)
        other.represent(new)
        await new.meet(other)
        if old is self.caller:
            self.caller = new
        else:
            self.callee = new
        self.passing.forget(old)
        _part(old)
        new.listen(self._on_leg_event)
        await other.meet(new)
        self._met = {leg.id: _spoken(leg) for leg in (self.caller, self.callee)}
        self.connect()
        for leg, peer in ((other, new), (new, other)):
            leg.settle_with(peer)
        if self._on_replaced is not None:
            self._on_replaced(new)
        await other.joined(new)
        await new.joined(other)
        if new.end_cause is not None:  # hung up meanwhile
            self._on_leg_event(new, LegEnded(new.end_cause))

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

        The other call ends with `cause`. Raises NegotiationError.
        """
        with self.letting_go(old):
            new = await second.surrender(theirs, cause)
            joined = new.contact_id
            new.move_to(old.contact_id)
            await self.replace(old, new)
        return new, joined

    async def surrender(self, leg: Leg, cause: EndCause) -> Leg:
        """Gives away whom `leg` talks to, and ends; `leg` is hung up."""
        given = self.other(leg)
        self._cause = cause
        if self.passing.is_held(given):
            await given.show_hold(on=False, hears=False)  # what it comes to knows of no hold
        self.passing.forget(given)
        _part(given)
        _stop_transcoding(leg)
        await leg.end(cause)
        self._on_ended(self, cause)
        await self._tasks.stop(_STOP_DEADLINE_S)
        return given

    async def _bound_length(self) -> None:
        await asyncio.sleep(self._longest_s)
        await self.caller.end(EndCause("system", "call_duration"))

    def _on_leg_event(self, leg: Leg, event: LegEvent) -> None:
        match event:
            case MediaChanged():
                self.connect()
                self._meet_again(leg)
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
            case Dtmf(digit=digit):
                if self._on_digit is not None:
                    self._on_digit(leg, digit)
                self._pass_key(leg, event)
            case TextReceived(text=text):
                self.say(leg, text)
            case TransferAsked():
                if self._on_transfer is not None:
                    self._on_transfer(self, leg, event)
            case LegEnded(cause=cause) if leg is not self._leaving:
                if self._cause is None:
                    self._cause = cause
                    self._tasks.spawn(self._finish(leg, cause), name="finish")
            case _:
                pass

    def _meet_again(self, leg: Leg) -> None:
        """A leg that speaks something else than before, or more: the other one comes to terms with it.

        A hold changes neither, and so the other side hears nothing of it.
        """
        if self._joined and self._met.get(leg.id) != _spoken(leg):
            self._met[leg.id] = _spoken(leg)
            self._tasks.spawn(self._meet(self.other(leg), leg), name="meet")

    async def _meet(self, one: Leg, other: Leg) -> None:
        try:
            await one.meet(other)
        except NegotiationError as error:
            one.log.info("legs_apart", reason=str(error))
            return
        for leg, peer in ((one, other), (other, one)):
            leg.settle_with(peer)
        await one.joined(other)

    def _pass_key(self, leg: Leg, key: Dtmf) -> None:
        """A key that came as a message goes on in the way that the other side takes; what came as RFC 4733 events is

        forwarded as packets, but to a phone without them.
        """
        other = self.other(leg)
        if leg.kind == "browser" or key.as_message or (other.kind == "sip" and not other.takes_events):
            other.press(key.digit, duration_ms=key.duration_ms)

    async def _finish(self, first: Leg, cause: EndCause) -> None:
        await self.other(first).end(cause)
        _stop_transcoding(self.caller)
        _stop_transcoding(self.callee)
        self._chat.close()
        self._on_ended(self, cause)
        await self._tasks.stop(_STOP_DEADLINE_S)

    def connect(self) -> None:
        """Lets each leg hear and see what of the other one it may."""
        self.passing.connect(self.caller, self.callee, self._link)
        self._bound_pictures()
        self._connect_data()

    def _link(self, down: DownTrack | None, up: UpTrack | None) -> None:
        """Sends what comes from one side to the other, decoded and encoded where that is to be."""
        if down is not None and up is not None and down.kind == "audio":
            rule = stronger(self.caller.transcode, self.callee.transcode)
            codecs = transcoded_into(up.codecs, down.codecs, rule)
            if codecs is not None:
                down.transcode(up, *codecs, self._on_transcoder_refused)
                return
        link(down, up)

    def _on_transcoder_refused(self, reason: str) -> None:
        self.caller.log.warning("transcoder_refused", call=self.id, reason=reason)
        self.caller.transcode = self.callee.transcode = "never"
        self._tasks.spawn(self._go_without_transcoding(reason), name="without-transcoding")

    async def _go_without_transcoding(self, reason: str) -> None:
        """The legs come to terms by what they share; where that is nothing, the call is over."""
        try:
            await self.caller.meet(self.callee)
            await self.callee.meet(self.caller)
        except NegotiationError:
            await self.caller.end(EndCause("system", "transcoder_refused", 503, reason))
            return
        self.connect()

    def _bound_pictures(self) -> None:
        """Each side is asked for no more than the other one can show."""
        for leg in (self.caller, self.callee):
            if "video" in leg.media:
                leg.limit_picture(self.other(leg).picture_bounds)

    def _connect_data(self) -> None:
        """Channels of the same label are one channel from page to page; a phone has texts in place of the chat."""
        self._chat.connect(self.caller, self.callee)
        one, two = self.caller.data, self.callee.data
        if one is not None and two is not None and self._topics is None:
            self._topics = one.new_topics()
            one.use(self._topics)
            two.use(self._topics)
        apart = self.passing.is_held(self.caller) or self.passing.is_held(self.callee)
        for leg, on in self._text.connect(self.caller, self.callee, apart=apart):
            self._tasks.spawn(leg.show_text(on=on), name="text")


def _spoken(leg: Leg) -> tuple[str, ...]:
    """Kinds and codecs of a leg, without payload types and directions."""
    return tuple(f"{kind} {codec}" for kind in KINDS for codec in leg.codecs.get(kind, ()))


def _part(leg: Leg) -> None:
    """A leg that leaves its call gets nothing more from it, and its end is nobody's business there."""
    leg.listen(None)
    leg.stop_playing()
    for media in leg.media.values():
        link(media.down, None)


def _stop_transcoding(leg: Leg) -> None:
    """The tracks of a leg that has ended are gone, but what was made for them is not."""
    for media in leg.media.values():
        if media.down is not None:
            media.down.stop_transcoding()


def link(down: DownTrack | None, up: UpTrack | None) -> None:
    """Forwards `up` to `down`, or nothing; without `down` there is nothing to do."""
    if down is None:
        return
    if up is None:
        down.unsubscribe()
    else:
        down.subscribe(up)
