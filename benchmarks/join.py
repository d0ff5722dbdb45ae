"""Click to picture: from the click on **Video call** to the first decoded frame of the other side, in Chromium.

The agent's phone (baresip) rings and does not answer, so the picture is the announcement that the engine plays.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.figures import Report, median
from tests.peers.baresip import Phone, baresip
from tests.peers.chromium import chromium, describe
from tests.peers.daemon import AGENT_PASSWORD, daemon

BOUND_MS = 1500

WATCH = """
(() => {
  window.__clicked = null;
  window.__joinMs = null;
  addEventListener('click', () => { if (window.__clicked === null) window.__clicked = performance.now(); }, true);
  const watched = new WeakSet();
  setInterval(() => {
    const videos = [...document.querySelectorAll('*')].flatMap(
      node => [node, ...(node.shadowRoot ? node.shadowRoot.querySelectorAll('video') : [])]
    ).filter(node => node instanceof HTMLVideoElement);
    for (const video of videos) {
      if (watched.has(video) || video.muted) continue;
      watched.add(video);
      video.requestVideoFrameCallback(now => { window.__joinMs ??= now - window.__clicked; });
    }
  }, 5);
})();
"""
"""Own pictures are shown in muted elements and do not count; the page may keep its elements in a shadow root."""


async def measure(report: Report, joins: int = 10) -> None:
    """Add ``join_ms``, the median of so many joins, each in a fresh browser context."""
    samples = []
    with tempfile.TemporaryDirectory(prefix="join-") as name:
        directory = Path(name)
        async with daemon(directory) as server:
            phone = Phone(
                "agent",
                domain=server.sip_server(),
                password=AGENT_PASSWORD,
                register=True,
                video=["H264"],
                answer_after_s=None,
            )
            async with baresip(phone, directory) as agent, chromium(directory) as browser:
                await agent.wait_registered()
                await server.process.wait_for_log("announcement_loaded", 15)
                for _ in range(joins):
                    tab = await browser.new_tab()
                    await tab.page.add_init_script(WATCH)
                    await tab.page.goto(f"{server.http_url}/call/demo")
                    await tab.page.get_by_role("button", name="Video call").click()
                    try:
                        await tab.page.wait_for_function("() => window.__joinMs !== null", timeout=15_000)
                    except Exception as error:
                        raise RuntimeError(f"no picture: {describe(tab)}") from error
                    samples.append(float(await tab.page.evaluate("window.__joinMs")))
                    await tab.page.get_by_role("button", name="Hang up").click()
                    await tab.page.context.close()
    report.add(median("join_ms", samples, "ms", bound=BOUND_MS, note="click to first decoded frame, Chromium"))
