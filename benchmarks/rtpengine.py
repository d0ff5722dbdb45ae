"""rtpengine in userspace, driven by its ng protocol (bencoded dictionaries over UDP), where it is on the PATH."""

from __future__ import annotations

import asyncio
import secrets
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.peers.namespace import LOOPBACK
from tests.peers.process import PeerError, PeerProcess

Bencoded = int | str | list[Any] | dict[str, Any]
PORTS = (33_000, 60_000)


def missing() -> str:
    """Why it cannot be compared with here; empty where it can."""
    return "" if shutil.which("rtpengine") else "no rtpengine on the PATH (apt-get install rtpengine-daemon)"


def bencode(value: Bencoded) -> bytes:
    """Numbers, texts, lists and dictionaries as BitTorrent writes them."""
    if isinstance(value, int):
        return b"i%de" % value
    if isinstance(value, str):
        data = value.encode()
        return b"%d:%s" % (len(data), data)
    if isinstance(value, list):
        return b"l" + b"".join(bencode(item) for item in value) + b"e"
    return b"d" + b"".join(bencode(key) + bencode(item) for key, item in sorted(value.items())) + b"e"


def bdecode(data: bytes) -> Bencoded:
    """What `bencode` wrote. Raises ValueError for anything else."""
    value, end = _read(data, 0)
    if end != len(data):
        raise ValueError("text behind a bencoded value")
    return value


def _read(data: bytes, at: int) -> tuple[Bencoded, int]:
    sort = data[at : at + 1]
    if sort == b"i":
        end = data.index(b"e", at)
        return int(data[at + 1 : end]), end + 1
    if sort in (b"l", b"d"):
        items: list[Any] = []
        at += 1
        while data[at : at + 1] != b"e":
            item, at = _read(data, at)
            items.append(item)
        return (items if sort == b"l" else dict(zip(items[::2], items[1::2], strict=True))), at + 1
    colon = data.index(b":", at)
    end = colon + 1 + int(data[at:colon])
    return data[colon + 1 : end].decode(), end


class RtpEngine(asyncio.DatagramProtocol):
    """A running rtpengine."""

    def __init__(self) -> None:
        self.pid = 0
        self._answers: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def datagram_received(self, data: bytes, addr: Any) -> None:
        cookie, _, content = data.partition(b" ")
        future = self._answers.pop(cookie.decode(), None)
        answer = bdecode(content)
        if future is not None and not future.done() and isinstance(answer, dict):
            future.set_result(answer)

    async def ask(self, command: str, **fields: Bencoded) -> dict[str, Any]:
        """One command and its answer; keys are written with `-` for `_`. Raises PeerError where it is refused."""
        if self._transport is None:
            raise PeerError("rtpengine is not running")
        cookie = secrets.token_hex(6)
        future = self._answers[cookie] = asyncio.get_running_loop().create_future()
        message = {"command": command, **{key.replace("_", "-"): value for key, value in fields.items()}}
        self._transport.sendto(f"{cookie} ".encode() + bencode(message))
        async with asyncio.timeout(3):
            answer: dict[str, Any] = await future
        if answer.get("result") not in ("ok", "pong"):
            raise PeerError(f"rtpengine: {answer.get('error-reason', answer)}")
        return answer

    async def relay(self, number: int, offer: str, answer: Callable[[str], str], *, protocol: str) -> tuple[str, str]:
        """Offer and answer of a call; returns the descriptions that the callee and the caller would get."""
        call: Mapping[str, Bencoded] = {
            "call_id": f"call{number}",
            "from_tag": "a",
            "ICE": "remove",
            "replace": ["origin", "session-connection"],
            "flags": ["trust-address"],
        }
        offered = await self.ask("offer", **call, sdp=offer, transport_protocol=protocol, rtcp_mux=["demux"])
        answered = await self.ask("answer", **call, to_tag="b", sdp=answer(str(offered["sdp"])))
        return str(offered["sdp"]), str(answered["sdp"])


@asynccontextmanager
async def rtpengine(directory: Path) -> AsyncIterator[RtpEngine]:
    """One without its kernel module, on loopback; it uses one thread, as one shard of ours does."""
    port = LOOPBACK.free_port()
    process = PeerProcess(
        "rtpengine",
        [
            *("rtpengine", "--foreground", "--log-stderr", "--log-level=3", "--table=-1", "--num-threads=1"),
            *("--interface=127.0.0.1", f"--listen-ng=127.0.0.1:{port}", f"--pidfile={directory / 'rtpengine.pid'}"),
            *(f"--port-min={PORTS[0]}", f"--port-max={PORTS[1]}"),
        ],
        directory=directory,
    )
    await process.start()
    engine = RtpEngine()
    try:
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: engine, remote_addr=("127.0.0.1", port))
        for _ in range(100):
            try:
                await engine.ask("ping")
                break
            except (TimeoutError, OSError):
                if process.returncode is not None:
                    raise PeerError(f"rtpengine ended:\n{process.log_tail()}") from None
        else:
            raise PeerError(f"rtpengine does not answer:\n{process.log_tail()}")
        engine.pid = process.pid
        yield engine
    finally:
        await process.stop(grace_s=1.0)
