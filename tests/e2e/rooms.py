"""A browser in a room: WHIP and WHEP by a few lines of script."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from playwright.async_api import BrowserContext

from tests.peers.chromium import Chromium, Tab
from tests.peers.daemon import Daemon

PAINTING = """(width, height) => {
    const canvas = Object.assign(document.createElement("canvas"), {width, height});
    const pen = canvas.getContext("2d");
    const at = (most) => Math.floor(Math.random() * most);
    setInterval(() => {
        for (let patch = 0; patch < 4; patch++) {
            pen.fillStyle = `hsl(${at(360)} 80% 50%)`;
            pen.fillRect(at(width), at(height), 24, 24);
        }
    }, 33);
    return canvas.captureStream(30).getVideoTracks()[0];
}"""
"""A moving picture that takes every bit an encoder may spend, which a browser's fake camera does not."""

EXCHANGE = """async ({url, token, publish, gather, layers, rates, size, painted, scalability, redundancy,
                     descriptors}) => {
    const pc = globalThis.pc = new RTCPeerConnection({bundlePolicy: "max-bundle"});
    if (publish) {
        const [width, height] = size ?? (layers.length || scalability ? [1280, 720] : [640, 360]);
        const media = await navigator.mediaDevices.getUserMedia({audio: true, video: painted ? false : {width, height}});
        if (painted) media.addTrack((%s)(width, height));
        for (const track of media.getTracks()) {
            const simulcast = layers.map((rid, index) => ({
                rid, scaleResolutionDownBy: 2 ** (layers.length - 1 - index),
                ...(rates.length ? {maxBitrate: rates[index]} : {}),
            }));
            const [maxBitrate] = rates;
            const one = scalability ? [{scalabilityMode: scalability, ...(maxBitrate ? {maxBitrate} : {})}] : simulcast;
            const sendEncodings = track.kind === "video" ? one : [];
            const transceiver = pc.addTransceiver(track, {direction: "sendonly", streams: [media], sendEncodings});
            if (redundancy && track.kind === "audio") {
                const {codecs} = RTCRtpSender.getCapabilities("audio");
                const isRed = (codec) => codec.mimeType === "audio/red";
                transceiver.setCodecPreferences([...codecs.filter(isRed), ...codecs.filter((codec) => !isRed(codec))]);
            }
        }
    } else {
        for (const kind of ["audio", "video"]) {
            const transceiver = pc.addTransceiver(kind, {direction: "recvonly"});
            if (!descriptors || kind === "audio") continue;
            const extensions = transceiver.getHeaderExtensionsToNegotiate();
            const wanted = extensions.find((extension) => extension.uri.includes("dependency-descriptor"));
            wanted.direction = "recvonly";
            transceiver.setHeaderExtensionsToNegotiate(extensions);
        }
        const show = document.createElement("video");
        show.autoplay = true;
        show.srcObject = new MediaStream(pc.getReceivers().map((receiver) => receiver.track));
        document.body.append(show);
    }
    const gathered = new Promise((resolve) => pc.addEventListener("icecandidate", (event) => event.candidate || resolve()));
    await pc.setLocalDescription();
    if (gather) await gathered;
    globalThis.offered = pc.localDescription.sdp.split("\\r\\n").filter((line) => line.startsWith("a=candidate:"));
    const response = await fetch(url, {method: "POST", body: pc.localDescription.sdp,
        headers: {"Content-Type": "application/sdp", Authorization: "Bearer " + token}});
    if (response.status !== 201) throw new Error(response.status + " " + await response.text());
    await pc.setRemoteDescription({type: "answer", sdp: await response.text()});
    globalThis.resource = response.headers.get("Location");
}""".replace("%s", PAINTING)
"""By fetch, as any page would; `offered` are the offer's candidates, `resource` the session's path."""


class Page(Protocol):
    """What scripts run in: a page of Chromium, a window of Firefox."""

    async def evaluate(self, function: str, argument: Any = None, /) -> Any: ...


async def exchange(
    page: Page,
    server: Daemon,
    kind: str,
    bearer: str,
    *,
    gather: bool = False,
    layers: Sequence[str] = (),
    rates: Sequence[int] = (),
    size: tuple[int, int] | None = None,
    painted: bool = False,
    scalability: str | None = None,
    redundancy: bool = False,
    descriptors: bool = False,
) -> None:
    """A page of the daemon's publishes into the room `stage` (`whip`) or views it (`whep`).

    ``gather`` waits for the browser's candidates and offers them; without it, the offer has none. ``layers`` are the
    rids of simulcast, the smallest picture first, ``rates`` their most bits per second (or that of the one stream of
    ``scalability``); the largest has ``size``, by
    itself 1280 × 720. ``painted`` takes a picture that costs as much as it may instead of the camera's. ``scalability``
    asks for layers inside one stream, by a name of W3C webrtc-svc (``L3T3_KEY``). ``redundancy`` puts red in front of
    the other codecs of the sound. ``descriptors`` makes a viewer take dependency descriptors, which Chromium does not
    offer by itself.
    """
    await page.evaluate(
        EXCHANGE,
        {
            "url": f"{server.http_url}/v1/rooms/stage/{kind}",
            "token": bearer,
            "publish": kind == "whip",
            "gather": gather,
            "layers": list(layers),
            "rates": list(rates),
            "size": size,
            "painted": painted,
            "scalability": scalability,
            "redundancy": redundancy,
            "descriptors": descriptors,
        },
    )


async def join(
    server: Daemon,
    browser: Chromium,
    kind: str,
    bearer: str,
    *,
    context: BrowserContext | None = None,
    **offer: Any,
) -> Tab:
    """The same in a new tab of Chromium."""
    tab = await browser.new_tab(f"{server.http_url}/agent", context=context)
    await exchange(tab.page, server, kind, bearer, **offer)
    return tab
