"""Who is in a call, and what of each goes to the others: sound, picture, data and text, linked anew at every change."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import reduce

from mediaserver.call.companions import Companions
from mediaserver.call.conference import Conference, Supervision
from mediaserver.call.events import EndCause
from mediaserver.call.leg import Leg
from mediaserver.call.linking import fits, link, sound, spoken
from mediaserver.call.passing import Passing
from mediaserver.call.phone_chat import PhoneChat
from mediaserver.call.text_bridge import TextBridge
from mediaserver.call.transcoding import TranscodeRule, stronger, transcoded_into
from mediaserver.core.data import Topics
from mediaserver.core.down_track import DownTrack
from mediaserver.core.up_track import UpTrack
from mediaserver.engine.engine import Engine
from mediaserver.errors import NegotiationError
from mediaserver.runtime.tasks import TaskGroupOwner


class CallMedia(ABC):
    """The part of a call that moves media; `Call` decides who comes in and who goes."""

    def __init__(self, *, call_id: str, caller: Leg, callee: Leg, engine: Engine | None) -> None:
        self.id = call_id
        self.caller = caller
        self.callee = callee
        self.guests: list[Leg] = []
        """Who came in beside the two, parties and supervisors, the last one last."""
        self.supervisions: dict[str, Supervision] = {}
        """Those of the guests who are no parties, by leg."""
        self.companions = Companions()
        """Those of the guests who belong to another leg."""
        self.passing = Passing()
        """What of each leg goes to the other; `connect` puts a change of it into force."""
        self._engine = engine
        self._conference: Conference | None = None
        self._topics: Topics | None = None
        self._chat = PhoneChat()
        self._text = TextBridge()
        self._cause: EndCause | None = None
        self._met: dict[str, tuple[str, ...]] = {}
        """What each leg spoke when the other one last came to terms with it, by leg."""
        self._joined = False
        self._tasks = TaskGroupOwner(f"call-{call_id}")

    @abstractmethod
    def _tell_changed(self) -> None:
        """Somebody may have come or gone, or is held."""

    @property
    def members(self) -> tuple[Leg, ...]:
        """Everybody, the two first of whom the call began."""
        return self.caller, self.callee, *self.guests

    @property
    def parties(self) -> tuple[Leg, ...]:
        """Who talks here: neither those who supervise nor the further legs of somebody."""
        return tuple(leg for leg in self.members if leg.id not in self.supervisions and leg not in self.companions)

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
        host = next((each for each in self.members if each.hosts), None)
        if host is not None:
            return host.take_text(text)
        shown = self._chat.take(leg, text)
        return self._chat.pass_on(leg, self.parties, text) or shown

    def connect(self) -> None:
        """Lets each leg hear and see what of the other ones it may."""
        conference = self._conference
        if conference is not None and self._cause is None and (self.guests or not self._meets()):
            conference.connect(self.members, self.passing, self.supervisions, self._link_alone, self.companions.of)
            for leg in self.members:
                self._connect_held(leg)
        else:
            self.passing.connect(self.caller, self.callee, self._link)
            if conference is not None:
                conference.close()
        self._bound_pictures()
        self._connect_data()
        self._tell_changed()

    def _meets(self) -> bool:
        """Whether two who were in a conference can go on without its mix."""
        rule = stronger(self.caller.transcode, self.callee.transcode)
        for giver, taker in ((self.caller, self.callee), (self.callee, self.caller)):
            up, down = sound(giver)[0], sound(taker)[1]
            if up is None or down is None or fits(up, down):
                continue
            if transcoded_into(up.codecs, down.codecs, rule) is None:
                return False
        return True

    def _connect_held(self, leg: Leg) -> None:
        clip = self.passing.clip(leg)
        if clip is None:
            leg.stop_playing()
        else:
            leg.play(clip, loop=True)

    def _link_alone(self, down: DownTrack, up: UpTrack) -> bool:
        """Sends the sound of one to one, without a mix where they have a codec in common or may be transcoded."""
        rule = reduce(stronger, (leg.transcode for leg in self.members))
        if not fits(up, down) and transcoded_into(up.codecs, down.codecs, rule) is None:
            return False
        self._link(down, up, rule)
        return True

    def _link(self, down: DownTrack | None, up: UpTrack | None, rule: TranscodeRule | None = None) -> None:
        """Sends what comes from one side to the other, decoded and encoded where that is to be."""
        if down is not None and up is not None and down.kind == "audio":
            rule = rule or stronger(self.caller.transcode, self.callee.transcode)
            codecs = transcoded_into(up.codecs, down.codecs, rule)
            if codecs is not None:
                down.transcode(up, *codecs, self._on_transcoder_refused)
                return
        link(down, up)

    def _on_transcoder_refused(self, reason: str) -> None:
        self.caller.log.warning("transcoder_refused", call=self.id, reason=reason)
        for leg in self.members:
            leg.transcode = "never"
        self._tasks.spawn(self._go_without_transcoding(reason), name="without-transcoding")

    async def _go_without_transcoding(self, reason: str) -> None:
        """The legs come to terms by what they share; where that is nothing, the call is over."""
        if self.guests:
            self.connect()
            return
        try:
            await self.caller.meet(self.callee)
            await self.callee.meet(self.caller)
        except NegotiationError:
            await self.caller.end(EndCause("system", "transcoder_refused", 503, reason))
            return
        self.connect()

    def _on_mix_refused(self, reason: str) -> None:
        """Who came last goes: there is no room for it."""
        self.caller.log.warning("mix_refused", call=self.id, reason=reason)
        if self.guests and not any(leg.ended for leg in self.guests):  # one that goes makes room
            last = self.guests[-1]
            self._tasks.spawn(last.end(EndCause("system", "mix_refused", 503, reason)), name="mix-refused")

    def _bound_pictures(self) -> None:
        """Each side is asked for no more than the other one can show."""
        if self.guests:
            return
        for leg in (self.caller, self.callee):
            if "video" in leg.media:
                leg.limit_picture(self.other(leg).picture_bounds)

    def _connect_data(self) -> None:
        """Channels of the same label are one channel from page to page; a phone has texts in place of the chat."""
        self._chat.connect(self.caller, self.callee)
        channels = [leg.data for leg in self.members if leg.data is not None and leg.id not in self.supervisions]
        if len(channels) > 1 and self._topics is None:
            self._topics = channels[0].new_topics()
        for data in channels if len(channels) > 1 else ():
            if data.topics is not self._topics:
                data.use(self._topics)
        apart = self.passing.is_held(self.caller) or self.passing.is_held(self.callee)
        for leg, on in self._text.connect(self.caller, self.callee, apart=apart):
            self._tasks.spawn(leg.show_text(on=on), name="text")

    def _close_media(self) -> None:
        if self._conference is not None:
            self._conference.close()
        self._chat.close()

    def _meet_again(self, leg: Leg) -> None:
        """A leg that speaks something else than before, or more: the other one comes to terms with it.

        A hold changes neither, and so the other side hears nothing of it.
        """
        if self._joined and not self.guests and self._met.get(leg.id) != spoken(leg):
            self._met[leg.id] = spoken(leg)
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
