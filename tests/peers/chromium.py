"""Debian's Chromium driven by Playwright, with fake camera and microphone, and what WebRTC in its pages reports."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Error, Page, async_playwright, expect

from tests.peers.namespace import LOOPBACK, Network
from tests.peers.webrtc_stats import COLLECT, WATCH_CONNECTIONS, Media, parse

EXECUTABLE = "/usr/bin/chromium"

# How long `expect` waits for what a page is to show; five seconds, which are its own idea, are few on a busy machine.
expect.set_options(timeout=25_000)

FLAGS = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-gpu",
    "--mute-audio",
    "--autoplay-policy=no-user-gesture-required",
    "--allow-loopback-in-peer-connection",
    "--disable-renderer-backgrounding",
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
)


WATCH_STATUS = """
(() => {
  const told = window.told = [];
  new MutationObserver(() => {
    for (const { textContent } of document.querySelectorAll("[role=status]"))
      if (textContent && !told.includes(textContent)) told.push(textContent);
  }).observe(document, { subtree: true, childList: true, characterData: true });
})();
"""
"""Runs before a page's own scripts and remembers what it tells, which may be gone before a test looks."""


@dataclass(slots=True)
class Tab:
    """A page with everything it complained about."""

    page: Page
    console: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    """Uncaught exceptions and console messages of level error."""

    async def told(self, text: str) -> None:
        """Wait until the page has told this in one of its status lines, for however short a time."""
        await self.page.wait_for_function("text => told.some(line => line.includes(text))", arg=text)

    async def media(self) -> list[Media]:
        """Figures of every RTP stream of every RTCPeerConnection the page has made."""
        return parse(await self.page.evaluate(COLLECT))

    async def media_over(self, seconds: float) -> list[Media]:
        """The same with rates over the next ``seconds``: frames per second, packets, audio energy gained."""
        before = await self.media()
        await asyncio.sleep(seconds)
        after = await self.media()
        known = {(item.connection, item.id): item for item in before}
        return [item.since(known.get((item.connection, item.id))) for item in after]


class Chromium:
    """A running browser; each context has cookies and permissions of its own."""

    def __init__(self, browser: Browser, permissions: Sequence[str]) -> None:
        self.browser = browser
        self._permissions = list(permissions)
        self.tabs: list[Tab] = []

    async def new_context(self) -> BrowserContext:
        """Cookies and permissions of its own; certificates are not checked."""
        return await self.browser.new_context(ignore_https_errors=True, permissions=self._permissions, locale="en-US")

    async def new_tab(self, url: str | None = None, *, context: BrowserContext | None = None) -> Tab:
        """Open a page in a fresh context, or in ``context``."""
        context = context or await self.new_context()
        await context.add_init_script(WATCH_CONNECTIONS)
        await context.add_init_script(WATCH_STATUS)
        page = await context.new_page()
        tab = Tab(page)
        page.on("console", lambda message: _note(tab, message))
        page.on("pageerror", lambda error: tab.errors.append(str(error)))
        self.tabs.append(tab)
        if url is not None:
            await page.goto(url)
        return tab

    async def close_tabs(self) -> None:
        """Close every page with its context: what the next test opens knows nothing of them."""
        for context in self.browser.contexts:
            await context.close()
        self.tabs.clear()


def _note(tab: Tab, message: ConsoleMessage) -> None:
    line = f"{message.type}: {message.text}"
    tab.console.append(line)
    if message.type == "error":
        tab.errors.append(line)


@contextlib.asynccontextmanager
async def chromium(
    directory: Path,
    *,
    fps: int = 30,
    fake_permission: bool = True,
    hide_addresses: bool = False,
    network: Network = LOOPBACK,
    flags: Sequence[str] = (),
) -> AsyncIterator[Chromium]:
    """Launch the browser.

    ``fake_permission=False`` is a viewer who was never asked for a camera: its host addresses are hidden behind mDNS
    names (with ``hide_addresses=True``), and it works only where the server answers checks from unknown sources.
    """
    arguments = [*FLAGS, f"--use-fake-device-for-media-stream=fps={fps}", *flags]
    if fake_permission:
        arguments.append("--use-fake-ui-for-media-stream")
    if not hide_addresses:
        arguments.append("--disable-features=WebRtcHideLocalIpsWithMdns")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=str(_executable(directory, network)),
            headless=False,  # --headless=new instead of the old shell
            args=["--headless=new", *arguments],
            chromium_sandbox=False,
            timeout=90_000,
        )
        running = Chromium(browser, ["microphone", "camera"] if fake_permission else [])
        try:
            yield running
        finally:
            with contextlib.suppress(Error):
                await browser.close()


def _executable(directory: Path, network: Network) -> Path:
    """Chromium itself, or a script that enters the namespace first (Playwright speaks to it through pipes)."""
    if not network.exec_prefix:
        return Path(EXECUTABLE)
    script = directory / f"chromium-in-{network.exec_prefix[-1]}"
    script.write_text(f'#!/bin/sh\nexec {" ".join(network.exec_prefix)} {EXECUTABLE} "$@"\n')
    script.chmod(0o700)
    return script


def streams(media: list[Media], direction: str, kind: str) -> list[Media]:
    """Those of one direction (``inbound`` or ``outbound``) and kind (``audio`` or ``video``)."""
    return [item for item in media if (item.direction, item.kind) == (direction, kind)]


def describe(tab: Tab) -> dict[str, Any]:
    """For the message of a failed assertion."""
    return {"url": tab.page.url, "console": tab.console[-20:], "errors": tab.errors}
