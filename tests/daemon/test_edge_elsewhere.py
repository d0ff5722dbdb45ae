"""What an Edge makes of a Core's word that a visitor is not its own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from mediaserver.config.loader import load_text
from mediaserver.daemon.edge import EdgeDaemon
from mediaserver.link.edge_end import EdgeEnd
from mediaserver.link.messages import BringElsewhere

SOURCE = "203.0.113.7"
EDGE = """
role: edge
networks: {main: {addresses: [{bind: 192.0.2.5}]}}
link:
  cores:
    one: {id: 3, name: one.example.org, certificate_file: one.pem}
    two: {id: 4, name: two.example.org, certificate_file: two.pem}
"""
BOTH = {"one.example.org", "two.example.org"}


def chosen(edge: EdgeDaemon, *draining: str) -> str | None:
    return edge._choice.choose(SOURCE, "", BOTH, draining)


@pytest.mark.parametrize(("core_id", "name"), [(3, "one.example.org"), (4, "two.example.org")])
def test_who_resumes_is_brought_to_the_core_of_this_id(core_id: int, name: str) -> None:
    edge = EdgeDaemon(load_text(EDGE).config)
    (other,) = BOTH - {name}
    edge.handle_elsewhere(
        cast("EdgeEnd", SimpleNamespace(core_name=other)), BringElsewhere(source=SOURCE, core_id=core_id)
    )
    assert chosen(edge) == name


def test_a_core_of_an_id_that_nobody_has_changes_nothing() -> None:
    edge = EdgeDaemon(load_text(EDGE).config)
    home = chosen(edge)
    edge.handle_elsewhere(cast("EdgeEnd", SimpleNamespace(core_name=home)), BringElsewhere(source=SOURCE, core_id=5))
    assert chosen(edge) == home


def test_who_is_new_is_brought_away_from_the_core_that_says_so() -> None:
    edge = EdgeDaemon(load_text(EDGE).config)
    home = str(chosen(edge))
    assert chosen(edge, home) == home
    edge.handle_elsewhere(cast("EdgeEnd", SimpleNamespace(core_name=home)), BringElsewhere(source=SOURCE, core_id=None))
    assert {chosen(edge, home)} == BOTH - {home}
