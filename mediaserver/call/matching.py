"""Whether one route matches a call, and if not, which key says no; pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from mediaserver.config.routes import DAYS, Match, Target, Times

if TYPE_CHECKING:
    from mediaserver.call.routing import Question


def mismatches(match: Match, question: Question) -> Iterator[str]:
    """What speaks against the route, key by key, in words; nothing where it matches."""
    for key in ("called", "caller", "name", "domain"):
        wanted, found = getattr(match, key), getattr(question, key)
        if wanted is not None and not _like(wanted, found, fold=key == "domain"):
            yield f"{key} is {_said(found)}, not {wanted}"
    for key in ("trunk", "entry"):
        wanted, found = getattr(match, key), getattr(question, key)
        if wanted is not None and wanted != found:
            yield f"{key} is {_said(found)}, not {wanted}"
    for name, wanted in match.headers.items():
        values = [value for field, value in question.headers if field.lower() == name.lower()]
        if not any(_like(wanted, value) for value in values):
            yield f"header {name} is {_said(values[0] if values else None)}, not {wanted}"
    for name, wanted in match.attributes.items():
        if not _like(wanted, question.attributes.get(name)):
            yield f"attribute {name} is {_said(question.attributes.get(name))}, not {wanted}"
    if match.time is not None:
        yield from _when(match.time, question.at or datetime.now(UTC))


def forbidden(match: Match, target: Target, question: Question) -> str | None:
    """Why a call may not leave by the trunk that the route leads to, although it matches; None where it may.

    Toll fraud begins with calls that come in from outside and go out again at the house's cost: who comes by a trunk or
    an entry leaves by a trunk only where the route names where it comes from.
    """
    if target.trunk is None:
        return None
    if question.trunk is not None and match.trunk is None:
        return f"came in by trunk {question.trunk}, which the route does not name: it may not leave by a trunk"
    if question.entry is not None and match.entry is None:
        return f"came in by entry {question.entry}, which the route does not name: it may not leave by a trunk"
    return None


def _said(value: str | None) -> str:
    return "not known" if value is None else value[:80] or "empty"


def _like(pattern: str, text: str | None, *, fold: bool = False) -> bool:
    """`*` is the only wildcard. Each part is looked for once, from left to right: no pattern makes this slow."""
    if text is None:
        return False
    if fold:
        pattern, text = pattern.lower(), text.lower()
    first, *rest = pattern.split("*")
    if not rest:
        return text == pattern
    last = rest.pop()
    if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
        return False
    at, end = len(first), len(text) - len(last)
    for part in rest:
        found = text.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


@lru_cache(maxsize=256)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def _when(times: Times, at: datetime) -> Iterator[str]:
    local = at.astimezone(_zone(times.timezone))
    clock, day = local.time().replace(tzinfo=None), local.date()
    if times.start <= times.end:
        inside = times.start <= clock < times.end
    else:
        inside = clock >= times.start or clock < times.end
        if clock < times.end:
            day -= timedelta(days=1)  # the night belongs to the day on which it began
    said = local.strftime("%Y-%m-%d %H:%M")
    if not inside:
        yield f"it is {said} in {times.timezone}, not between {times.start:%H:%M} and {times.end:%H:%M}"
    if DAYS[day.weekday()] not in times.days:
        yield f"it is {DAYS[day.weekday()]} ({said} in {times.timezone}), not {', '.join(times.days)}"
    if times.dates and day not in times.dates:
        yield f"it is {said} in {times.timezone}, not one of the dates"
