"""What `mediaserver drain-edge` prints while an Edge is left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from mediaserver.api import edge_drain
from mediaserver.config.loader import load_text
from mediaserver.config.secrets import SecretStore

CONFIG = load_text(
    "role: core\nlink: {edges: {dmz: {address: '10.2.0.2:7443', name: e.org, certificate_file: e.pem}}}\n"
).config


def state(name: str, sessions: int | None = None, reason: str = "") -> dict[str, Any]:
    return {"name": "dmz", "state": name, "sessions": sessions, "reason": reason, "remaining_s": None}


class FakeDaemon:
    def __init__(self, answers: list[dict[str, Any]]) -> None:
        self.answers: Iterator[dict[str, Any]] = iter(answers)
        self.asked: list[tuple[str, str, Any]] = []

    def ask(self, path: str, *, method: str = "GET", body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        self.asked.append((method, path, body))
        return next(self.answers)


def run(monkeypatch: pytest.MonkeyPatch, deadline_s: float | None, answers: list[dict[str, Any]]) -> tuple[Any, Any]:
    daemon, said = FakeDaemon(answers), []
    monkeypatch.setattr(edge_drain, "RunningDaemon", lambda config, secrets: daemon)
    monkeypatch.setattr(edge_drain, "_LOOK_S", 0.0)
    edge_drain.drain(CONFIG, SecretStore(CONFIG), "dmz", deadline_s, say=said.append)
    return daemon.asked, said


def test_progress_is_told_once_each_until_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [state("draining"), state("draining", 2), state("draining", 2), state("draining", 1), state("left", 0)]
    asked, said = run(monkeypatch, 30.0, answers)
    assert asked[0] == ("POST", "/v1/edges/dmz/drain", {"deadline_s": 30.0})
    assert said == [
        "dmz: looking for sessions",
        "dmz: 2 sessions still over it",
        "dmz: 1 session still over it",
        "dmz: left, nothing goes over it any more",
    ]


def test_what_the_deadline_closed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    _, said = run(monkeypatch, 0.0, [state("left", 3)])
    assert said == ["dmz: left, nothing goes over it any more; 3 sessions had not gone"]


def test_an_edge_that_goes_meanwhile_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    _, said = run(monkeypatch, 9.0, [state("draining", 1), state("away", reason="no sign of life")])
    assert said[-1] == "dmz: away (no sign of life)"


def test_an_edge_is_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, said = run(monkeypatch, None, [state("ready")])
    assert asked == [("DELETE", "/v1/edges/dmz/drain", None)]
    assert said == ["dmz: takes sessions"]
