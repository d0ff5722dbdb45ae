"""Three or more legs in one call: who hears whom, what is mixed for it, and whose picture each one sees."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from mediaserver.call.leg import Leg
from mediaserver.call.linking import clear_places
from mediaserver.call.passing import Passing
from mediaserver.core.down_track import DownTrack
from mediaserver.core.mix import Hearing, Mix
from mediaserver.core.speakers import Speakers
from mediaserver.core.transcoder import transcodable
from mediaserver.core.up_track import UpTrack
from mediaserver.engine.engine import Engine
from mediaserver.engine.events import AnyEvent, SpeechChanged
from mediaserver.sdp.codecs import is_media, matches

SupervisionMode = Literal["listen", "whisper", "barge"]
"""Whom a supervisor speaks to: to nobody, to the one who is supervised alone, to everybody."""

Connect = Callable[[DownTrack, UpTrack], bool]
"""Lets a track hear another one without a mix; False where that cannot be."""


@dataclass(frozen=True, slots=True)
class Supervision:
    """Somebody who is not a party: hears all, and is heard by those whom the mode lets hear it."""

    mode: SupervisionMode
    of: str
    """The leg that is supervised."""
    by: str = ""
    """Who was asked to, as somebody would dial it."""

    def reaches(self, leg: Leg) -> bool:
        """Whether a leg hears the supervisor."""
        return self.mode == "barge" or (self.mode == "whisper" and leg.id == self.of)


class Conference:
    """`connect` puts everything into force, again whenever legs, their media or what they may have change.

    Whoever hears one voice alone gets it as it came; a mix is for those who hear several. `on_refused` gets the reason
    when nothing more can be mixed.
    """

    def __init__(self, *, engine: Engine, on_refused: Callable[[str], None]) -> None:
        self._engine = engine
        self._on_refused = on_refused
        self._mix: Mix | None = None
        self._speakers = Speakers(places=1)
        self._watched: dict[int, tuple[str, Callable[[], None]]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._members: tuple[Leg, ...] = ()
        self._passing: Passing | None = None
        self._supervisions: Mapping[str, Supervision] = {}
        self._companions: Mapping[str, str] = {}

    @property
    def active(self) -> str | None:
        """The leg of the active speaker, None before anybody has spoken."""
        return self._speakers.active

    def connect(
        self,
        members: Sequence[Leg],
        passing: Passing,
        supervisions: Mapping[str, Supervision],
        connect: Connect,
        companions: Mapping[str, str] | None = None,
    ) -> None:
        """`supervisions` are those of members who are no parties, by leg; `connect` is for who hears one voice alone.

        `companions` are legs of somebody who has another one here, and what that one is.
        """
        self._members, self._passing, self._supervisions = tuple(members), passing, supervisions
        self._companions = companions or {}
        self._watch()
        self._connect_sound(connect)
        self._connect_pictures()

    def close(self) -> None:
        """Ends the mix and forgets everybody. Tracks that heard it are to be sent something else, or nothing."""
        if self._mix is not None:
            self._mix.close()
            self._mix = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for _, unsubscribe in self._watched.values():
            unsubscribe()
        self._watched.clear()
        for leg in self._members:
            _judge(leg, on=False)
            clear_places(leg)
        self._members = ()
        self._speakers = Speakers(places=1)

    # -- sound ---------------------------------------------------------------------------------------------------

    def _connect_sound(self, connect: Connect) -> None:
        ups = {leg: up for leg in self._members if (up := self._up(leg, "audio")) is not None}
        hearings: dict[DownTrack, Hearing] = {}
        heard: set[UpTrack] = set()
        for leg in self._members:
            down = leg.media["audio"].down if "audio" in leg.media else None
            if down is None:
                continue
            voices = [up for other, up in ups.items() if other is not leg and self._hears(leg, other)]
            if self._is_held(leg):
                voices = []
            if not _give_places(leg, down, voices, connect):
                clear_places(leg)
                codec = transcodable(down.codecs)
                if codec is not None:
                    hearings[down] = Hearing(codec, frozenset(up.id for up in ups.values() if up not in voices))
                    heard.update(voices)
        # Who is not heard in the mix is decoded all the same: it is how we know who speaks.
        spoken = {up: codec for up in ups.values() if (codec := transcodable(up.codecs)) is not None}
        if not hearings:
            if self._mix is not None:
                self._mix.close()
                self._mix = None
            return
        if self._mix is None:
            self._mix = Mix(engine=self._engine, on_refused=self._on_refused)
        self._mix.set(spoken, hearings, unjudged={up.id for leg, up in ups.items() if leg.kind == "browser"})

    def _hears(self, leg: Leg, other: Leg) -> bool:
        supervision = self._supervisions.get(other.id)
        return supervision is None or supervision.reaches(leg)

    def _up(self, leg: Leg, kind: Literal["audio", "video"]) -> UpTrack | None:
        """What a leg sends, unless others must not have it."""
        passing = self._passing
        media = leg.media.get(kind)
        if media is None or passing is None or self._is_held(leg) or kind in passing.muted(leg):
            return None
        return media.up

    def _is_held(self, leg: Leg) -> bool:
        """Whether a leg is on hold, or whom it accompanies."""
        person = self._person(leg)
        passing = self._passing
        return passing is not None and any(
            passing.is_held(each) for each in self._members if each is leg or each.id == person
        )

    # -- pictures ------------------------------------------------------------------------------------------------

    def _connect_pictures(self) -> None:
        """Everybody sees the active speaker, or who spoke last but itself, of those whose picture it can show."""
        recent = self._speakers.recent
        rank = {leg_id: place for place, leg_id in enumerate(recent)}
        # A supervisor watches, and is not watched. A companion is seen when the one speaks whom it belongs to.
        seen = sorted(
            (leg for leg in self._members if leg.id not in self._supervisions),
            key=lambda leg: (rank.get(self._person(leg), len(recent)), leg.id not in self._companions),
        )
        for leg in self._members:
            down = leg.media["video"].down if "video" in leg.media else None
            if down is None:
                continue
            ups = (self._up(other, "video") for other in seen if self._person(other) != self._person(leg))
            found = next((up for up in ups if up is not None and _shows(down, up)), None)
            if found is None or self._is_held(leg):
                down.unsubscribe()
            else:
                down.subscribe(found)

    def _person(self, leg: Leg) -> str:
        """Who is at the end of a leg: the leg itself, or the one that it accompanies."""
        return self._companions.get(leg.id, leg.id)

    # -- who speaks ----------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Packets of pages say how loud they are (RFC 6464); of phones the mix tells, by what it decodes."""
        for leg in self._members:
            _judge(leg, on=True)
        ups = {leg.media["audio"].up: leg.id for leg in self._members if "audio" in leg.media}
        present = {up.id: leg_id for up, leg_id in ups.items() if up is not None}
        now = asyncio.get_running_loop().time()
        for up_id in [up_id for up_id in self._watched if up_id not in present]:
            leg_id, unsubscribe = self._watched.pop(up_id)
            unsubscribe()
            self._speakers.remove(leg_id, now)
        for up_id, leg_id in present.items():
            if up_id not in self._watched:
                self._speakers.add(leg_id)
                self._watched[up_id] = (leg_id, self._engine.subscribe_events(up_id, self._on_event))
        self._speakers.seat(max(1, len(present)))

    def _on_event(self, event: AnyEvent) -> None:
        if isinstance(event, SpeechChanged) and event.id in self._watched:
            before = self._speakers.active
            self._speakers.hear(self._watched[event.id][0], event.loudness, asyncio.get_running_loop().time())
            self._spoken(before)

    def _on_time(self) -> None:
        self._timer = None
        before = self._speakers.active
        self._speakers.handle_timeout(asyncio.get_running_loop().time())
        self._spoken(before)

    def _spoken(self, before: str | None) -> None:
        if self._speakers.active != before:
            self._connect_pictures()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self._speakers.poll_timeout()
        if due is not None:
            self._timer = asyncio.get_running_loop().call_at(due, self._on_time)


def _judge(leg: Leg, *, on: bool) -> None:
    """Whether a page's packets are to say who speaks."""
    up = leg.media["audio"].up if leg.kind == "browser" and "audio" in leg.media else None
    if up is not None:
        up.watch_speech(on=on)


def _give_places(leg: Leg, down: DownTrack, voices: Sequence[UpTrack], connect: Connect) -> bool:
    """Lets a leg hear each voice by itself, at the place that it had; False where they are to be mixed."""
    if len(voices) > 1:
        leg.make_places(len(voices) - 1)
    places = (down, *leg.places)
    if len(voices) > len(places):
        return False
    taken = {place.source: place for place in reversed(places) if place.source in voices}
    free = [place for place in places if place not in taken.values()]
    for voice in voices:
        if not connect(taken.get(voice) or free.pop(0), voice):
            return False
    for place in free:
        place.unsubscribe()
    return True


def _shows(down: DownTrack, up: UpTrack) -> bool:
    """Whether what is sent now, the first of its codecs, is something that the receiver can show."""
    first = next((codec for codec in up.codecs if is_media(codec)), None)
    return first is not None and any(matches(first, codec) for codec in down.codecs)
