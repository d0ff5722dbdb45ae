"""Registrations of real phones: sipsak with right and wrong passwords, baresip behind an edge proxy that adds Path."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.house import contact_ended, phone
from tests.peers import kamailio_edge, sipp
from tests.peers.baresip import baresip
from tests.peers.daemon import ADMIN_TOKEN, AGENT_PASSWORD, Daemon, daemon

pytestmark = [pytest.mark.smoke, pytest.mark.timeout(240)]


async def registrations(server: Daemon) -> list[dict[str, Any]]:
    _, text = await server.request("GET", f"{server.admin_url}/v1/registrations", token=ADMIN_TOKEN)
    items: list[dict[str, Any]] = json.loads(text)["items"]
    return items


async def sipsak(
    server: Daemon, *arguments: str, user: str = "agent", password: str = AGENT_PASSWORD, within_s: float = 40.0
) -> int:
    """Its exit code: 0 for a 200. It goes by a proxy, because it cuts the last digit of a port in its Request-URI."""
    process = await asyncio.create_subprocess_exec(
        "sipsak",
        *("-s", f"sip:{user}@127.0.0.1", "-p", server.sip_server(), "-u", user, "-a", password, *arguments),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(within_s):
            return await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
        return -1


async def test_sipsak_asks_registers_is_shown_and_signs_off(tmp_path: Path) -> None:
    async with daemon(tmp_path) as server:
        assert await sipsak(server) == 0  # OPTIONS
        assert await sipsak(server, "-U", "-C", "sip:agent@127.0.0.1:9", "-x", "120") == 0
        (item,) = await registrations(server)
        assert (item["contact"], item["transport"]) == ("sip:agent@127.0.0.1:9", "udp")
        assert 60 <= item["expires_in_s"] <= 120
        assert await sipsak(server, "-U", "-C", "star", "-x", "0") == 0
        assert await registrations(server) == []


async def test_guessing_is_banned_and_who_exists_is_not_told(tmp_path: Path) -> None:
    changes = {"limits": {"sign_in_failures_per_source": "10/min"}}
    async with daemon(tmp_path, changes=changes) as server:
        wrong = {
            user: await sipsak(server, "-U", "-C", "sip:a@127.0.0.1:9", user=user, password="wrong")
            for user in ("agent", "ghost")
        }
        assert wrong["agent"] == wrong["ghost"] != 0
        for _ in range(40):
            # Who is banned gets no answer, for which it would wait long.
            await sipsak(server, "-U", "-C", "sip:a@127.0.0.1:9", password="wrong", within_s=4.0)
            metrics = await server.metrics()
            if metrics.get("mediaserver_sip_bans_total"):
                break
        assert metrics["mediaserver_sip_bans_total"] == 1
        assert await registrations(server) == []


async def test_a_phone_behind_an_edge_proxy_is_called_by_its_path(tmp_path: Path) -> None:
    port = kamailio_edge.free_port()
    changes = {
        "users": {"agent": {"domain": kamailio_edge.HOST}},
        "trunks": {
            "pbx": {
                "peers": ["127.0.0.1/32"],
                "target": "sip:127.0.0.1:9",
                "srtp": "never",
                "keep_alive": {"interval": "0s"},
            }
        },
        "routes": [{"match": {"trunk": "pbx"}, "to": {"user": "agent"}}],
    }
    async with (
        daemon(tmp_path, changes=changes) as server,
        kamailio_edge.edge(tmp_path, port=port, registrar=server.ports.sip) as proxy,
        baresip(replace(phone(server, "udp", "", video=()), domain=f"{proxy.host}:{port}"), tmp_path) as desk,
    ):
        await desk.wait_registered()
        (item,) = await registrations(server)
        assert item["source"] == f"{proxy.host}:{port}"
        assert item["path"] == [f"<sip:{proxy.host}:{port};lr>"]
        async with sipp.caller(
            tmp_path, (server.host, server.ports.sip), user="agent", hold_ms=500, scenario="uac"
        ) as caller:
            result = await caller.finish()
        await proxy.process.wait_for_log(f"INVITE by the path <sip:{proxy.host}:{port};lr> to sip:agent")
        await contact_ended(server, by="caller", reason="hangup")
    assert (result.successful, result.failed) == (1, 0)
