"""The daemon under load, reached as any client reaches it: WHIP, WHEP and the page's WebSocket."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

import aiohttp

from benchmarks.webrtc_client import ConnectError, Identity, Peer

CONNECTING = 32
"""Handshakes at a time, each in a thread."""


class JoinError(Exception):
    """Somebody could not join; ``reason`` is a short name to count by."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Session:
    """A WHIP or WHEP resource."""

    url: str
    token: str


class LoadTarget:
    """One daemon."""

    def __init__(
        self,
        url: str,
        http: aiohttp.ClientSession,
        *,
        token: str,
        admin_url: str | None,
        identity: Identity,
        feedback: bool,
    ) -> None:
        self._url = url.rstrip("/") + "/"
        self._http = http
        self._token = token
        self._admin_url = admin_url
        self._identity = identity
        self._feedback = feedback
        self._tokens: dict[str, str] = {}
        self._threads = ThreadPoolExecutor(CONNECTING, thread_name_prefix="connect")
        parts = urlsplit(url)
        self._local_ip = local_ip(parts.hostname or "localhost", parts.port or 443)

    def peer(self, kinds: Sequence[str], *, sends: bool, receives: bool | None = None, simulcast: bool = False) -> Peer:
        """A peer that is not connected yet; the caller closes it or hands it on."""
        return Peer(
            self._identity,
            sends=sends,
            receives=receives,
            kinds=kinds,
            simulcast=simulcast,
            feedback=self._feedback,
            repair=True,
            local_ip=self._local_ip,
        )

    async def token(self, room: str) -> str:
        """The token given, or with the administration at hand one made for this room."""
        if room not in self._tokens:
            if self._admin_url is None:
                return self._token
            url = urljoin(self._admin_url.rstrip("/") + "/", "v1/tokens")
            body = {"room": room, "directions": ["publish", "view"], "subject": "load"}
            async with self._http.post(url, json=body, headers=_bearer(self._token)) as response:
                if response.status != 201:
                    raise JoinError(f"token_{response.status}", await response.text())
                self._tokens[room] = (await response.json())["token"]
        return self._tokens[room]

    def use_token(self, room: str, token: str) -> None:
        """Take this token for a room from now on."""
        self._tokens[room] = token

    async def join_room(
        self, room: str, kind: str, kinds: Sequence[str], *, simulcast: bool = False
    ) -> tuple[Peer, Session]:
        """Publish (``whip``) or view (``whep``): a connected peer and its resource. Raises JoinError."""
        token = await self.token(room)
        peer = self.peer(kinds, sends=kind == "whip", simulcast=simulcast)
        url = urljoin(self._url, f"v1/rooms/{room}/{kind}")
        headers = {"Content-Type": "application/sdp", **_bearer(token)}
        try:
            async with self._http.post(url, data=peer.offer(), headers=headers) as response:
                text = await response.text()
                if response.status != 201:
                    raise JoinError(f"{kind}_{response.status}", f"{url} answered {response.status}: {text[:500]}")
                session = Session(urljoin(url, response.headers["Location"]), token)
            await self.connect(peer, text)
        except (aiohttp.ClientError, TimeoutError) as error:
            peer.close()
            raise JoinError(f"{kind}_{type(error).__name__}", str(error)) from error
        except BaseException:
            peer.close()
            raise
        return peer, session

    async def connect(self, peer: Peer, description: str) -> None:
        """ICE and DTLS, in a thread. Raises JoinError."""
        try:
            await asyncio.get_running_loop().run_in_executor(self._threads, peer.connect, description)
        except (ConnectError, OSError) as error:
            raise JoinError("connect", str(error)) from error

    async def leave_room(self, session: Session) -> None:
        """End the resource; a daemon that is gone has ended it too."""
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with self._http.delete(session.url, headers=_bearer(session.token)):
                return

    @contextlib.asynccontextmanager
    async def page_socket(self) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """The WebSocket of a page that the daemon itself serves. Raises JoinError."""
        parts = urlsplit(self._url)
        try:
            async with self._http.ws_connect(
                urljoin(self._url, "v1/session"), headers={"Origin": f"{parts.scheme}://{parts.netloc}"}
            ) as opened:
                yield opened
        except (aiohttp.ClientError, TimeoutError) as error:
            raise JoinError(f"socket_{type(error).__name__}", str(error)) from error

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


@contextlib.asynccontextmanager
async def load_target(
    url: str, *, token: str, admin_url: str | None = None, ca: str | None = None, suite: str, feedback: bool = True
) -> AsyncIterator[LoadTarget]:
    """Connections to one daemon; ``ca`` is a file with its certificate's authority, ``feedback`` what peers offer."""
    context: Any = ssl.create_default_context(cafile=ca) if ca else True
    connector = aiohttp.TCPConnector(limit=0, ssl=context)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=15)) as http:
        target = LoadTarget(url, http, token=token, admin_url=admin_url, identity=Identity(suite), feedback=feedback)
        try:
            yield target
        finally:
            target.close()


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


def local_ip(host: str, port: int) -> str:
    """The IPv4 address from which this machine reaches a host."""
    address = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_DGRAM)[0][4]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(address)
        found: str = probe.getsockname()[0]
        return found
