"""A third party comes into a call: each of three hears the other two and not itself, and two go on when one has left."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.house import contact_ended, metric_becomes, phone, sign_in_agent
from tests.peers.baresip import G722, PCMU, Baresip, baresip
from tests.peers.chromium import Tab, chromium
from tests.peers.daemon import ADMIN_TOKEN, Daemon, daemon
from tests.peers.tone import write_tone

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

PAGE_HZ, DESK_HZ, EXPERT_HZ = 1000, 440, 700
ALL = (PAGE_HZ, DESK_HZ, EXPERT_HZ)
LEAST, MOST_OF_OTHERS = 0.004, 0.001
MIXED_LEGS = 'mediaserver_engine_mixed_legs{shard="audio0"}'

# For each frequency its share of the power of what the page hears.
SHARES = """
async all => {
  const receivers = window.__connections.flatMap(connection => connection.getReceivers());
  const track = receivers.map(receiver => receiver.track).find(track => track.kind === 'audio');
  const context = new AudioContext();
  await context.resume();
  const analyser = new AnalyserNode(context, {fftSize: 16384, smoothingTimeConstant: 0});
  context.createMediaStreamSource(new MediaStream([track])).connect(analyser);
  await new Promise(done => setTimeout(done, 600));
  const decibels = new Float32Array(analyser.frequencyBinCount);
  analyser.getFloatFrequencyData(decibels);
  const power = Array.from(decibels, value => 10 ** (value / 10));
  const sum = power.reduce((sum, value) => sum + value, 0);
  const step = context.sampleRate / analyser.fftSize;
  await context.close();
  return all.map(hz => {
    const bin = Math.round(hz / step);
    return power.slice(bin - 5, bin + 6).reduce((sum, value) => sum + value, 0) / sum;
  });
}
"""


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


async def hears(shares: Callable[[], Awaitable[dict[int, float]]], *wanted: int, within_s: float = 60.0) -> None:
    """These tones and none of the others, sooner or later.

    A browser takes a tone that goes on for noise and makes it up to 24 dB quieter, so one of several may be a small share;
    what is not mixed is no share at all, whatever the codecs add.
    """
    deadline = asyncio.get_running_loop().time() + within_s
    while True:
        found = await shares()
        least = LEAST if len(wanted) > 1 else 0.5
        if all((share > least) if hz in wanted else (share < MOST_OF_OTHERS) for hz, share in found.items()):
            return
        assert asyncio.get_running_loop().time() < deadline, (wanted, found)
        await asyncio.sleep(0.2)


def of_phone(one: Baresip) -> Callable[[], Awaitable[dict[int, float]]]:
    """Shares over the last second of what a phone has heard."""

    async def shares() -> dict[int, float]:
        heard = one.heard().last(1)
        loud = heard.level > 0.01
        return {hz: heard.share_of_tone(hz) if loud else 0.0 for hz in ALL}

    return shares


def of_page(tab: Tab) -> Callable[[], Awaitable[dict[int, float]]]:
    async def shares() -> dict[int, float]:
        return dict(zip(ALL, await tab.page.evaluate(SHARES, list(ALL)), strict=True))

    return shares


async def test_a_page_and_two_phones_with_three_codecs_hear_each_other(tmp_path: Path) -> None:
    tone = write_tone(tmp_path / "page.wav", rate=48000, channels=1, seconds=150, hz=PAGE_HZ)
    (tmp_path / "desk").mkdir()
    (tmp_path / "expert").mkdir()
    async with (
        daemon(tmp_path, changes=house(tmp_path, "desk", "expert")) as server,
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
        await hears(of_phone(desk), PAGE_HZ)

        await ask(server, f"/v1/calls/{call['id']}/add", {"to": "expert"})
        await expert.wait_established()
        await asyncio.gather(
            hears(of_page(tab), DESK_HZ, EXPERT_HZ),
            hears(of_phone(desk), PAGE_HZ, EXPERT_HZ),
            hears(of_phone(expert), PAGE_HZ, DESK_HZ),
        )
        await metric_becomes(server, MIXED_LEGS, 3)

        await desk.hangup()
        await asyncio.gather(hears(of_page(tab), EXPERT_HZ), hears(of_phone(expert), PAGE_HZ))
        await expert.hangup()
        await contact_ended(server, by="agent", reason="hangup")
        await metric_becomes(server, MIXED_LEGS, 0)


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
            await hears(of_phone(boss), DESK_HZ, EXPERT_HZ)
            await asyncio.gather(hears(of_phone(customer), EXPERT_HZ), hears(of_phone(agent), DESK_HZ))
            await ask(server, path, {"by": "boss", "mode": "whisper"})
            await hears(of_phone(agent), DESK_HZ, PAGE_HZ)
            await hears(of_phone(customer), EXPERT_HZ)
            await ask(server, path, {"by": "boss", "mode": "barge"})
            await hears(of_phone(customer), EXPERT_HZ, PAGE_HZ)
            await customer.hangup()
            await asyncio.gather(agent.wait_closed(), boss.wait_closed())
