"""Web pages that are not the daemon's: one where a browser calls itself, to try the harnesses on, and any other."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from aiohttp import web

from tests.peers.namespace import LOOPBACK, Network

PAGE = """<!doctype html><link rel="icon" href="data:,"><title>Two ends</title>
<button>Video call</button><video autoplay playsinline></video>
<script type="module">
document.querySelector('button').addEventListener('click', async () => {
  const media = await navigator.mediaDevices.getUserMedia({audio: true, video: {width: 320, height: 240}});
  const near = new RTCPeerConnection(), far = new RTCPeerConnection();
  near.onicecandidate = event => event.candidate && far.addIceCandidate(event.candidate);
  far.onicecandidate = event => event.candidate && near.addIceCandidate(event.candidate);
  far.ontrack = event => { document.querySelector('video').srcObject = event.streams[0]; };
  for (const track of media.getTracks()) near.addTrack(track, media);
  await near.setLocalDescription();
  await far.setRemoteDescription(near.localDescription);
  await far.setLocalDescription();
  await near.setRemoteDescription(far.localDescription);
  console.log('called');
});
</script>"""


class Site:
    """A small web site of somebody else's."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.page = ""
        """HTML of its one page, at ``/``."""

    async def _serve(self, _request: web.Request) -> web.Response:
        return web.Response(text=self.page, content_type="text/html")


@contextlib.asynccontextmanager
async def site(network: Network = LOOPBACK, host: str = "127.0.0.1") -> AsyncIterator[Site]:
    """Serve it inside ``network``. ``host`` is its name in the URL: to a browser, 127.0.0.1 and localhost are two."""
    sock = network.open_socket()
    sock.bind(("127.0.0.1", 0))
    served = Site(f"http://{host}:{sock.getsockname()[1]}")
    application = web.Application()
    application.router.add_get("/", served._serve)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.SockSite(runner, sock).start()
        yield served
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def local_page(network: Network = LOOPBACK) -> AsyncIterator[str]:
    """Serve the page that calls itself inside ``network`` and give its URL."""
    async with site(network, "localhost") as served:
        served.page = PAGE
        yield f"{served.origin}/"
