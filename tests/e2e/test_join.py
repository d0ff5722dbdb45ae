"""INVITE with Join (RFC 3911): SIPp comes into a call as the third one, where it may, and three hear each other."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.house import metric_becomes, phone
from tests.e2e.members import until
from tests.e2e.test_conference_by_phone import calls, is_up, succeeded
from tests.e2e.tones import hears, of_phone
from tests.peers.baresip import baresip
from tests.peers.daemon import ADMIN_TOKEN, AGENT_PASSWORD, Daemon, daemon
from tests.peers.namespace import Network
from tests.peers.sipp import TONE_HZ, callee, caller

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

WORLD = Network("127.0.0.2")
"""Another trunk's address, or that of users who have a password and nothing else."""

DESK_HZ, AGENT_HZ = 440, 1000
ALL = (DESK_HZ, AGENT_HZ, TONE_HZ)
OLD_PROGRAM = {"agent": "sipsak 0.9"}


async def legs(server: Daemon) -> list[str]:
    """Of the one call."""
    return [leg["state"] for call in await calls(server) for leg in call["legs"]]


async def test_a_trunk_joins_its_own_call_and_another_trunk_does_not(tmp_path: Path) -> None:
    common = {"srtp": "never", "keep_alive": {"interval": "0s"}}
    async with callee(tmp_path) as customer:
        house: dict[str, Any] = {
            "trunks": {
                "pbx": common | {"peers": ["127.0.0.1/32"], "target": f"sip:127.0.0.1:{customer.port}"},
                "world": common | {"peers": [f"{WORLD.address}/32"], "target": f"sip:{WORLD.address}"},
            },
            "routes": [{"match": {"called": "8*", "trunk": "pbx"}, "to": {"trunk": "pbx"}}],
        }
        async with (
            daemon(tmp_path, changes=house) as server,
            caller(tmp_path, (server.host, server.ports.sip), user="8001", scenario="uac_named") as first,
        ):
            address = server.host, server.ports.sip
            keys = {"kind": "Join", "option": "join", "name": await first.wait_logged()}
            await until(lambda: is_up(server), lambda: calls(server), 20)
            async with caller(
                tmp_path, address, user="8001", scenario="uac_kept_out", keys=keys, network=WORLD
            ) as attacker:
                succeeded(await attacker.finish(30))
            assert await legs(server) == ["up", "up"]
            async with caller(
                tmp_path, address, user="8001", scenario="uac_comes_in", keys=keys, hold_ms=2000
            ) as third:
                await until(lambda: _are(server, "up", "up", "up"), lambda: calls(server), 10)
                succeeded(await third.finish(30))
            await until(lambda: _are(server, "up", "up", "ended"), lambda: calls(server), 10)
            (talk,) = await calls(server)
            await server.request("POST", f"{server.admin_url}/v1/calls/{talk['id']}/hangup", token=ADMIN_TOKEN)
            succeeded(await first.finish(30), await customer.stop())


async def _are(server: Daemon, *states: str) -> bool:
    return await legs(server) == list(states)


async def test_a_colleague_who_sees_a_call_joins_it_and_others_may_not(tmp_path: Path) -> None:
    secret = tmp_path / "users.secret"
    secret.touch(mode=0o600)
    secret.write_text(AGENT_PASSWORD)
    house = {
        "users": {name: {"secret": {"file": str(secret)}} for name in ("desk", "carol", "mallory")},
        "groups": {"team": {"members": ["agent", "carol"], "join": True}},
    }
    async with (
        daemon(tmp_path, changes=house) as server,
        baresip(phone(server, "udp", "", video=(), tone_hz=AGENT_HZ), tmp_path) as agent,
        baresip(phone(server, "udp", "", user="desk", video=(), tone_hz=DESK_HZ), tmp_path) as desk,
    ):
        address = server.host, server.ports.sip
        await asyncio.gather(agent.wait_registered(), desk.wait_registered())
        await desk.dial(server.sip_uri("agent"))
        assert (await agent.wait_incoming())["peeruri"].startswith("sip:desk@")  # as a phone calls back
        await asyncio.gather(agent.wait_established(), desk.wait_established())
        async with caller(
            tmp_path,
            address,
            user="agent",
            scenario="uac_barges_in",
            keys={"user": "carol"} | OLD_PROGRAM,
            credentials=("carol", AGENT_PASSWORD),
            to_user=True,
            network=WORLD,
        ) as carol:
            call_id, to_tag, from_tag = (await carol.wait_logged()).split(";")
            await asyncio.gather(
                hears(of_phone(agent, ALL), DESK_HZ, TONE_HZ),
                hears(of_phone(desk, ALL), AGENT_HZ, TONE_HZ),
                metric_becomes(server, 'mediaserver_engine_mixed_legs{shard="audio0"}', 3),
            )
            async with caller(
                tmp_path,
                address,
                user="agent",
                scenario="uac_joins_in_vain",
                calls=4,
                concurrent=1,
                fields=[
                    f"{call_id};{to_tag};{from_tag}",
                    f"{call_id};{to_tag};from-tag=guessed",
                    f"{call_id};{from_tag.replace('from', 'to')};{to_tag.replace('to', 'from')}",
                    f"{call_id};{to_tag};early-only",
                ],
                keys={"user": "mallory"} | OLD_PROGRAM,
                credentials=("mallory", AGENT_PASSWORD),
                to_user=True,
                network=WORLD,
            ) as mallory:
                assert (await mallory.finish(30)).failed == 0
                # Of others; of nobody, twice; without a part.
                assert mallory.logged == ["403", "481", "481", "400"]
            assert await legs(server) == ["up", "up", "up"]
            await desk.hangup()
            await until(lambda: _are(server, "ended", "up", "up"), lambda: calls(server), 10)
            await agent.hangup()
            succeeded(await carol.finish(30))
