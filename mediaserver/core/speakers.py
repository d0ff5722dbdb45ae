"""Who is heard in a room, and who is the active speaker, by how loudly each one speaks; time is an argument.

The engine smooths what it hears and tells changes only (`SpeechChanged`); here is the comfort: those who are heard stay
until somebody else needs the place, and the active speaker changes neither at a cough nor between two words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SWITCH_AFTER_S: Final = 0.4
"""Who has spoken for so long may become the active speaker."""

HOLD_S: Final = 2.0
"""The active speaker stays for so long at least, unless gone."""

OUTSPEAK_S: Final = 1.5
"""Who is clearly louder than an active speaker who still speaks takes over after so long."""

CLEARLY_LOUDER: Final = 2
"""In steps of `SpeechChanged.loudness`, of 6 dB each."""


@dataclass(slots=True)
class _Voice:
    loudness: int = 0
    since: float = 0.0
    """When this speech began."""
    spoke_at: float = float("-inf")
    """When it was heard last; the end of the last speech while there is none."""


class Speakers:
    """The voices of one room. `places` is how many are heard by somebody who speaks no word."""

    def __init__(self, places: int) -> None:
        # One more than there are places: who sits in one does not hear itself.
        self._most = places + 1
        self._voices: dict[str, _Voice] = {}
        self._heard: list[str] = []
        self._recent: list[str] = []
        self._active: str | None = None
        self._active_since = float("-inf")
        self._due: float | None = None

    def seat(self, places: int) -> None:
        """There are so many places from now on; whoever has spoken last and was not heard comes into a new one."""
        self._most = places + 1
        while len(self._heard) < self._most and (following := self._best_unheard()) is not None:
            self._heard.append(following)
        del self._heard[self._most :]

    @property
    def heard(self) -> tuple[str, ...]:
        """Whom to hear, one more than there are places; the order means nothing."""
        return tuple(self._heard)

    @property
    def active(self) -> str | None:
        """The active speaker; the last one while nobody speaks, None before anybody has."""
        return self._active

    @property
    def speaking(self) -> tuple[str, ...]:
        """Those among the heard who speak now."""
        return tuple(name for name in self._heard if self._voices[name].loudness)

    @property
    def recent(self) -> tuple[str, ...]:
        """Active speakers, the last one first; those who never were are not in it."""
        return tuple(self._recent)

    def add(self, name: str) -> None:
        """Somebody publishes sound from now on. Adding again changes nothing."""
        if name not in self._voices:
            self._voices[name] = _Voice()
            if len(self._heard) < self._most:
                self._heard.append(name)

    def remove(self, name: str, now: float) -> None:
        """Somebody publishes no sound any more."""
        if self._voices.pop(name, None) is None:
            return
        self._recent = [one for one in self._recent if one != name]
        if name in self._heard:
            self._heard.remove(name)
            following = self._best_unheard()
            if following is not None:
                self._heard.append(following)
        if self._active == name:
            self._active, self._active_since = next(iter(self._recent), None), float("-inf")
        self._judge(now)

    def hear(self, name: str, loudness: int, now: float) -> None:
        """Somebody speaks louder or quieter; 0 is silence. Names that were not added are ignored."""
        voice = self._voices.get(name)
        if voice is None or voice.loudness == loudness:
            return
        if not voice.loudness:
            voice.since = now
        voice.loudness, voice.spoke_at = loudness, now
        if name not in self._heard:
            self._let_in(name)
        elif not loudness:
            self._make_way(name)
        self._judge(now)

    def poll_timeout(self) -> float | None:
        """When `handle_timeout` has something to do."""
        return self._due

    def handle_timeout(self, now: float) -> bool:
        """Lets time pass; True when the active speaker changed."""
        before = self._active
        if self._due is not None and now >= self._due:
            self._judge(now)
        return self._active != before

    # -- who is heard ------------------------------------------------------------------------------------------------

    def _let_in(self, name: str) -> None:
        voice = self._voices[name]
        if not voice.loudness:
            return
        weakest = min(self._heard, key=self._worth, default=None)
        if weakest is None or len(self._heard) < self._most:
            self._heard.append(name)
            return
        other = self._voices[weakest]
        if not other.loudness or voice.loudness >= other.loudness + CLEARLY_LOUDER:
            self._heard[self._heard.index(weakest)] = name

    def _make_way(self, name: str) -> None:
        """Somebody heard fell silent: whoever speaks unheard for longest takes the place."""
        waiting = self._best_unheard()
        if waiting is not None and self._voices[waiting].loudness:
            self._heard[self._heard.index(name)] = waiting

    def _best_unheard(self) -> str | None:
        heard = set(self._heard)
        unheard = [name for name in self._voices if name not in heard]
        speaking = [name for name in unheard if self._voices[name].loudness]
        if speaking:
            return min(speaking, key=lambda name: self._voices[name].since)
        return max(unheard, key=lambda name: self._voices[name].spoke_at, default=None)

    def _worth(self, name: str) -> tuple[int, float]:
        voice = self._voices[name]
        return voice.loudness, voice.spoke_at

    # -- who is active -----------------------------------------------------------------------------------------------

    def _judge(self, now: float) -> None:
        self._due = None
        candidate = self._candidate()
        if candidate is None:
            return
        ready_at = self._ready_at(candidate)
        if now < ready_at:
            self._due = ready_at
            return
        self._active, self._active_since = candidate, now
        self._recent = [candidate, *(name for name in self._recent if name != candidate)]

    def _candidate(self) -> str | None:
        """Who might become the active speaker: the loudest of the heard, of equals the one that began first."""
        active = self._voices[self._active] if self._active is not None else _Voice()
        least = active.loudness + CLEARLY_LOUDER if active.loudness else 1
        others = [name for name in self._heard if name != self._active and self._voices[name].loudness >= least]
        return max(others, key=lambda name: (self._voices[name].loudness, -self._voices[name].since), default=None)

    def _ready_at(self, candidate: str) -> float:
        if self._active is None:
            return self._voices[candidate].since
        patience = OUTSPEAK_S if self._voices[self._active].loudness else SWITCH_AFTER_S
        return max(self._voices[candidate].since + patience, self._active_since + HOLD_S)
