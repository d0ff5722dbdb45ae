"""A browser in a room: WHIP and WHEP by a few lines of script."""

from __future__ import annotations

from collections.abc import Sequence

from playwright.async_api import BrowserContext

from tests.peers.chromium import Chromium, Tab
from tests.peers.daemon import Daemon

EXCHANGE = """async ({url, token, publish, gather, layers, scalability, redundancy, size, descriptors}) => {
    const pc = globalThis.pc = new RTCPeerConnection({bundlePolicy: "max-bundle"});
    if (publish) {
        size ??= layers.length || scalability ? {width: 1280, height: 720} : {width: 640, height: 360};
        const media = await navigator.mediaDevices.getUserMedia({audio: true, video: size});
        for (const track of media.getTracks()) {
            const simulcast = layers.map((rid, index) => ({rid, scaleResolutionDownBy: 2 ** (layers.length - 1 - index)}));
            const one = scalability ? [{scalabilityMode: scalability}] : simulcast;
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
}"""
"""By fetch, as any page would; `offered` are the offer's candidates, `resource` the session's path."""


async def join(
    server: Daemon,
    browser: Chromium,
    kind: str,
    bearer: str,
    *,
    gather: bool = False,
    layers: Sequence[str] = (),
    scalability: str | None = None,
    redundancy: bool = False,
    size: tuple[int, int] | None = None,
    descriptors: bool = False,
    context: BrowserContext | None = None,
) -> Tab:
    """A new tab publishes into the room `stage` (`whip`) or views it (`whep`).

    ``gather`` waits for the browser's candidates and offers them; without it, the offer has none. ``layers`` are the
    rids of simulcast, the smallest picture first; the largest has 1280 × 720. ``scalability`` asks for layers inside one
    stream of that size, by a name of W3C webrtc-svc (``L3T3_KEY``). ``redundancy`` puts red in front of the other
    codecs of the sound. ``size`` is that of the camera where it is to be another one; ``descriptors`` makes a viewer
    take dependency descriptors, which Chromium does not offer by itself.
    """
    tab = await browser.new_tab(f"{server.http_url}/agent", context=context)
    await tab.page.evaluate(
        EXCHANGE,
        {
            "url": f"{server.http_url}/v1/rooms/stage/{kind}",
            "token": bearer,
            "publish": kind == "whip",
            "gather": gather,
            "layers": list(layers),
            "scalability": scalability,
            "redundancy": redundancy,
            "size": {"width": size[0], "height": size[1]} if size else None,
            "descriptors": descriptors,
        },
    )
    return tab
