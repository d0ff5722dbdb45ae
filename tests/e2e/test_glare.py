"""Two re-INVITEs meet (RFC 3261 §14.1): SIPp sends its own before it answers ours, and both are told 491."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_call_control import ask
from tests.peers.daemon import ADMIN_TOKEN, Daemon, daemon
from tests.peers.sipp import Sipp, callee, caller

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]


async def call_up(server: Daemon) -> Any:
    async with asyncio.timeout(20):
        while True:
            _, found = await ask(server, "GET", "/v1/calls", token=ADMIN_TOKEN)
            if found["items"] and found["items"][0]["state"] == "up":
                return found["items"][0]
            await asyncio.sleep(0.05)


def house(phone: Sipp) -> dict[str, Any]:
    return {
        "trunks": {
            "pbx": {
                "peers": ["127.0.0.1/32"],
                "target": f"sip:127.0.0.1:{phone.port}",
                "srtp": "never",
                "keep_alive": {"interval": "0s"},
                "audio_codecs": ["PCMU"],
                "video_codecs": [],
            }
        },
        "routes": [{"match": {"trunk": "pbx"}, "to": {"trunk": "pbx"}}],
    }


async def hold(server: Daemon, leg: int) -> None:
    call = await call_up(server)
    asked = {"leg": call["legs"][leg]["id"]}
    assert (await ask(server, "POST", f"/v1/calls/{call['id']}/hold", asked, token=ADMIN_TOKEN))[0] == 200


async def test_a_reinvite_that_met_one_of_the_peer_comes_again_when_the_owner_of_the_call_may(tmp_path: Path) -> None:
    async with (
        callee(tmp_path, scenario="uas_glare") as phone,
        daemon(tmp_path, changes=house(phone)) as server,
        caller(tmp_path, (server.host, server.ports.sip), scenario="uac", hold_ms=6000) as visitor,
    ):
        await hold(server, 1)
        called, answered = await visitor.finish(), await phone.stop()
    assert (called.successful, called.failed) == (1, 0), called.errors
    assert (answered.successful, answered.failed) == (1, 0), answered.errors
    assert 2000 <= answered.response_ms <= 4500  # the wait of whoever owns the Call-ID is 2.1 to 4 s


async def test_a_reinvite_comes_again_sooner_when_the_peer_owns_the_call(tmp_path: Path) -> None:
    async with (
        callee(tmp_path) as phone,
        daemon(tmp_path, changes=house(phone)) as server,
        caller(tmp_path, (server.host, server.ports.sip), scenario="uac_glare") as visitor,
    ):
        await hold(server, 0)
        called, answered = await visitor.finish(), await phone.stop()
    assert (called.successful, called.failed) == (1, 0), called.errors
    assert (answered.successful, answered.failed) == (1, 0), answered.errors
    assert called.response_ms <= 2500  # the wait of whoever does not own the Call-ID is 0 to 2 s
