"""A phone whose decoder is small beside a page whose camera is not."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import expect

from tests.e2e.house import contact_ended, metric_becomes, records, show_my_camera, start_call
from tests.peers.chromium import Tab, chromium, streams
from tests.peers.daemon import Daemon, daemon
from tests.peers.picture_receiver import PictureReceiver, picture_receiver
from tests.peers.sipp import callee

# As our offer counts them where a trunk takes PCMU and H.264 alone: 96 is for telephone events.
VIDEO_PT = 97
ASYMMETRIC = "packetization-mode=1;level-asymmetry-allowed=1"
# What a page can do nothing about: a browser without `setParameters` for the size of what it sends.
CANNOT_SCALE = "RTCRtpSender.prototype.setParameters = () => Promise.reject(new Error('not here'));"


def line_to(port: int) -> dict[str, Any]:
    """An entry that calls the phone over a trunk."""
    pbx = {
        "peers": ["127.0.0.1/32"],
        "target": f"sip:127.0.0.1:{port}",
        "srtp": "never",
        "keep_alive": {"interval": "0s"},
        "audio_codecs": ["PCMU"],
        "video_codecs": ["H264"],
    }
    return {
        "trunks": {"pbx": pbx},
        "entries": {"line": {"to": {"trunk": "pbx"}}},
        "media": {"shards": 2},
    }


@contextlib.asynccontextmanager
async def small_phone(directory: Path, level: str) -> AsyncIterator[tuple[Daemon, PictureReceiver]]:
    """A daemon and a phone that answers with H.264 constrained baseline of a level."""
    async with picture_receiver(VIDEO_PT) as screen:
        keys = {
            "video_port": str(screen.port),
            "video_pt": str(VIDEO_PT),
            "video_fmtp": f"profile-level-id=42e0{level};{ASYMMETRIC}",
        }
        async with (
            callee(directory, scenario="uas_video", keys=keys) as phone,
            daemon(directory, changes=line_to(phone.port)) as server,
        ):
            yield server, screen


async def camera_is_720p(tab: Tab) -> None:
    """What the page has, whatever it sends."""
    shown = (
        "() => [...document.querySelectorAll('video')].map(v => v.srcObject?.getVideoTracks()[0]?.getSettings().height)"
    )
    assert 720 in await tab.page.evaluate(shown)


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_a_phone_of_level_1_2_gets_only_pictures_that_fit(tmp_path: Path) -> None:
    async with small_phone(tmp_path, "0c") as (server, screen), chromium(tmp_path) as browser:
        tab = await start_call(browser, f"{server.http_url}/call/line")
        await show_my_camera(tab)
        await screen.wait_frames(100)
        await camera_is_720p(tab)
        sent = [streams(await tab.media_over(3), "outbound", "video")[0].frames_per_s for _ in range(3)]
        await tab.page.get_by_role("button", name="Hang up").click()
        await contact_ended(server, by="caller", reason="hangup")
        record = (await records(server))[0]
    # ITU-T H.264 table A-1: 396 macroblocks a picture, 6000 a second.
    area = {(width, height): -(-width // 16) * -(-height // 16) for width, height in screen.sizes}
    assert max(area.values()) <= 396, screen.sizes
    # A browser that stood still for a moment makes up for it in the next one.
    assert min(sent) * max(area.values()) <= 6000 * 1.05, (sent, screen.sizes)
    assert [leg["picture_withheld"] for leg in record["legs"]] == ["", ""]


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_a_phone_that_nothing_fits_has_a_call_by_sound_with_a_reason(tmp_path: Path) -> None:
    async with small_phone(tmp_path, "0a") as (server, screen), chromium(tmp_path) as browser:
        context = await browser.browser.new_context(permissions=["microphone", "camera"], locale="en-US")
        await context.add_init_script(CANNOT_SCALE)
        tab = await browser.new_tab(f"{server.http_url}/call/line", context=context)
        await tab.page.get_by_role("button", name="Video call").click()
        await show_my_camera(tab)
        await expect(tab.page.get_by_role("status")).to_contain_text("Their phone cannot show your camera's picture.")
        await camera_is_720p(tab)
        await metric_becomes(server, 'mediaserver_pictures_withheld_total{reason="too_large"}', 1)
        await tab.page.get_by_role("button", name="Hang up").click()
        await contact_ended(server, by="caller", reason="hangup")
        record = (await records(server))[0]
    assert screen.packets == 0
    assert sorted(leg["picture_withheld"] for leg in record["legs"]) == ["", "too_large"]
