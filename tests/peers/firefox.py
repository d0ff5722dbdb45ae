"""Firefox ESR, headless, driven over WebDriver BiDi: no geckodriver and no Marionette client is needed.

Preload scripts and console capture come with the protocol. Firefox gathers no candidate on loopback only, so run it in a
namespace (see namespace.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.peers.bidi import Bidi, bidi
from tests.peers.namespace import Network
from tests.peers.process import PeerError, PeerProcess
from tests.peers.webrtc_stats import COLLECT, WATCH_CONNECTIONS, Media, parse

PREFERENCES: dict[str, bool | int | str] = {
    "media.navigator.streams.fake": True,
    "media.navigator.permission.disabled": True,
    "media.peerconnection.ice.loopback": True,
    "media.peerconnection.ice.obfuscate_host_addresses": False,
    "media.autoplay.default": 0,
    "media.autoplay.blocking_policy": 0,
    "media.devices.insecure.enabled": True,
    "media.getusermedia.insecure.enabled": True,
    "media.gmp-manager.updateEnabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "toolkit.telemetry.enabled": False,
    "app.update.enabled": False,
    "app.normandy.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.homepage_override.mstone": "ignore",
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "extensions.update.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "",
    "remote.prefs.recommended": True,
}


class ScriptError(Exception):
    """A script in the page threw."""


@dataclass(slots=True)
class Firefox:
    """One window of a running browser. Windows are all in sight: none is throttled as a tab in the background is."""

    process: PeerProcess
    console: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    _bidi: Bidi | None = None
    _context: str = ""

    async def command(self, method: str, timeout_s: float = 60.0, **parameters: Any) -> dict[str, Any]:
        """One BiDi command; raises :class:`PeerError` with the browser's own words."""
        if self._bidi is None:
            raise PeerError("firefox is not connected")
        return await self._bidi.command(method, timeout_s, **parameters)

    async def new_window(self, url: str | None = None, *, preload: str = "") -> Firefox:
        """Another window of the same browser; ``preload`` is a script that runs before those of its pages."""
        opened = await self.command("browsingContext.create", type="window")
        window = Firefox(self.process)
        window._attach(self._bidi, opened["context"])
        if preload:
            await window._preload(preload)
        if url is not None:
            await window.goto(url)
        return window

    async def close(self) -> None:
        """Close this window and what runs in it."""
        await self.command("browsingContext.close", context=self._context)

    async def goto(self, url: str) -> None:
        await self.command("browsingContext.navigate", context=self._context, url=url, wait="complete")

    async def evaluate(self, function: str, *arguments: Any, timeout_s: float = 60.0) -> Any:
        """Call a JavaScript function with JSON arguments, await it, and return what it gives, by way of JSON."""
        wrapped = f"""async (text) => {{
            try {{ return JSON.stringify([await ({function})(...JSON.parse(text)) ?? null]); }}
            catch (error) {{ return JSON.stringify(String(error)); }}
        }}"""
        result = await self.command(
            "script.callFunction",
            timeout_s,
            functionDeclaration=wrapped,
            arguments=[{"type": "string", "value": json.dumps(arguments)}],
            target={"context": self._context},
            awaitPromise=True,
            userActivation=True,
        )
        if result["type"] == "exception":
            raise ScriptError(result["exceptionDetails"]["text"])
        value = json.loads(result["result"]["value"])
        if isinstance(value, str):  # Firefox cannot report an asynchronous exception itself
            raise ScriptError(value)
        return value[0]

    async def click(self, role: str, name: str, timeout_s: float = 40.0) -> None:
        """Click the element with this role and accessible name, as a pointer would, once it is there."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        while True:
            found = await self.command(
                "browsingContext.locateNodes",
                context=self._context,
                locator={"type": "accessibility", "value": {"role": role, "name": name}},
            )
            if found["nodes"]:
                break
            if asyncio.get_running_loop().time() > deadline:
                raise PeerError(f"no {role} {name!r} in {timeout_s} s; errors: {self.errors[-5:]}")
            await asyncio.sleep(0.05)
        element = {"type": "element", "element": {"sharedId": found["nodes"][0]["sharedId"]}}
        await self.command(
            "input.performActions",
            context=self._context,
            actions=[
                {
                    "type": "pointer",
                    "id": "mouse",
                    "actions": [
                        {"type": "pointerMove", "x": 0, "y": 0, "origin": element},
                        {"type": "pointerDown", "button": 0},
                        {"type": "pointerUp", "button": 0},
                    ],
                }
            ],
        )

    async def wait_for(self, expression: str, timeout_s: float = 40.0) -> None:
        """Wait until a JavaScript expression is true."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        while not await self.evaluate(f"() => Boolean({expression})"):
            if asyncio.get_running_loop().time() > deadline:
                raise PeerError(f"{expression!r} not true in {timeout_s} s; errors: {self.errors[-5:]}")
            await asyncio.sleep(0.05)

    async def media(self) -> list[Media]:
        """Figures of every RTP stream of every RTCPeerConnection the page has made."""
        return parse(await self.evaluate(COLLECT))

    async def media_over(self, seconds: float) -> list[Media]:
        """The same with rates over the next ``seconds``."""
        before = {(item.connection, item.id): item for item in await self.media()}
        await asyncio.sleep(seconds)
        return [item.since(before.get((item.connection, item.id))) for item in await self.media()]

    def _note(self, entry: dict[str, Any]) -> None:
        line = f"{entry['level']}: {entry['text']}"
        self.console.append(line)
        if entry["level"] == "error":
            self.errors.append(line)

    async def connect(self, connection: Bidi) -> None:
        """Take over the window that the browser began with."""
        watch = f"() => {{ {WATCH_CONNECTIONS} }}"
        await connection.command("script.addPreloadScript", functionDeclaration=watch)
        tree = await connection.command("browsingContext.getTree")
        self._attach(connection, tree["contexts"][0]["context"])

    def _attach(self, connection: Bidi | None, context: str) -> None:
        self._bidi, self._context = connection, context
        if connection is not None:
            connection.on_log(context, self._note)

    async def _preload(self, script: str) -> None:
        await self.command(
            "script.addPreloadScript", functionDeclaration=f"() => {{ {script} }}", contexts=[self._context]
        )


def _write_profile(home: Path) -> Path:
    profile = home / "profile"
    profile.mkdir()
    lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in PREFERENCES.items()]
    (profile / "user.js").write_text("\n".join(lines) + "\n")
    return profile


@contextlib.asynccontextmanager
async def firefox(directory: Path, network: Network) -> AsyncIterator[Firefox]:
    """Launch the browser inside ``network`` and end it with every process it made."""
    home = directory / "firefox"
    home.mkdir()
    port = network.free_port()
    process = PeerProcess(
        "firefox",
        [
            *("firefox-esr", "--headless", "--no-remote", "--profile", str(_write_profile(home))),
            *("--remote-debugging-port", str(port), "about:blank"),
        ],
        directory=home,
        environment={"HOME": str(home)},
        prefix=network.exec_prefix,
    )
    running = Firefox(process)
    try:
        await process.start()
        await process.wait_for_log(r"WebDriver BiDi listening on ws://", 90)
        async with bidi(network, port) as connection:
            await running.connect(connection)
            yield running
    finally:
        await process.stop()
