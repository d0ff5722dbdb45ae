"""A third party comes into a call: each of three hears the other two and not itself, and two go on when one has left."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.house import contact_ended, metric_becomes, phone, records, sign_in_agent
from tests.e2e.tones import hears, of_page, of_phone
from tests.peers.baresip import G722, PCMU, baresip
from tests.peers.chromium import Tab, chromium
from tests.peers.daemon import ADMIN_TOKEN, Daemon, daemon
from tests.peers.tone import write_tone

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

PAGE_HZ, DESK_HZ, EXPERT_HZ = 1000, 440, 700
ALL = (PAGE_HZ, DESK_HZ, EXPERT_HZ)
# The formats in which sound comes, by section.
HEARD = """
async () => {
  const reports = await Promise.all(window.__connections.map(connection => connection.getStats()));
  const all = new Map(reports.flatMap(report => [...report]));
  const sounds = [...all.values()].filter(one => one.type === 'inbound-rtp' && one.kind === 'audio' && one.packetsReceived);
  return sounds.map(one => all.get(one.codecId).mimeType);
}
"""
MIXED_LEGS = 'mediaserver_engine_mixed_legs{shard="audio0"}'


def house(folder: Path, *users: str) -> dict[str, Any]:
    secret = folder / "desk.secret"
    secret.write_text("correct-horse-battery")
    secret.chmod(0o600)
    return {"users": {user: {"secret": {"file": str(secret)}} for user in users}}


async def ask(server: Daemon, path: str, body: Mapping[str, object] | None = None) -> Any:
    """An action of the API, which must be possible."""
    text = "" if body is None else json.dumps(body)
    status, answer = await server.request("POST", f"{server.admin_url}{path}", body=text, token=ADMIN_TOKEN)
    assert status in (200, 201, 202), answer
    return json.loads(answer)


async def heard_as(tab: Tab, *codecs: str) -> None:
    """Until the page has got packets in each of these formats."""
    async with asyncio.timeout(40):
        while not set(codecs) <= {codec.split("/")[1] for codec in await tab.page.evaluate(HEARD)}:
            await asyncio.sleep(0.05)


async def test_a_page_and_two_phones_with_three_codecs_hear_each_other(tmp_path: Path) -> None:
    tone = write_tone(tmp_path / "page.wav", rate=48000, channels=1, seconds=150, hz=PAGE_HZ)
    (tmp_path / "desk").mkdir()
    (tmp_path / "expert").mkdir()
    async with (
        daemon(tmp_path, changes=house(tmp_path, "desk", "expert") | {"media": {"quality_interval": "1s"}}) as server,
        chromium(tmp_path, flags=[f"--use-file-for-fake-audio-capture={tone}"]) as browser,
        baresip(phone(server, "udp", "", user="desk", audio=(PCMU,), tone_hz=DESK_HZ), tmp_path / "desk") as desk,
        baresip(
            phone(server, "udp", "", user="expert", audio=(G722,), tone_hz=EXPERT_HZ), tmp_path / "expert"
        ) as expert,
    ):
        await asyncio.gather(desk.wait_registered(), expert.wait_registered())
        tab = await sign_in_agent(server, browser)
        call = await ask(server, "/v1/calls", {"from": "agent", "to": "desk"})
        await tab.page.get_by_role("button", name="Answer").click()
        await desk.wait_established()
        await hears(of_phone(desk, ALL), PAGE_HZ)

        await ask(server, f"/v1/calls/{call['id']}/add", {"to": "expert"})
        await expert.wait_established()
        await asyncio.gather(
            hears(of_page(tab, ALL), DESK_HZ, EXPERT_HZ),
            hears(of_phone(desk, ALL), PAGE_HZ, EXPERT_HZ),
            hears(of_phone(expert, ALL), PAGE_HZ, DESK_HZ),
        )
        # The page hears each phone as it comes, in a section of its own; the phones hear a mix.
        await metric_becomes(server, MIXED_LEGS, 2)
        await heard_as(tab, "G722", "PCMU")

        await desk.hangup()
        await asyncio.gather(hears(of_page(tab, ALL), EXPERT_HZ), hears(of_phone(expert, ALL), PAGE_HZ))
        await expert.hangup()
        await contact_ended(server, by="agent", reason="hangup")
        await metric_becomes(server, MIXED_LEGS, 0)
        (record,) = await records(server)
        assert [leg["kind"] for leg in record["legs"] if leg["quality"]] == ["browser", "sip", "sip"]


async def test_a_whisper_is_heard_by_the_agent_and_not_by_the_customer(tmp_path: Path) -> None:
    names = {"desk": DESK_HZ, "expert": EXPERT_HZ, "boss": PAGE_HZ}
    for name in names:
        (tmp_path / name).mkdir()
    async with daemon(tmp_path, changes=house(tmp_path, *names)) as server:

        def made(name: str) -> Any:
            described = phone(server, "udp", "", user=name, audio=(PCMU,), tone_hz=names[name])
            return baresip(described, tmp_path / name)

        async with made("desk") as customer, made("expert") as agent, made("boss") as boss:
            await asyncio.gather(*(each.wait_registered() for each in (customer, agent, boss)))
            call = await ask(server, "/v1/calls", {"from": "desk", "to": "expert"})
            await agent.wait_established()
            path = f"/v1/calls/{call['id']}/supervise"
            await ask(server, path, {"by": "boss", "mode": "listen"})
            await boss.wait_established()
            await hears(of_phone(boss, ALL), DESK_HZ, EXPERT_HZ)
            await asyncio.gather(hears(of_phone(customer, ALL), EXPERT_HZ), hears(of_phone(agent, ALL), DESK_HZ))
            await ask(server, path, {"by": "boss", "mode": "whisper"})
            await hears(of_phone(agent, ALL), DESK_HZ, PAGE_HZ)
            await hears(of_phone(customer, ALL), EXPERT_HZ)
            await ask(server, path, {"by": "boss", "mode": "barge"})
            await hears(of_phone(customer, ALL), EXPERT_HZ, PAGE_HZ)
            await customer.hangup()
            await asyncio.gather(agent.wait_closed(), boss.wait_closed())
