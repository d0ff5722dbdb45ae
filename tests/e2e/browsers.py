"""One running browser of either make, a daemon, and lines between them: for tests that are the same for both."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tests.e2e.rooms import Page, exchange
from tests.peers.chromium import Chromium, chromium
from tests.peers.daemon import Daemon, daemon
from tests.peers.firefox import Firefox, firefox
from tests.peers.impaired_line import ImpairedLine, Relay, impaired_lines
from tests.peers.namespace import LOOPBACK, namespace

Make = Literal["chromium", "firefox"]
MAKES: tuple[Make, ...] = ("chromium", "firefox")

LAYERS: dict[Make, dict[str, Any]] = {
    "chromium": {"layers": ("l", "m", "h")},
    # Firefox encodes on the processor alone, and its fake camera costs next to nothing: smaller, and painted.
    "firefox": {
        "layers": ("l", "m", "h"),
        "rates": (100_000, 300_000, 900_000),
        "size": (640, 360),
        "painted": True,
    },
}
"""How each make publishes three layers of VP8; what their largest costs is above the lines that tests call slow."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A daemon, and pages of one browser that reach it over lines of their own."""

    server: Daemon
    make: Make
    _relay: Relay
    _browser: Chromium | Firefox

    async def line(self) -> ImpairedLine:
        """Another line to the daemon's media port; it does no harm yet."""
        return await self._relay.line((self.server.host, self.server.ports.media))

    async def open(self, line: ImpairedLine | None = None) -> Page:
        """Another page of the daemon's, its media on a line of its own where one is given."""
        url = f"{self.server.http_url}/agent"
        preload = "" if line is None else line.redirect()
        if isinstance(self._browser, Firefox):
            return await self._browser.new_window(url, preload=preload)
        context = await self._browser.new_context()
        await context.add_init_script(preload)
        return (await self._browser.new_tab(url, context=context)).page

    async def publish(self, **offer: Any) -> Page:
        """A page publishes into the room ``stage``."""
        page = await self.open()
        await exchange(page, self.server, "whip", await self.server.room_token("stage", "publish"), **offer)
        return page

    async def view(self, line: ImpairedLine | None = None) -> Page:
        """A page views the room ``stage``."""
        page = await self.open(line)
        await exchange(page, self.server, "whep", await self.server.room_token("stage", "view"))
        return page


@contextlib.asynccontextmanager
async def stage(make: Make, directory: Path, changes: Mapping[str, Any] | None = None) -> AsyncIterator[Stage]:
    """Start a daemon with ``changes`` to its configuration, the relay, and a browser."""
    async with contextlib.AsyncExitStack() as stack:
        # Firefox gathers no candidates where there is loopback alone.
        network = await stack.enter_async_context(namespace()) if make == "firefox" else LOOPBACK
        server = await stack.enter_async_context(daemon(directory, changes=changes, network=network))
        relay = await stack.enter_async_context(impaired_lines(network))
        running = firefox(directory, network) if make == "firefox" else chromium(directory)
        browser: Chromium | Firefox = await stack.enter_async_context(running)
        yield Stage(server, make, relay, browser)
