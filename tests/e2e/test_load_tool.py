"""The load tester against a daemon: what it says is what happened."""

from __future__ import annotations

import asyncio
import csv
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks import load
from tests.e2e.house import ENTRY, phone
from tests.e2e.test_sip_to_sip import trunk
from tests.peers.baresip import OPUS, baresip
from tests.peers.daemon import ADMIN_TOKEN, Daemon, daemon
from tests.peers.sipp import callee

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]  # the first use compiles the load program


async def _load(server: Daemon, results: Path, *arguments: str) -> int:
    """Its exit code; it is told the administration's token."""
    common = ["--target", server.http_url, "--results", str(results), "--out", "json,csv,png"]
    return await asyncio.to_thread(load.main, [*common, *arguments])


def _json(results: Path) -> dict[str, object]:
    (path,) = results.glob("*.json")
    content: dict[str, object] = json.loads(path.read_text())
    return content


ROOMS: Sequence[str] = ("--rate", "4", "--hold", "4", "--duration", "2", "--video-fps", "10")


async def test_a_broadcast_is_driven_and_its_service_levels_are_judged(tmp_path: Path) -> None:
    results = tmp_path / "results"
    async with daemon(tmp_path) as server:
        admin = ("--admin-url", server.admin_url, "--token", ADMIN_TOKEN)
        code = await _load(server, results, "--scenario", "broadcast", *ROOMS, *admin, "--max-failed", "0")
        content = _json(results)
        assert code == 0, content
        assert (content["joined"], content["failed"], content["wrong"]) == (8, 0, 0)
        assert isinstance(content["loss"], float)
        assert content["loss"] < 0.1  # what a busy machine does not take out of its sockets in time
        # 100 packets of each second for four seconds to each of eight, and more of those who came late.
        assert isinstance(content["packets"], int)
        assert content["packets"] > 8 * 2 * 60
        (png,) = results.glob("*.png")
        assert png.read_bytes().startswith(b"\x89PNG")
        (table,) = results.glob("*.csv")
        with table.open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert 4 <= max(int(row["present"]) for row in rows) <= 8
        assert max(float(row["latency_p99_ms"]) for row in rows) > 0
        code = await _load(
            server, tmp_path / "other", "--scenario", "broadcast", *ROOMS, *admin, "--max-join-ms", "0.1"
        )
        assert code == 1


async def test_a_simulcast_broadcast_is_driven_and_a_tight_level_is_missed_by_name(tmp_path: Path) -> None:
    results = tmp_path / "results"
    async with daemon(tmp_path) as server:
        admin = ("--admin-url", server.admin_url, "--token", ADMIN_TOKEN)
        arguments = ("--scenario", "broadcast", "--simulcast", "--ramp", "1", *ROOMS, *admin)
        code = await _load(server, results, *arguments, "--max-join-ms", "0.1", "--max-failed", "0")
        content = _json(results)
    assert code == 1, content
    missed = content["missed"]
    assert isinstance(missed, list)
    assert [text.split()[0] for text in missed] == ["join"]
    # Half as many come while the rate rises. Whoever views gets one layer: the largest has 40 packets a second.
    assert (content["joined"], content["failed"], content["wrong"]) == (6, 0, 0)
    assert isinstance(content["packets"], int)
    assert content["packets"] > 6 * 2 * 60


async def test_meetings_are_driven(tmp_path: Path) -> None:
    results = tmp_path / "results"
    async with daemon(tmp_path, changes={"limits": {"contacts_per_source": 100}}) as server:
        admin = ("--admin-url", server.admin_url, "--token", ADMIN_TOKEN)
        code = await _load(server, results, "--scenario", "meeting", "--size", "3", *ROOMS, *admin, "--max-failed", "0")
        content = _json(results)
        assert code == 0, content
        assert (content["joined"], content["wrong"]) == (8, 0)


async def test_calls_are_driven_and_refusals_are_counted_by_name(tmp_path: Path) -> None:
    results = tmp_path / "results"
    async with daemon(tmp_path) as server:
        await server.process.wait_for_log("announcement_loaded", 60)
        code = await _load(server, results, "--scenario", "call", "--entry", "nobody", *ROOMS, "--max-failed", "0")
        content = _json(results)
        assert (code, content["joined"], content["failed"]) == (1, 0, 8), content
        failures = content["failures"]
        assert isinstance(failures, dict)
        assert all(name.startswith("refused_") for name in failures), failures


async def test_a_call_hears_the_announcement_and_then_the_phone(tmp_path: Path) -> None:
    results = tmp_path / "results"
    async with (
        daemon(tmp_path, changes=ENTRY) as server,
        baresip(phone(server, "udp", "", audio=(OPUS,), video=("VP8",), answer_after_s=1), tmp_path),
    ):
        await server.process.wait_for_log("announcement_loaded", 60)
        arguments = ("--scenario", "call", "--rate", "0.5", "--hold", "4", "--duration", "1")
        code = await _load(server, results, *arguments, "--max-failed", "0", "--max-loss", "0.2")
        content = _json(results)
    assert code == 0, content
    assert (content["joined"], content["failed"], content["wrong"]) == (1, 0, 0)
    assert isinstance(content["packets"], int)
    assert content["packets"] > 100


async def test_sip_calls_are_driven_with_a_ramp(tmp_path: Path) -> None:
    results = tmp_path / "results"
    async with (
        callee(tmp_path, scenario="uas") as service,
        daemon(tmp_path, changes=trunk(service.port, "udp")) as server,
    ):
        target = f"sip:service@{server.sip_server()}"
        arguments = ["--target", target, "--results", str(results), "--out", "json,csv,png", "--scenario", "sip"]
        arguments += ["--rate", "10", "--ramp", "1", "--hold", "1", "--duration", "2"]
        code = await asyncio.to_thread(load.main, [*arguments, "--max-failed", "0", "--max-join-ms", "20000"])
        content = _json(results)
    assert code == 0, content
    assert (content["joined"], content["failed"]) == (15, 0)
    (png,) = results.glob("*.png")
    assert png.read_bytes().startswith(b"\x89PNG")
