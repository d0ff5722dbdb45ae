"""A visitor's browser of either make, which calls from the page as a person would."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

from tests.peers.baresip import OPUS
from tests.peers.chromium import Chromium, Tab
from tests.peers.firefox import Firefox

Make = Literal["chromium", "firefox"]
MAKES: tuple[Make, ...] = ("chromium", "firefox")

FOR_BOTH = {"audio": (OPUS,), "video": ("VP8",)}
"""What a phone speaks that is to be understood by both: Debian's Firefox has no H.264 of its own."""

_RELAY_ONLY = """
const wanted = ({ urls, ...server }) => ({ ...server, urls: [urls].flat().filter((url) => /URLS/.test(url)) });
const relayOnly = ({ iceServers = [], ...rest }) => ({
  ...rest, iceTransportPolicy: "relay", iceServers: iceServers.map(wanted),
});
window.RTCPeerConnection = class extends RTCPeerConnection {
  constructor(configuration) { super(relayOnly(configuration)); }
  // The page takes its servers when it is told of them, and names no policy: that would be "all".
  setConfiguration(configuration) { super.setConfiguration(relayOnly(configuration)); }
};
"""


def relay_only(urls: str = ".") -> str:
    """A script by which a page uses nothing but relays of these URLs (a regular expression).

    Chromium asks all relays at once, and when a way by the first that answers works, it gives up those that have not
    answered yet: one lost packet of UDP, and it stays on TCP.
    """
    return _RELAY_ONLY.replace("URLS", urls)


_SELECTED = """
async () => {
  const found = [];
  for (const connection of window.__connections) {
    if (connection.connectionState === "closed") continue;
    const report = await connection.getStats();
    const chosen = [...report.values()].map(({ selectedCandidatePairId }) => selectedCandidatePairId);
    for (const pair of report.values()) {
      // Firefox has no such member of the transport, but one of its own in the pair.
      if (pair.type !== "candidate-pair" || !(pair.selected || chosen.includes(pair.id))) continue;
      const local = report.get(pair.localCandidateId);
      const kind = local.candidateType === "relay" ? "relay" : "direct";
      found.push(`${kind} ${local.relayProtocol ?? local.protocol}`);
    }
  }
  return found;
}
"""


@dataclass(frozen=True, slots=True)
class Visitor:
    """One page of one browser."""

    page: Tab | Firefox

    async def click(self, name: str) -> None:
        """Press the button of this name, once it is there."""
        if isinstance(self.page, Firefox):
            await self.page.click("button", name)
        else:
            await self.page.page.get_by_role("button", name=name).click()

    async def evaluate(self, function: str) -> Any:
        """What a JavaScript function gives on the page."""
        page = self.page if isinstance(self.page, Firefox) else self.page.page
        return await page.evaluate(function)

    async def ways(self) -> set[str]:
        """How the pairs that carry media leave the visitor's machine: `direct udp`, `relay tls`."""
        return set(await self.evaluate(_SELECTED))

    async def goes_by(self, way: str, *, within_s: float = 15.0) -> None:
        """This way alone, once the browser has settled on it: it begins with the first that works."""
        deadline = asyncio.get_running_loop().time() + within_s
        while (found := await self.ways()) != {way}:
            assert asyncio.get_running_loop().time() < deadline, (found, way)
            await asyncio.sleep(0.1)


@asynccontextmanager
async def visitor(browser: Chromium | Firefox, url: str, *, script: str = "") -> AsyncIterator[Visitor]:
    """Open the page at ``url`` after ``script``, in a window that nothing is left of afterwards."""
    if isinstance(browser, Firefox):
        window = await browser.new_window(url, preload=script)
        try:
            yield Visitor(window)
        finally:
            await window.close()
        return
    context = await browser.new_context()
    try:
        await context.add_init_script(script)
        yield Visitor(await browser.new_tab(url, context=context))
    finally:
        await context.close()
