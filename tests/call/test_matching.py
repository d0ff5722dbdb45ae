"""What a route looks at: every key, patterns, time of day across summer time and midnight, and who may go out."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import pytest

from mediaserver.call.matching import forbidden, mismatches
from mediaserver.call.routing import Question
from mediaserver.config.loader import InvalidConfig, load_text
from mediaserver.config.routes import Match, Target


def match(text: str) -> Match:
    return (
        load_text(f"routes: [{{match: {text}, to: {{refuse: 404}}}}]\ntrunks: {{t: {{target: 'sip:h'}}}}\n")
        .config.routes[0]
        .match
    )


FULL = Question(
    called="+49301234",
    caller="+43123",
    name="Ann B",
    domain="example.org",
    trunk="t",
    headers=(("X-Ticket", "abc"), ("x-ticket", "def")),
    attributes={"tier": "gold"},
)


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "{called: '+49*', caller: '*', name: 'Ann*', domain: EXAMPLE.org, trunk: t}",
        "{headers: {x-TICKET: d*f}}",
        "{headers: {X-Ticket: abc}, attributes: {tier: gold}}",
        "{called: '*12*4'}",
        "{called: '**'}",
    ],
)
def test_routes_that_match(text: str) -> None:
    assert list(mismatches(match(text), FULL)) == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{called: '+43*'}", "called is +49301234, not +43*"),
        ("{caller: '+49*'}", "caller is +43123, not +49*"),
        ("{domain: other.org}", "domain is example.org, not other.org"),
        ("{name: ann*}", "name is Ann B, not ann*"),
        ("{headers: {X-Other: '*'}}", "header X-Other is not known, not *"),
        ("{headers: {X-Ticket: '?bc'}}", "header X-Ticket is abc, not ?bc"),
        ("{attributes: {tier: silver}}", "attribute tier is gold, not silver"),
    ],
)
def test_routes_that_do_not_match_say_why(text: str, why: str) -> None:
    assert list(mismatches(match(text), FULL)) == [why]


def test_an_anonymous_caller_matches_no_pattern_of_callers() -> None:
    assert list(mismatches(match("{caller: '*'}"), Question(called="1"))) == ["caller is not known, not *"]


def test_patterns_take_no_time_that_grows_with_their_stars() -> None:
    started = time.perf_counter()
    assert list(mismatches(match("{called: '" + "a*" * 50 + "b'}"), Question(called="a" * 60_000)))
    assert time.perf_counter() - started < 1.0


def at(text: str) -> Question:
    return Question(called="1", at=datetime.fromisoformat(text).replace(tzinfo=UTC))


WORK = "{time: {days: [mon, tue, wed, thu, fri], start: '08:00', end: '18:00', timezone: Europe/Berlin}}"


@pytest.mark.parametrize(
    ("moment", "holds"),
    [
        ("2026-11-23T06:59", False),  # Monday 07:59 in winter
        ("2026-11-23T07:00", True),
        ("2026-11-23T16:59", True),
        ("2026-11-23T17:00", False),
        ("2026-11-22T09:00", False),  # Sunday
        ("2026-07-06T06:00", True),  # Monday 08:00 in summer
        ("2026-07-06T05:59", False),
    ],
)
def test_times_are_those_of_their_timezone(moment: str, holds: bool) -> None:
    assert (not list(mismatches(match(WORK), at(moment)))) is holds


@pytest.mark.parametrize(
    ("moment", "holds"),
    [
        ("2026-11-27T21:59", False),  # Friday
        ("2026-11-27T22:00", True),
        ("2026-11-28T05:59", True),  # the night of Friday goes on
        ("2026-11-28T06:00", False),
        ("2026-11-28T22:00", False),  # Saturday's night is no Friday's
        ("2026-11-27T03:00", False),  # Thursday's night
    ],
)
def test_a_night_belongs_to_the_day_on_which_it_begins(moment: str, holds: bool) -> None:
    night = match("{time: {days: [fri], start: '22:00', end: '06:00'}}")
    assert (not list(mismatches(night, at(moment)))) is holds


def test_dates_and_the_end_of_a_day() -> None:
    christmas = match("{time: {dates: ['2026-12-24'], end: '24:00'}}")
    assert not list(mismatches(christmas, at("2026-12-24T23:59")))
    assert list(mismatches(christmas, at("2026-12-25T00:00"))) == [
        "it is 2026-12-25 00:00 in UTC, not one of the dates"
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{time: {start: '25:00'}}", "expected a time of day"),
        ("{time: {timezone: Berlin}}", "expected a timezone"),
        ("{time: {dates: ['24.12.2026']}}", "expected a date"),
        ("{time: {days: [monday]}}", "did you mean mon"),
    ],
)
def test_mistakes_say_what_would_be_right(text: str, says: str) -> None:
    with pytest.raises(InvalidConfig, match=says):
        match(text)


@pytest.mark.parametrize(
    ("rule", "question", "may"),
    [
        ({}, {}, True),
        ({}, {"trunk": "t"}, False),
        ({"trunk": "t"}, {"trunk": "t"}, True),
        ({}, {"entry": "demo"}, False),
        ({"entry": "demo"}, {"entry": "demo"}, True),
    ],
)
def test_who_comes_from_outside_goes_out_only_where_the_route_says_so(
    rule: dict[str, Any], question: dict[str, Any], may: bool
) -> None:
    assert (forbidden(Match(**rule), Target(trunk="t"), Question(**question)) is None) is may
    assert forbidden(Match(**rule), Target(user="u"), Question(**question)) is None
