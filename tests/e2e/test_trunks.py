"""Kamailio as a carrier in front of the daemon and behind it: registration, OPTIONS, numbers, header fields, limits."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.peers import kamailio_trunk, sipp
from tests.peers.daemon import ADMIN_TOKEN, ROOT, Daemon, daemon
from tests.peers.kamailio_trunk import Carrier, carrier

pytestmark = [pytest.mark.smoke, pytest.mark.timeout(240)]


def house(directory: Path, carrier_port: int, pbx_port: int, **pbx: Any) -> dict[str, Any]:
    """A carrier that we register with, and a call manager by its address; each way is a route that names its trunk."""
    secret = directory / "carrier.secret"
    secret.touch(mode=0o600)
    secret.write_text(kamailio_trunk.PASSWORD)
    return {
        "trunks": {
            "pbx": {
                "peers": ["127.0.0.1/32"],
                "target": f"sip:127.0.0.1:{pbx_port}",
                "srtp": "never",
                "keep_alive": {"interval": "0s"},
                "numbers": {"region": "DE", "incoming": "e164", "called": "national"},
                **pbx,
            },
            "carrier": {
                "target": f"sip:{kamailio_trunk.HOST}:{carrier_port}",
                "srtp": "never",
                "credentials": {"user": kamailio_trunk.USER, "secret": {"file": str(secret)}},
                "registration": {"expires": "60s"},
                "keep_alive": {"interval": "500ms"},
                "numbers": {"region": "DE", "incoming": "e164", "called": "e164", "own": "+4930123"},
                "headers": {"fixed": {"X-House": "seven"}, "copied": ["X-Ticket"]},
            },
        },
        "routes": [
            {"match": {"trunk": "carrier", "called": "4930*"}, "to": {"trunk": "pbx"}},
            {"match": {"trunk": "carrier", "called": "+4930*"}, "to": {"trunk": "pbx"}},
            {"match": {"trunk": "pbx", "called": "+*"}, "to": {"trunk": "carrier"}},
        ],
    }


async def trunk(server: Daemon, name: str) -> dict[str, Any]:
    status, text = await server.request("GET", f"{server.admin_url}/v1/trunks/{name}", token=ADMIN_TOKEN)
    assert status == 200, text
    found: dict[str, Any] = json.loads(text)
    return found


async def trunk_becomes(server: Daemon, name: str, **wanted: object) -> dict[str, Any]:
    async with asyncio.timeout(60):
        while True:
            found = await trunk(server, name)
            if {key: found[key] for key in wanted} == wanted:
                return found
            await asyncio.sleep(0.05)


async def carrier_says(peer: Carrier, pattern: str) -> None:
    await peer.process.wait_for_log(pattern)


async def test_calls_come_in_through_the_registration_and_go_out_with_credentials(tmp_path: Path) -> None:
    async with (
        sipp.callee(tmp_path, scenario="uas") as world,
        sipp.callee(tmp_path, scenario="uas") as pbx,
        carrier(tmp_path, behind=world.port) as peer,
        daemon(tmp_path, changes=house(tmp_path, peer.port, pbx.port)) as server,
    ):
        found = await trunk_becomes(server, "carrier", state="up", registration="registered")
        assert 0 < found["registered_for_s"] <= 60
        async with sipp.caller(tmp_path, (peer.host, peer.port), user=kamailio_trunk.USER, calls=5, rate=10) as caller:
            inwards = await caller.finish()
        await carrier_says(peer, "to the customer: sip:4930123@127.0.0.1")
        async with sipp.caller(
            tmp_path, (server.host, server.ports.sip), user="030555123", calls=5, rate=10, scenario="uac_ticket"
        ) as caller:
            outwards = await caller.finish()
        await carrier_says(peer, r"to the world: \+4930555123 from \S+ ticket T-1 house seven")
        await trunk_becomes(server, "carrier", incoming=0, outgoing=0)
        shown = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "mediaserver", "status", "--config", str(server.config_path)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        metrics = await server.metrics()
    assert (inwards.successful, inwards.failed) == (5, 0)
    assert (outwards.successful, outwards.failed) == (5, 0)
    assert shown.returncode == 0, shown.stderr
    assert f"udp:127.0.0.2:{peer.port}" in shown.stdout
    assert "registered for" in shown.stdout
    assert metrics['mediaserver_trunk_registered{trunk="carrier"}'] == 1
    assert metrics['mediaserver_trunk_targets{state="up",trunk="carrier"}'] == 1


async def test_a_carrier_that_dies_is_seen_and_calls_to_it_are_refused_at_once(tmp_path: Path) -> None:
    async with (
        sipp.callee(tmp_path, scenario="uas") as pbx,
        carrier(tmp_path, behind=9) as peer,
        daemon(tmp_path, changes=house(tmp_path, peer.port, pbx.port)) as server,
    ):
        await trunk_becomes(server, "carrier", state="up")
        await peer.process.stop()
        await trunk_becomes(server, "carrier", state="down")
        async with sipp.caller(
            tmp_path, (server.host, server.ports.sip), user="030555123", scenario="uac_refused_dead", calls=1
        ) as caller:
            refused = await caller.finish()
    assert (refused.successful, refused.failed) == (1, 0)


async def test_calls_beyond_the_bound_of_a_trunk_get_503(tmp_path: Path) -> None:
    async with (
        sipp.callee(tmp_path, scenario="uas") as world,
        carrier(tmp_path, behind=world.port) as peer,
        daemon(tmp_path, changes=house(tmp_path, peer.port, 9, max_calls=1)) as server,
    ):
        await trunk_becomes(server, "carrier", state="up")
        target = server.host, server.ports.sip
        async with sipp.caller(tmp_path, target, user="030555123", hold_ms=6000) as first:
            await trunk_becomes(server, "pbx", incoming=1)
            async with sipp.caller(tmp_path, target, user="030555124", scenario="uac_refused_503") as second:
                refused = await second.finish()
            result = await first.finish()
        metrics = await server.metrics()
    assert (result.successful, refused.successful) == (1, 1)
    assert metrics['mediaserver_trunk_calls_refused_total{limit="trunks.pbx.max_calls"}'] == 1


async def test_premium_numbers_are_not_called(tmp_path: Path) -> None:
    async with (
        carrier(tmp_path, behind=9) as peer,
        daemon(tmp_path, changes=house(tmp_path, peer.port, 9)) as server,
    ):
        await trunk_becomes(server, "carrier", state="up")
        async with sipp.caller(
            tmp_path, (server.host, server.ports.sip), user="09001234567", scenario="uac_refused_403"
        ) as caller:
            refused = await caller.finish()
        metrics = await server.metrics()
    assert refused.successful == 1
    assert metrics['mediaserver_trunk_calls_refused_total{limit="trunks.carrier.numbers.premium_rate"}'] == 1
