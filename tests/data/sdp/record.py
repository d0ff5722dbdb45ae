"""Records the offers of the browsers on this machine into this folder: `python tests/data/sdp/record.py [firefox]`.

Chromium is driven by Playwright, Firefox by its own Marionette protocol. Run it as root inside a namespace with a veth
address, so that nothing leaves the machine:
    unshare -n sh -c 'ip link set lo up; ip link add a0 type veth peer name a1; ip addr add 10.77.0.2/24 dev a0;
        ip link set a0 up; ip link set a1 up; ip route add default dev a0; exec python tests/data/sdp/record.py firefox'
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

HERE = Path(__file__).parent
KINDS = ("sendrecv", "sendonly", "simulcast", "recvonly")
CHROMIUM_ARGUMENTS = (
    "--no-sandbox",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--disable-gpu",
    "--mute-audio",
    "--disable-background-networking",
    "--allow-loopback-in-peer-connection",
)
FIREFOX_PREFERENCES = {
    "media.navigator.streams.fake": True,
    "media.navigator.permission.disabled": True,
    "media.peerconnection.ice.loopback": True,
    "media.peerconnection.ice.obfuscate_host_addresses": False,
    "media.devices.insecure.enabled": True,
    "media.getusermedia.insecure.enabled": True,
    "media.gmp-manager.updateEnabled": False,
    "app.update.enabled": False,
}
SCRIPT = (HERE / "record.js").read_text()


def store(browser: str, kind: str, sdp: str) -> None:
    """Keep one offer, with its CRLFs."""
    (HERE / f"{browser}_{kind}.sdp").write_bytes(sdp.encode())


def record_chromium() -> None:
    """All kinds from /usr/bin/chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=CHROMIUM_ARGUMENTS)
        page = browser.new_page()
        page.route("http://localhost/**", lambda route: route.fulfill(body="<title>recorder</title>"))
        page.goto("http://localhost/")
        page.evaluate(SCRIPT + "; window.makeOffer = makeOffer")
        for kind in KINDS:
            store("chromium", kind, page.evaluate("kind => makeOffer(kind)", kind))
        browser.close()


class Marionette:
    """Just enough of Firefox's remote protocol: length-prefixed JSON arrays over TCP."""

    def __init__(self, port: int, deadline_s: float = 30.0) -> None:
        end = time.monotonic() + deadline_s
        while True:
            try:
                self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
                break
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.2)
        self._file = self._socket.makefile("rb")
        self._next_id = 0
        self._read()

    def command(self, name: str, parameters: dict[str, Any]) -> Any:
        """Send one command and return its result."""
        self._next_id += 1
        text = json.dumps([0, self._next_id, name, parameters]).encode()
        self._socket.sendall(b"%d:%s" % (len(text), text))
        _, _, error, result = self._read()
        if error:
            raise RuntimeError(f"{name}: {error}")
        return result

    def _read(self) -> Any:
        digits = b""
        while (byte := self._file.read(1)) != b":":
            digits += byte
        return json.loads(self._file.read(int(digits)))


def record_firefox() -> None:
    """All kinds from firefox-esr; its profile is temporary."""
    with tempfile.TemporaryDirectory() as profile:
        preferences = [f"user_pref({json.dumps(k)}, {json.dumps(v)});" for k, v in FIREFOX_PREFERENCES.items()]
        (Path(profile) / "user.js").write_text("\n".join(preferences))
        command = ["firefox-esr", "--headless", "--marionette", "--profile", profile]
        firefox = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            marionette = Marionette(2828)
            marionette.command("WebDriver:NewSession", {})
            marionette.command("WebDriver:SetTimeouts", {"script": 30000})
            for kind in KINDS:
                source = (
                    f"{SCRIPT}; const done = arguments[1]; makeOffer(arguments[0]).then(done, e => done('E ' + e));"
                )
                body = {"script": source, "args": [kind], "sandbox": None}
                result = marionette.command("WebDriver:ExecuteAsyncScript", body)
                if not result["value"].startswith("v=0"):
                    raise RuntimeError(result["value"])
                store("firefox", kind, result["value"])
        finally:
            firefox.terminate()
            firefox.wait(20)


if __name__ == "__main__":
    if "firefox" in sys.argv[1:]:
        record_firefox()
    else:
        record_chromium()
