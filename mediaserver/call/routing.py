"""Where a call goes: the routing table of the configuration, read from top to bottom."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from fnmatch import fnmatchcase

from mediaserver.config.model import Config
from mediaserver.config.sections import Match, Target


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
    """Where else a call may go that finds no room on the lines there: what later lines of the table say of it."""


class Router:
    """Decides by the first matching line; a user's own name needs no line."""

    def __init__(self, config: Config) -> None:
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
        return self._first(Question(question.called, question.caller, question.trunk, found.target.entry))

    def route_entry(self, name: str) -> Destination | None:
        """Where callers of an entry go: its own target, else what the table says of it."""
        entry = self._entries[name]
        if entry.to is not None:
            return Destination(entry.to, None, f"entry {name}")
        return self.route(Question(entry=name))

    def _first(self, question: Question) -> Destination | None:
        found = list(self._all(question))
        if not found:
            return None
        others = tuple(other for other in found[1:] if other.target.user or other.target.trunk)
        return replace(found[0], others=others)

    def _all(self, question: Question) -> Iterator[Destination]:
        """Every line that matches, as far as one that refuses."""
        for number, (match, target) in enumerate(self._routes, 1):
            if _matches(match, question):
                yield Destination(target, question.called, f"route {number}")
                if target.refuse is not None:
                    return
        if question.called in self._users:
            yield Destination(Target(user=question.called), question.called, f"user {question.called}")


def _matches(match: Match, question: Question) -> bool:
    return (
        _text_matches(match.called, question.called)
        and _text_matches(match.caller, question.caller)
        and match.trunk in (None, question.trunk)
        and match.entry in (None, question.entry)
    )


def _text_matches(pattern: str | None, text: str | None) -> bool:
    # `*` is the only wildcard of the configuration; fnmatch's others are taken literally.
    if pattern is None:
        return True
    return text is not None and fnmatchcase(text, pattern.replace("[", "[[]").replace("?", "[?]"))
