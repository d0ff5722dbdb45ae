"""What callers hear before anybody has answered: SIPp sends early media, a phone and a page listen."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.peers.baresip import Phone, baresip
from tests.peers.chromium import chromium, streams
from tests.peers.daemon import daemon
from tests.peers.sipp import TONE_HZ, callee, caller
from tests.peers.tone import write_mulaw_tone

RINGS_FOR_MS = 30_000


def house(port: int) -> dict[str, Any]:
    """An entry and every number lead to one trunk."""
    return {
        "trunks": {
            "pbx": {
                "peers": ["127.0.0.1/32"],
                "target": f"sip:100@127.0.0.1:{port}",
                "srtp": "never",
                "keep_alive": {"interval": "0s"},
            }
        },
        "entries": {"line": {"to": {"trunk": "pbx"}, "video": "none"}},
        "routes": [{"match": {"trunk": "pbx"}, "to": {"trunk": "pbx"}}, {"to": {"trunk": "pbx"}}],
        "media": {"shards": 2},
    }


@pytest.mark.smoke
async def test_sipp_offers_again_on_both_sides_before_the_answer(tmp_path: Path) -> None:
    write_mulaw_tone(tmp_path / "tone.ulaw", hz=TONE_HZ, seconds=5)
    async with (
        callee(tmp_path, scenario="uas_early_update", pause_ms=500) as operator,
        daemon(tmp_path, changes=house(operator.port)) as server,
        caller(tmp_path, (server.host, server.ports.sip), scenario="uac_early_update", hold_ms=200) as visitor,
    ):
        called, answered = await visitor.finish(), await operator.stop()
    assert (called.successful, called.failed) == (1, 0), called.errors
    assert (answered.successful, answered.failed) == (1, 0), answered.errors


@pytest.mark.smoke
async def test_sipp_calls_without_an_offer_and_answers_ours_in_its_prack(tmp_path: Path) -> None:
    write_mulaw_tone(tmp_path / "tone.ulaw", hz=TONE_HZ, seconds=5)
    async with (
        callee(tmp_path, scenario="uas_early", pause_ms=500) as operator,
        daemon(tmp_path, changes=house(operator.port) | {"media": {"video_codecs": []}}) as server,
        caller(tmp_path, (server.host, server.ports.sip), scenario="uac_late_early", hold_ms=200) as visitor,
    ):
        called, answered = await visitor.finish(), await operator.stop()
    assert (called.successful, called.failed) == (1, 0), called.errors
    assert (answered.successful, answered.failed) == (1, 0), answered.errors


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_a_phone_hears_what_is_sent_before_the_answer(tmp_path: Path) -> None:
    write_mulaw_tone(tmp_path / "tone.ulaw", hz=TONE_HZ, seconds=30)
    async with (
        callee(tmp_path, scenario="uas_early", pause_ms=RINGS_FOR_MS) as operator,
        daemon(tmp_path, changes=house(operator.port)) as server,
        # The phone is at the trunk's address: it need not register.
        baresip(Phone(user="desk", domain=server.sip_server("udp")), tmp_path) as desk,
    ):
        await desk.dial(server.sip_uri("100"))
        await desk.wait_for_type("CALL_PROGRESS")
        async with asyncio.timeout(RINGS_FOR_MS / 1000):
            while (early := desk.heard()).seconds < 2 or early.last(1).share_of_tone(TONE_HZ) < 0.8:
                await asyncio.sleep(0.2)
        assert not [event for event in desk.events if event["type"] == "CALL_ESTABLISHED"]
        await desk.hangup()


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_a_page_hears_what_is_sent_before_the_answer(tmp_path: Path) -> None:
    write_mulaw_tone(tmp_path / "tone.ulaw", hz=TONE_HZ, seconds=30)
    async with (
        callee(tmp_path, scenario="uas_early", pause_ms=RINGS_FOR_MS) as operator,
        daemon(tmp_path, changes=house(operator.port)) as server,
        chromium(tmp_path) as browser,
    ):
        tab = await browser.new_tab(f"{server.http_url}/call/line")
        await tab.page.get_by_role("button", name="Video call").click()
        async with asyncio.timeout(RINGS_FOR_MS / 1000):  # then SIPp answers
            while not any(item.audio_energy > 0 for item in streams(await tab.media(), "inbound", "audio")):
                await asyncio.sleep(0.1)
        await tab.page.get_by_role("button", name="Hang up").click()
