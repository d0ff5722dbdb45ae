"""Lines that are full, as those outside see it: a phone, a publisher, and a visitor on a page."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from playwright.async_api import expect

from tests.e2e.house import metric_becomes, start_call
from tests.peers.chromium import chromium
from tests.peers.daemon import Daemon, daemon
from tests.peers.sipp import callee, caller

OFFER = Path(__file__).parents[1] / "data" / "sdp" / "chromium_sendonly.sdp"
NO_PICTURES = {"track": {"video": "100 kbit/s"}, "lowest": {"video": "150 kbit/s"}}
"""Every picture would be less than the least that is useful."""


def house(port: int, *, trunk: dict[str, Any] | None = None, bandwidth: dict[str, Any] | None = None) -> dict[str, Any]:
    """A trunk that is SIPp in both roles, a line that sends every number to it, and an entry that does."""
    pbx = {
        "peers": ["127.0.0.1/32"],
        "target": f"sip:127.0.0.1:{port}",
        "srtp": "never",
        "keep_alive": {"interval": "0s"},
        **(trunk or {}),
    }
    return {
        "trunks": {"pbx": pbx},
        "routes": [{"match": {"trunk": "pbx"}, "to": {"trunk": "pbx"}}],
        "entries": {"line": {"to": {"trunk": "pbx"}}},
        "media": {"shards": 1, "bandwidth": bandwidth or {}},
    }


async def decisions(server: Daemon, outcome: str) -> float:
    """How many legs this became of."""
    metrics = await server.metrics()
    name = "mediaserver_admission_decisions_total"
    return sum(
        value
        for key, value in metrics.items()
        if key.startswith(name) and 'kind="leg"' in key and f'outcome="{outcome}"' in key
    )


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_a_call_over_a_full_line_is_refused_with_488_and_warning_370(tmp_path: Path) -> None:
    # RFC 3551 §4.5.14: G.711 takes 64 kbit/s, with headers 80 a leg; both legs of a call pass the trunk.
    trunk = {"bandwidth": {"audio": "200 kbit/s"}}
    async with (
        callee(tmp_path) as service,
        daemon(tmp_path, changes=house(service.port, trunk=trunk)) as server,
        caller(tmp_path, (server.host, server.ports.sip), hold_ms=8000) as first,
    ):
        async with asyncio.timeout(40):
            while await decisions(server, "admitted") < 2:
                await asyncio.sleep(0.05)
        async with caller(tmp_path, (server.host, server.ports.sip), scenario="uac_refused_488") as second:
            refused = await second.finish()
        assert (refused.successful, refused.failed) == (1, 0), refused.errors
        assert await decisions(server, "refused") == 1
        kept = await first.finish()
        assert (kept.successful, kept.failed) == (1, 0), kept.errors
        await metric_becomes(server, "mediaserver_contacts_open", 0)  # both legs have given back what they had
        async with caller(tmp_path, (server.host, server.ports.sip)) as third:
            again = await third.finish()
        assert (again.successful, again.failed) == (1, 0), again.errors


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_a_publisher_over_a_full_line_is_refused_with_503_and_when_to_come_again(tmp_path: Path) -> None:
    full = {"room": {"audio": "10 kbit/s"}}
    async with daemon(tmp_path, changes=house(9, bandwidth=full)) as server, aiohttp.ClientSession() as session:
        bearer = await server.room_token("stage", "publish")
        headers = {"Authorization": f"Bearer {bearer}", "Content-Type": "application/sdp"}
        url = f"{server.http_url}/v1/rooms/stage/whip"
        async with session.post(url, data=OFFER.read_text(), headers=headers) as answer:
            problem = await answer.json(content_type=None)
            assert answer.status == 503, problem
            assert int(answer.headers["Retry-After"]) > 0
        assert "bandwidth" in problem["detail"], problem
        assert await decisions(server, "refused") == 1


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_a_phone_without_room_for_its_picture_is_answered_with_sound_alone(tmp_path: Path) -> None:
    async with (
        callee(tmp_path) as service,
        daemon(tmp_path, changes=house(service.port, bandwidth=NO_PICTURES)) as server,
        caller(tmp_path, (server.host, server.ports.sip), scenario="uac_without_picture", hold_ms=500) as phone,
    ):
        result = await phone.finish()
        assert (result.successful, result.failed) == (1, 0), result.errors
        assert await decisions(server, "audio_only") >= 1


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_a_page_without_room_for_its_picture_says_so(tmp_path: Path) -> None:
    async with (
        callee(tmp_path) as service,
        daemon(tmp_path, changes=house(service.port, bandwidth=NO_PICTURES)) as server,
        chromium(tmp_path) as browser,
    ):
        tab = await start_call(browser, f"{server.http_url}/call/line")
        await expect(tab.page.get_by_role("status")).to_contain_text("There is not enough bandwidth for a picture.")
        await expect(tab.page.get_by_role("button", name="Show my camera")).to_be_hidden()
        assert await decisions(server, "audio_only") == 1
        await tab.page.get_by_role("button", name="Hang up").click()
