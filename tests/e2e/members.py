"""Members of a room: the daemon's own module in a page of Chromium or Firefox.

They have a microphone that talks when told to, a camera of colours, and a screen at which somebody writes.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from playwright.async_api import BrowserContext

from tests.e2e.rooms import PAINTING
from tests.peers.chromium import Chromium, Tab
from tests.peers.daemon import ADMIN_TOKEN, Daemon

JOIN = """async ({token, kinds, width, height, painted}) => {
    // Every description is counted: nobody else's coming and going may cost one.
    globalThis.descriptions = 0;
    for (const name of ["setLocalDescription", "setRemoteDescription"]) {
        const original = RTCPeerConnection.prototype[name];
        RTCPeerConnection.prototype[name] = function (...given) { descriptions++; return original.apply(this, given); };
    }
    const audio = new AudioContext();
    const tone = new OscillatorNode(audio, {frequency: 300});
    const voice = new GainNode(audio, {gain: 0});
    const microphone = new MediaStreamAudioDestinationNode(audio);
    tone.connect(voice).connect(microphone);
    tone.start();
    globalThis.hush = () => { clearInterval(globalThis.words); voice.gain.value = 0; };
    globalThis.talk = () => {
        let beat = 0;
        globalThis.words = setInterval(() => { voice.gain.value = beat++ % 5 < 4 ? 0.3 : 0; }, 100);
    };
    const {Room} = await import("/web/room.js");
    const room = globalThis.room = new Room(location.origin, token);
    globalThis.problems = [];
    room.addEventListener("problem", ({detail}) => problems.push(detail));
    globalThis.over = null;
    room.addEventListener("over", ({detail}) => { globalThis.over = detail; });
    const elements = new Map();
    room.addEventListener("change", () => {
        for (const {mid, track} of room.slots.values()) {
            if (elements.has(mid)) continue;
            const element = document.createElement("video");
            element.autoplay = true;
            element.srcObject = new MediaStream([track]);
            document.body.append(element);
            elements.set(mid, element);
        }
    });
    // A page of text at which somebody writes: five lines a second change.
    const writing = (width, height) => {
        const canvas = Object.assign(document.createElement("canvas"), {width, height});
        const pen = canvas.getContext("2d");
        pen.fillStyle = "white";
        pen.fillRect(0, 0, width, height);
        pen.font = "16px sans-serif";
        let line = 0;
        setInterval(() => {
            const top = 20 * (line++ % Math.floor(height / 20));
            pen.fillStyle = "white";
            pen.fillRect(0, top, width, 20);
            pen.fillStyle = "black";
            pen.fillText(`${line} ${Math.random()} ${Math.random()} ${Math.random()}`, 8, top + 16);
        }, 200);
        const track = canvas.captureStream(5).getVideoTracks()[0];
        track.contentHint = "text";
        return track;
    };
    const joined = new Promise((resolve) => room.addEventListener("connected", resolve, {once: true}));
    if (kinds.includes("audio")) await room.publish("audio", microphone.stream.getAudioTracks()[0]);
    if (kinds.includes("video")) {
        const camera = async () => (await navigator.mediaDevices.getUserMedia({video: {width, height, frameRate: 15}}))
            .getVideoTracks()[0];
        await room.publish("video", painted ? (PAINTING)(width, height) : await camera());
    }
    if (kinds.includes("screen")) await room.publish("screen", writing(960, 540));
    room.open();
    await joined;
    return room.info.participant;
}""".replace("PAINTING", PAINTING)

LOOK = """async () => ({
    descriptions,
    active: room.active,
    people: [...room.people.values()].map(({id, publishes}) => [id, publishes]),
    slots: [...room.slots.values()].map(({mid, kind, participant}) => [mid, kind, participant]),
    allowed: room.allowed,
    over,
    problems,
})"""

RECEIVED = """async () => Object.fromEntries([...(await room.stats()).values()]
    .filter((item) => item.type === "inbound-rtp")
    .map((item) => [item.mid, [item.kind === "video" ? item.framesDecoded : item.packetsReceived,
                              item.totalAudioEnergy ?? 0, item.freezeCount ?? 0]]))"""


class Member:
    """One tab in the room."""

    def __init__(self, tab: Tab, participant: str) -> None:
        self.tab = tab
        self.id = participant

    async def look(self) -> dict[str, Any]:
        """What the page knows."""
        seen: dict[str, Any] = await self.tab.page.evaluate(LOOK)
        return seen

    async def run(self, script: str, argument: Any = None) -> Any:
        return await self.tab.page.evaluate(script, argument)

    async def shown(self, kind: str) -> list[str]:
        """Who sits in the slots that show something of a kind."""
        return [participant for _, of, participant in (await self.look())["slots"] if of == kind]

    async def received(self) -> dict[str, tuple[float, float, int]]:
        """By mid: frames of a picture or packets of sound, energy of the sound, freezes."""
        figures: dict[str, tuple[float, float, int]] = await self.tab.page.evaluate(RECEIVED)
        return figures


async def token_of(server: Daemon, name: str, **more: Any) -> str:
    """A member's token for the room ``stage``."""
    body = {"room": "stage", "directions": ["publish", "view"], "subject": name, "name": name, **more}
    status, text = await server.request(
        "POST", f"{server.admin_url}/v1/tokens", body=json.dumps(body), token=ADMIN_TOKEN
    )
    assert status == 201, text
    token: str = json.loads(text)["token"]
    return token


async def enter(
    server: Daemon,
    browser: Chromium,
    name: str,
    *,
    kinds: tuple[str, ...] = ("audio", "video"),
    size: tuple[int, int] = (320, 180),
    context: BrowserContext | None = None,
    **token: Any,
) -> Member:
    """A new tab that is in the room, connected; ``token`` are more members of the request for its token."""
    tab = await browser.new_tab(f"{server.http_url}/agent", context=context)
    width, height = size
    given = {"token": await token_of(server, name, **token), "kinds": kinds, "width": width, "height": height}
    return Member(tab, await tab.page.evaluate(JOIN, given))


async def until(
    happens: Callable[[], Awaitable[bool]], complaint: Callable[[], Awaitable[Any]], within_s: float
) -> float:
    """Waits for something that is seen by looking again; the seconds it took."""
    began = asyncio.get_running_loop().time()
    while not await happens():
        assert asyncio.get_running_loop().time() < began + within_s, await complaint()
        await asyncio.sleep(0.05)
    return asyncio.get_running_loop().time() - began
