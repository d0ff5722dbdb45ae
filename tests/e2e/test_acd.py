"""The hand-over that every ACD does: answered by sound alone, held, and then given to an agent with a picture."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.house import both_see_and_hear, show_my_camera
from tests.peers.acd import acd
from tests.peers.baresip import PCMU, Phone, baresip
from tests.peers.chromium import Tab, chromium, streams
from tests.peers.daemon import Daemon, daemon
from tests.peers.sipp import callee, caller

FIGURES = logging.getLogger(__name__)

CONNECTED = "mediaserver_engine_transports_connected_total{"
PATHS = """
async () => {
  const found = [];
  for (const connection of window.__connections) {
    const report = await connection.getStats();
    report.forEach(item => {
      if (item.type === 'transport')
        found.push([item.dtlsState, item.iceLocalUsernameFragment]);
    });
  }
  return found;
}
"""
COUNT_OFFERS = """
(() => {
  window.__offers = 0;
  const original = RTCPeerConnection.prototype.setRemoteDescription;
  RTCPeerConnection.prototype.setRemoteDescription = function (description) {
    if (description && description.type === 'offer') window.__offers += 1;
    return original.call(this, description);
  };
})();
"""


def line_to(port: int) -> dict[str, Any]:
    """An entry whose calls go to the ACD."""
    pbx = {"peers": ["127.0.0.1/32"], "target": f"sip:queue@127.0.0.1:{port}", "srtp": "never"}
    pbx["keep_alive"] = {"interval": "0s"}
    return {"trunks": {"acd": pbx}, "entries": {"line": {"to": {"trunk": "acd"}}}, "media": {"shards": 2}}


async def until_both_see(tab: Tab, phone: Any, within_s: float = 20.0) -> None:
    """A quiet machine takes half a second, so it is worth knowing how long (`--log-cli-level=INFO`); a busy one may."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    while loop.time() - begun < within_s:
        media = await tab.media()
        shown = sum(item.frames for item in streams(media, "inbound", "video"))
        text = await phone.command("video_debug")
        if shown and "Video stream" in text and (await phone.video_stats()).frames_shown:
            FIGURES.info("both see each other after %.2f s", loop.time() - begun)
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"no picture at both ends within {within_s} s: {await tab.media()}")


async def associations(server: Daemon) -> float:
    """How many transports have got keys by DTLS. A browser may take another of its own addresses whenever it likes, and
    keeps them."""
    metrics = await server.metrics()
    return sum(value for name, value in metrics.items() if name.startswith(CONNECTED) and '"none"' not in name)


async def connected(tab: Tab, server: Daemon) -> tuple[list[list[Any]], float, int]:
    """The page's transports, associations and the offers that it has taken, once all has been the same for a second."""
    before = None
    async with asyncio.timeout(40):
        while True:
            transports: list[list[Any]] = await tab.page.evaluate(PATHS)
            offers: int = await tab.page.evaluate("window.__offers")
            found = (transports, await associations(server), offers)
            if found == before and transports and all(state == "connected" for state, _ in transports):
                return found
            before = found
            await asyncio.sleep(1)


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_a_page_is_held_three_times_and_handed_to_an_agent_with_a_picture(tmp_path: Path) -> None:
    phone = Phone(user="agent", audio=(PCMU,), video=("H264",))
    async with (
        acd() as controller,
        daemon(tmp_path, changes=line_to(controller.port)) as server,
        chromium(tmp_path) as browser,
        baresip(phone, tmp_path) as agent,
    ):
        context = await browser.browser.new_context(permissions=["microphone", "camera"], locale="en-US")
        await context.add_init_script(COUNT_OFFERS)
        tab = await browser.new_tab(f"{server.http_url}/call/line", context=context)
        await tab.page.get_by_role("button", name="Video call").click()
        await controller.answered()
        before, keys, offers = await connected(tab, server)
        for _ in range(3):
            assert "a=recvonly" in await controller.hold("sendonly")
            assert "a=inactive" in await controller.hold("inactive")
            assert "a=sendrecv" in await controller.hold("sendrecv")
        await controller.hold("inactive")
        assert await tab.page.evaluate("window.__offers") == offers
        await controller.hand_over(agent.uri)
        await show_my_camera(tab)  # the page asks for it when there is somebody to see it
        await until_both_see(tab, agent)
        await both_see_and_hear(tab, agent, seconds=4)
        assert await tab.page.evaluate(PATHS) == before
        assert (len(before), keys, await associations(server)) == (1, 1, 1)
        await tab.page.get_by_role("button", name="Hang up").click()
        await agent.wait_closed()


@pytest.mark.smoke
async def test_sipp_holds_a_phone_and_is_offered_a_picture_for_the_agent(tmp_path: Path) -> None:
    """The caller is another SIPp, whose picture the ACD declined."""
    keys = {"video_port": "40002", "video_pt": "97"}
    pbx = {"peers": ["127.0.0.1/32"], "srtp": "never", "keep_alive": {"interval": "0s"}}
    async with callee(tmp_path, scenario="uas_late_reoffer", keys=keys, pause_ms=300) as controller:
        changes = {
            "trunks": {"acd": pbx | {"target": f"sip:127.0.0.1:{controller.port}"}},
            "routes": [{"match": {"trunk": "acd"}, "to": {"trunk": "acd"}}],
        }
        async with (
            daemon(tmp_path, changes=changes) as server,
            caller(tmp_path, (server.host, server.ports.sip), scenario="uac_with_picture", calls=1) as phone,
        ):
            taken = await phone.finish()
            handed = await controller.stop()
    assert (handed.successful, handed.failed) == (1, 0), handed.errors
    assert (taken.successful, taken.failed) == (1, 0), taken.errors
