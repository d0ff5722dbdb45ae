"""A room: who publishes into it and who receives whom; it exists only here, transports know nothing of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final

from mediaserver.config.bandwidth import MediaKind
from mediaserver.core.data import Topics
from mediaserver.core.participant import Participant
from mediaserver.core.permissions import Permissions
from mediaserver.core.room_chat import RoomChat
from mediaserver.core.room_mix import RoomMix
from mediaserver.core.seating import seat
from mediaserver.core.slot import Publication, Slot
from mediaserver.core.speakers import Speakers
from mediaserver.core.subscription import (
    ACTIVE_PRIORITY,
    REST_PRIORITY,
    SCREEN_PRIORITY,
    Subscription,
    Want,
)
from mediaserver.engine.commands import Kind
from mediaserver.sdp.description import Codec

_VIDEO_KINDS: Final = ("screen", "video")
_KINDS: Final[dict[str, tuple[MediaKind, ...]]] = {"audio": ("audio",), "video": _VIDEO_KINDS}


class Room:
    """Everybody receives in fixed slots; who is shown there is decided anew whenever somebody comes, goes or speaks.

    Sound goes to those who are heard (`Speakers`), pictures to what a participant asked for, then to screens, to those
    who spoke last and to those who have been there longest. A subscription that stays costs nothing. A phone has one
    sound, of the room's mix, and the first picture that it can show. `audio_places` is the most slots for sound that
    somebody has.
    """

    def __init__(self, name: str, *, audio_places: int = 1) -> None:
        self.name = name
        self.speakers = Speakers(audio_places)
        self._participants: dict[str, Participant] = {}
        self._topics: Topics | None = None
        self._mix = RoomMix()
        self._chat = RoomChat()
        self._told: tuple[str | None, tuple[str, ...]] = (None, ())

    def __len__(self) -> int:
        return len(self._participants)

    def __iter__(self) -> Iterator[Participant]:
        return iter(self._participants.values())

    @property
    def publishers(self) -> int:
        """How many do nothing but publish."""
        return sum(1 for one in self if one.up and not one.member)

    @property
    def viewers(self) -> int:
        """How many do nothing but receive."""
        return sum(1 for one in self if not one.up and not one.member)

    @property
    def members(self) -> int:
        """How many take part."""
        return sum(1 for one in self if one.member)

    @property
    def phones(self) -> int:
        """How many of the members hear a mix."""
        return sum(1 for one in self if one.ears is not None)

    def get(self, participant_id: str) -> Participant | None:
        """Who has this id, if anybody here has."""
        return self._participants.get(participant_id)

    def codecs(self, kind: Kind) -> tuple[Codec, ...]:
        """What the present publishers of a kind can send, each codec once; empty without any.

        The sound of phones does not count: it comes in the codec of who listens.
        """
        kinds = ("audio",) if kind == "audio" else _VIDEO_KINDS
        present = (one for one in self if kind == "video" or one.renditions is None)
        found = (one.up[each].codecs for one in present for each in kinds if each in one.up)
        return tuple({(codec.key, codec.pt): codec for codec in chain.from_iterable(found)}.values())

    # -- who comes and goes ------------------------------------------------------------------------------------------

    def join(self, participant: Participant, now: float) -> None:
        """Takes a participant in, or its tracks anew after a negotiation."""
        newcomer = participant.id not in self._participants
        self._participants[participant.id] = participant
        if newcomer and participant.observer is not None:
            for other in self:
                if other is not participant:
                    participant.observer.saw(other)
            participant.observer.heard(*self._told)
        self._take_data(participant)
        if self._chat.join(participant):
            self._take_all_data()
        self.changed(participant, now)

    def say(self, participant_id: str, text: str) -> bool:
        """A text of somebody who has no data channels, for the chat; False where nobody gets it."""
        writer = self._participants.get(participant_id)
        return writer is not None and self._chat.say(writer, text, self)

    def leave(self, participant_id: str, now: float) -> None:
        """Lets a participant go; its tracks end with its transport."""
        participant = self._participants.pop(participant_id, None)
        if participant is None:
            return
        self.speakers.remove(participant_id, now)
        if self._chat.leave(participant_id):
            self._take_all_data()
        for one in self:
            if one.observer is not None:
                one.observer.missed(participant_id)
        if participant.up or participant.ears is not None:
            self._seat_all()

    def changed(self, participant: Participant, now: float) -> None:
        """Takes what a participant publishes now, by its own will and by what it may."""
        participant.set_gates()
        sound = participant.up.get("audio")
        if sound is not None:
            # What a phone says tells of no level (RFC 6464): where it is in the mix, that is how we know.
            mixed = participant.ears is not None and participant.ears.sound is not None
            sound.watch_speech(on=not mixed)
        if participant.published("audio") is not None:
            self.speakers.add(participant.id)
        else:
            self.speakers.remove(participant.id, now)
        for one in self:
            if one.observer is not None and one is not participant:
                one.observer.saw(participant)
        if participant.up:
            self._seat_all()
        else:
            self._seat(participant)

    def permit(self, participant: Participant, permissions: Permissions, now: float) -> None:
        """Changes what somebody may do; what it may not do any more is cut off at once."""
        if permissions == participant.permissions:
            return
        participant.permissions = permissions
        self._take_data(participant)
        self.changed(participant, now)
        if participant.observer is not None:
            participant.observer.permitted(permissions)

    # -- who is seen and heard ---------------------------------------------------------------------------------------

    def subscribe(self, participant: Participant, subscription: Subscription) -> tuple[str, ...]:
        """Takes what a participant wants; the ids in it that nobody here has."""
        participant.subscription = subscription
        self._seat(participant)
        unknown = (want.participant for want in subscription.wants if want.participant not in self._participants)
        return tuple(dict.fromkeys(unknown))

    def hear(self, participant_id: str, loudness: int, now: float) -> None:
        """Somebody speaks louder or quieter: `SpeechChanged`."""
        before = self.speakers.heard, self.speakers.active
        self.speakers.hear(participant_id, loudness, now)
        if (self.speakers.heard, self.speakers.active) != before:
            self._seat_all()

    def handle_timeout(self, now: float) -> None:
        """Lets time pass for the speakers."""
        if self.speakers.handle_timeout(now):
            self._seat_all()

    def tell_speakers(self) -> None:
        """Tells everybody who speaks, where that is not known yet."""
        present = self.speakers.active, self.speakers.speaking
        if present == self._told:
            return
        self._told = present
        for one in self:
            if one.observer is not None:
                one.observer.heard(*present)

    @property
    def has_news(self) -> bool:
        """Whether `tell_speakers` has something to tell."""
        return (self.speakers.active, self.speakers.speaking) != self._told

    # -- inside ------------------------------------------------------------------------------------------------------

    def _take_data(self, participant: Participant) -> None:
        if participant.data is None:
            return
        if self._topics is None:
            self._topics = participant.data.new_topics()
        self._chat.attend(participant)
        participant.data.use(self._topics, may_send="data" in participant.permissions.publish, sender=participant.id)

    def _take_all_data(self) -> None:
        for one in self:
            self._take_data(one)

    def _seat_all(self) -> None:
        sounds, pictures = self._sounds(), self._pictures()
        for participant in self:
            self._place(participant, sounds, pictures)
        self._mix.connect(self, sounds)

    def _seat(self, participant: Participant) -> None:
        sounds = self._sounds()
        self._place(participant, sounds, self._pictures())
        if participant.ears is not None:
            self._mix.connect(self, sounds)

    def _sounds(self) -> list[Publication]:
        # Who has one slot only hears the active speaker in it.
        names = sorted(self.speakers.heard, key=lambda name: name != self.speakers.active)
        heard = (self._participants[name] for name in names if name in self._participants)
        return [found for one in heard if (found := one.published("audio")) is not None]

    def _pictures(self) -> list[Publication]:
        """Everything to be seen, the most interesting first."""
        screens = [found for one in self if (found := one.published("screen")) is not None]
        recent = (self._participants[name] for name in self.speakers.recent if name in self._participants)
        # Those who spoke come twice; a place is taken once.
        cameras = (found for one in chain(recent, self) if (found := one.published("video")) is not None)
        return list(dict.fromkeys(chain(screens, cameras)))

    def _place(self, participant: Participant, sounds: list[Publication], pictures: list[Publication]) -> None:
        if participant.ears is not None:
            participant.ears.see(one for one in pictures if one.participant != participant.id)
        if not participant.slots:
            return
        moved: list[Slot] = []
        for kind, usual in (("audio", sounds), ("video", pictures)):
            slots = [slot for slot in participant.slots.values() if slot.kind == kind]
            wants = (
                participant.subscription.of("audio") if kind == "audio" else participant.subscription.of(*_VIDEO_KINDS)
            )
            asked = {found: want for want in wants if (found := self._wanted(want, participant)) is not None}
            rest = usual if kind == "audio" or participant.subscription.fill else []
            others = (publication for publication in rest if publication.participant != participant.id)
            wanted = participant.affordable(chain(asked, others), places=len(slots), kinds=_KINDS[kind])
            places = seat([slot.shows for slot in slots], wanted)
            moved += [slot for slot, shown in zip(slots, places, strict=True) if slot.show(shown)]
            self._set_targets(slots, asked)
        if moved and participant.observer is not None:
            participant.observer.seated(moved)

    def _wanted(self, want: Want, by: Participant) -> Publication | None:
        other = self._participants.get(want.participant)
        return None if other is None or other is by else other.published(want.kind)

    def _set_targets(self, slots: Iterable[Slot], asked: dict[Publication, Want]) -> None:
        for slot in slots:
            if slot.shows is not None:
                want = asked.get(slot.shows) if asked else None
                slot.aim(want, self._priority(slot.shows, want))

    def _priority(self, shown: Publication, want: Want | None) -> int:
        if want is not None and want.priority is not None:
            return want.priority
        if shown.kind == "screen":
            return SCREEN_PRIORITY
        if shown.participant == self.speakers.active:
            return ACTIVE_PRIORITY
        return REST_PRIORITY if want is None else Subscription.rank(want)
