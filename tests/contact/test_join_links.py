"""Links into calls: used once, no longer than they live, and bounded."""

from __future__ import annotations

import pytest

from mediaserver.contact import join_links
from mediaserver.contact.join_links import MOST_PER_CALL, JoinLinks
from mediaserver.errors import LimitExceeded


def made(links: JoinLinks, call: str = "call") -> str:
    return links.make(call_id=call, leg_id="leg", entry="demo", lifetime_s=10)[0]


def test_a_link_is_looked_at_often_and_used_once() -> None:
    now = 100.0
    links = JoinLinks(clock=lambda: now)
    token = made(links)
    for _ in range(3):
        found = links.find(token)
        assert found is not None
        assert (found.call_id, found.leg_id, found.entry, found.expires_at) == ("call", "leg", "demo", 110)
    links.use(token)
    assert links.find(token) is None
    links.use(token)
    late = made(links)
    now = 110.0
    assert (links.find(late), links.find("invented")) == (None, None)


def test_a_call_has_a_few_links_and_takes_them_along() -> None:
    links = JoinLinks(clock=lambda: 0.0)
    tokens = [made(links) for _ in range(MOST_PER_CALL + 1)]
    other = made(links, "other")
    assert links.find(tokens[0]) is None
    assert all(links.find(token) for token in tokens[1:])
    links.forget("call")
    assert (len(links), links.find(other) is not None) == (1, True)
    links.forget("call")


def test_all_calls_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(join_links, "MOST", 2)
    links = JoinLinks(clock=lambda: 0.0)
    made(links, "a")
    made(links, "b")
    with pytest.raises(LimitExceeded):
        made(links, "c")
    links.forget("c")
    assert len(links) == 2
