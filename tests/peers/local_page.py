"""A page on localhost where a browser calls itself: what the browser harnesses are tried on without any server."""

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


@contextlib.asynccontextmanager
async def local_page(network: Network = LOOPBACK) -> AsyncIterator[str]:
    """Serve the page inside ``network`` and give its URL."""

    async def serve(_request: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html")

    application = web.Application()
    application.router.add_get("/", serve)
    runner = web.AppRunner(application)
    await runner.setup()
    sock = network.open_socket()
    sock.bind(("127.0.0.1", 0))
    try:
        await web.SockSite(runner, sock).start()
        yield f"http://localhost:{sock.getsockname()[1]}/"
    finally:
        await runner.cleanup()
