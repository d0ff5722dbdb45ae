"""Parts of `make bench-edge` that need neither servers nor the load program."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.edge import QUICK, Shape
from benchmarks.edge_generator import Case, Generator
from benchmarks.edge_plot import draw
from benchmarks.edge_servers import Server


def test_a_case_names_what_it_is() -> None:
    assert Case("channel", 172, 20_000, 8).name == "channel_172b_20000pps_burst"
    assert Case("path", 1200, 4_000, 1).name == "path_1200b_4000pps_single"
    assert Case("send", 1200, 4_000, 8).shape == "1200 B, 4000 packets/s, bursts of 8"


def test_every_size_rate_and_shape_is_a_case_of_its_own() -> None:
    cases = Shape().cases("channel")
    assert len({case.name for case in cases}) == len(cases) == 2 * 3 * 2
    assert len(QUICK.cases("path")) == 2 * 2


def test_a_turn_servers_load_is_told_the_form_and_others_know_theirs() -> None:
    turn = Server("coturn", 1, ("turn", "127.0.0.1:3478", "user", "00", "realm"), is_turn=True)
    assert turn.load("send") == ("turn", "127.0.0.1:3478", "20", "send", "user", "00", "realm")
    edge = Server("limit", 1, ("edge-floor", "127.0.0.1:1", "127.0.0.1:2", "3", "4", "20"), is_turn=False)
    assert edge.load("path") == edge.arguments


class _Script:
    """The pipes of a load program that says what it was given."""

    def __init__(self, *lines: str) -> None:
        self._lines = list(lines)
        self.heard: list[str] = []
        self.stdin = self.stdout = self

    def write(self, line: bytes) -> None:
        self.heard.append(line.decode().strip())

    async def readline(self) -> bytes:
        return self._lines.pop(0).encode()


RUN = '{"sent": 8, "received": %d, "wrong": %d, "seconds": 1, "latency_ms": [1, 2], "lateness_ms": [0, 0], "echo_ms": null}'


async def test_what_arrived_wrong_or_not_at_all_ends_the_run() -> None:
    case = Case("channel", 172, 4_000, 8)
    script = _Script("begin\n", f"end {RUN % (8, 0)}\n", f"end {RUN % (8, 1)}\n", f"end {RUN % (0, 0)}\n", "")
    load = Generator(script)  # type: ignore[arg-type]
    await load.begin(case, 0.2, 1.0)
    assert script.heard == ["run 172 8 4000 200 1000"]
    assert (await load.end()).latency_ms == (1, 2)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="not right"):
            await load.end()
    with pytest.raises(RuntimeError, match="instead of"):
        await load.end()


def test_the_cost_of_packets_is_drawn(tmp_path: Path) -> None:
    costs = {
        name: {
            Case(form, size, rate, burst).name: [1.0, 2.0]
            for size in (172, 1200)
            for rate in (1, 10)
            for burst in (1, 8)
        }
        for name, form in (("mediaserver", "channel"), ("coturn", "send"), ("edge", "path"), ("edge_floor", "path"))
    }
    draw(costs, tmp_path / "edge.png", "test")
    assert (tmp_path / "edge.png").read_bytes().startswith(b"\x89PNG")
