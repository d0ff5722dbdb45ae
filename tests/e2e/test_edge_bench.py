"""`make bench-edge` with tiny numbers: every server is loaded, and every kind of figure comes."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace

import pytest

from benchmarks import edge, native
from benchmarks.figures import Report

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]  # the first use compiles the load program

KINDS = {
    *(f"{name}_cpu_us_channel_172b_1000pps_burst" for name in ("turn", "coturn", "turn_floor")),
    "turn_ratio_to_coturn_send_172b_1000pps_burst",
    "turn_ratio_to_limit_channel_172b_1000pps_burst",
    "turn_send_to_channel_send_172b_1000pps_burst",
    "path_ratio_to_limit_path_172b_1000pps_burst",
    "turn_setup_ms_per_allocation",
    "coturn_memory_kib_per_allocation",
    "path_memory_kib_per_path",
    "turn_added_delay_p99_ms_channel_172b_1000pps_burst",
    "path_added_delay_p99_ms_path_172b_1000pps_burst",
    "edge_call_ratio_to_without",
}


async def test_every_figure_comes() -> None:
    report = Report("edge")
    programs = await asyncio.to_thread(native.build)
    shape = replace(edge.QUICK, sizes=(172,), rates=(1_000,), bursts=(8,), clients=10, delay_rate=1_000, delay_s=0.2)
    await edge.measure(report, programs, shape)
    names = {figure.name for figure in report.figures}
    assert names >= KINDS, KINDS - names
    assert all(figure.value >= 0 for figure in report.figures if not re.search("memory", figure.name))
    assert set(report.details["edge_costs"]) == {"mediaserver", "coturn", "turn_floor", "edge", "edge_floor"}
