"""Where a call goes: the routing table of the configuration, read from top to bottom, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from mediaserver.call.matching import forbidden, mismatches
from mediaserver.config.model import Config
from mediaserver.config.routes import Match, Target


@dataclass(frozen=True, slots=True)
class Question:
    """What is known of a call before it is routed; absent parts are None."""

    called: str | None = None
    caller: str | None = None
    name: str | None = None
    """Display name of the caller."""
    domain: str | None = None
    """Host of the address that was called, lower case."""
    trunk: str | None = None
    entry: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    """Header fields of the INVITE."""
    attributes: Mapping[str, str] = field(default_factory=dict)
    """What is known of the contact: trusted attributes only."""
    at: datetime | None = None
    """When, with its timezone; None is now."""


@dataclass(frozen=True, slots=True)
class Destination:
    """The answer. `number` is what was called, for trunks; `rule` says what decided, for logs and the curious."""

    target: Target
    number: str | None
    rule: str
    others: tuple[Destination, ...] = ()
    """Where else a call may go that finds no room there: what later lines of the table say of it."""


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the table as `explain` saw it."""

    rule: str
    target: str
    reasons: tuple[str, ...]
    """Why it does not count; empty where it does."""
    decides: bool = False
    """The first that counts."""


class Router:
    """Decides by the first matching line; a user's own name needs no line. What nothing matches goes nowhere."""

    def __init__(self, config: Config) -> None:
        self.adopt(config)

    def adopt(self, config: Config) -> None:
        """Route by this configuration from now on."""
        self._routes: Sequence[tuple[Match, Target]] = [(route.match, route.to) for route in config.routes]
        self._users = frozenset(config.users)
        self._entries = config.entries

    def route(self, question: Question) -> Destination | None:
        """The destination, or None when nothing matches. An entry as target is followed once."""
        found = self._first(question)
        if found is None or found.target.entry is None:
            return found
        entry = self._entries.get(found.target.entry)
        if entry is not None and entry.to is not None and entry.to.entry is None:
            return Destination(entry.to, question.called, f"{found.rule}, entry {found.target.entry}")
        return self._first(replace(question, entry=found.target.entry))

    def route_entry(self, name: str, question: Question | None = None) -> Destination | None:
        """Where callers of an entry go: its own target, else what the table says of it."""
        entry = self._entries[name]
        if entry.to is not None:
            return Destination(entry.to, None, f"entry {name}")
        return self.route(replace(question or Question(), entry=name))

    def explain(self, question: Question) -> list[Step]:
        """Every line of the table with why it counts or not, as far as the first that refuses; then a user's name."""
        steps: list[Step] = []
        decided = False
        for number, (match, target) in enumerate(self._routes, 1):
            reasons = self._against(match, target, question)
            decides = not reasons and not decided
            steps.append(Step(f"route {number}", target.text, reasons, decides))
            decided = decided or decides
            if not reasons and target.refuse is not None:
                return steps
        if question.called in self._users:
            steps.append(Step(f"user {question.called}", f"user {question.called}", (), not decided))
        return steps

    def _first(self, question: Question) -> Destination | None:
        found = list(self._all(question))
        if not found:
            return None
        others = tuple(other for other in found[1:] if other.target.refuse is None)
        return replace(found[0], others=others)

    def _all(self, question: Question) -> Iterator[Destination]:
        """Every line that matches, as far as one that refuses."""
        for number, (match, target) in enumerate(self._routes, 1):
            if not self._against(match, target, question):
                yield Destination(target, question.called, f"route {number}")
                if target.refuse is not None:
                    return
        if question.called in self._users:
            yield Destination(Target(user=question.called), question.called, f"user {question.called}")

    def _against(self, match: Match, target: Target, question: Question) -> tuple[str, ...]:
        reasons = tuple(mismatches(match, question))
        if not reasons and (refused := forbidden(match, target, question)) is not None:
            return (refused,)
        return reasons
