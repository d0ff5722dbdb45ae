"""The routing table: order, wildcards, users without a line, entries as targets."""

from __future__ import annotations

import pytest

from mediaserver.call.routing import Question, Router
from mediaserver.config.model import Config
from mediaserver.config.sections import Entry, Match, Route, SecretRef, Target, User

USER = User(secret=SecretRef(state="x"))


def router(*routes: Route, entries: dict[str, Entry] | None = None) -> Router:
    return Router(Config(users={"agent": USER, "back": USER}, entries=entries or {}, routes=routes))


def test_first_matching_line_decides() -> None:
    table = router(
        Route(match=Match(called="1*"), to=Target(user="agent")),
        Route(match=Match(called="12"), to=Target(user="back")),
    )
    found = table.route(Question(called="12"))
    assert found is not None
    assert (found.target.user, found.rule) == ("agent", "route 1")


@pytest.mark.parametrize(("called", "user"), [("+49301234", "agent"), ("49301234", None)])
def test_only_the_asterisk_is_a_wildcard(called: str, user: str | None) -> None:
    found = router(Route(match=Match(called="+4930*"), to=Target(user="agent"))).route(Question(called=called))
    assert (found.target.user if found else None) == user


def test_brackets_and_question_marks_are_plain_characters() -> None:
    table = router(Route(match=Match(called="a[b]?"), to=Target(user="agent")))
    assert table.route(Question(called="a[b]?")) is not None
    assert table.route(Question(called="abx")) is None


def test_every_key_of_a_line_must_match() -> None:
    table = router(Route(match=Match(called="7", caller="alice"), to=Target(user="agent")))
    assert table.route(Question(called="7", caller="bob")) is None
    assert table.route(Question(called="7", caller="alice")) is not None


def test_a_user_is_reached_by_name_without_a_line() -> None:
    found = router().route(Question(called="back"))
    assert found is not None
    assert found.target.user == "back"


def test_unknown_numbers_lead_nowhere() -> None:
    assert router().route(Question(called="nobody")) is None


def test_an_entry_as_target_is_followed_to_its_own_target() -> None:
    table = router(
        Route(match=Match(called="video"), to=Target(entry="demo")),
        entries={"demo": Entry(to=Target(user="agent"))},
    )
    found = table.route(Question(called="video"))
    assert found is not None
    assert found.target.user == "agent"


def test_an_entry_without_a_target_asks_the_table() -> None:
    table = router(Route(match=Match(entry="demo"), to=Target(user="back")), entries={"demo": Entry()})
    found = table.route_entry("demo")
    assert found is not None
    assert found.target.user == "back"


def test_later_lines_are_where_else_a_call_may_go_as_far_as_one_that_refuses() -> None:
    table = router(
        Route(match=Match(called="1*"), to=Target(user="back")),
        Route(to=Target(room="stage")),
        Route(match=Match(called="2"), to=Target(user="agent")),
        Route(match=Match(called="1*"), to=Target(user="agent")),
        Route(match=Match(called="12"), to=Target(refuse=404)),
        Route(to=Target(user="back")),
    )
    found = table.route(Question(called="12"))
    assert found is not None
    assert [other.rule for other in found.others] == ["route 2", "route 4"]


def test_a_users_own_name_comes_after_the_table() -> None:
    found = router(Route(to=Target(user="back"))).route(Question(called="agent"))
    assert found is not None
    assert [(other.target.user, other.rule) for other in found.others] == [("agent", "user agent")]
