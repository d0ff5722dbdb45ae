"""Tries the ports that an Edge opens for media of phones and trunks: the running Core has one pair opened for the check."""

from __future__ import annotations

import asyncio
import socket
from typing import Any, Final, Literal, Protocol
from urllib.parse import quote

from mediaserver.config.values import SocketAddress
from mediaserver.daemon.finding import Finding, words
from mediaserver.errors import MediaServerError

_PACKETS: Final = 5
_EVERY_S: Final = 0.05
_WAIT_S: Final = 0.5
"""After the last one, until what comes back is counted."""
_RTP: Final = bytes((0x80, 0)) + bytes(10) + bytes(160)
"""RFC 3550 §5.1, 20 ms of G.711 (RFC 3551 §4.5.14)."""


class Asks(Protocol):
    """Asks the running Core (`api.status.RunningDaemon`)."""

    def __call__(self, path: str, *, method: Literal["GET", "POST", "DELETE"]) -> dict[str, Any]:
        """Raises MediaServerError."""
        ...


async def media_ports(edge: str, ask: Asks) -> Finding:
    """Whether this Edge opens a pair, and what of a few packets that are sent there from here comes to the Core."""
    what, path = f"media of phones and trunks of Edge {edge}", f"/v1/edges/{quote(edge, safe='')}/media-probe"
    try:
        opened = await asyncio.to_thread(ask, path, method="POST")
        if opened["state"] != "open":
            return Finding(
                what,
                "bad",
                f"the Edge opens no pair of ports for media: {opened['reason']}",
                "edge.sip_media_ports of the Edge with free ports, and media links that are up, see above",
            )
        try:
            problem = await _send(opened["ip"], opened["port"])
        finally:
            heard = await asyncio.to_thread(ask, path, method="DELETE")
    except MediaServerError as error:
        return Finding(what, "unknown", str(error), "the running Core, which has Edges open these ports")
    return _found(what, heard, problem)


async def _send(ip: str, port: int) -> str | None:
    """Sends them; why that cannot be done."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        try:
            for number in range(_PACKETS):
                packet = _RTP[:2] + number.to_bytes(2) + _RTP[4:]
                await loop.sock_sendto(sender, packet, (ip, port))
                await asyncio.sleep(_EVERY_S)
        except OSError as error:
            return words(error)
    await asyncio.sleep(_WAIT_S)
    return None


def _found(what: str, heard: dict[str, Any], problem: str | None) -> Finding:
    where = f"UDP {SocketAddress(heard['ip'], heard['port'])}"
    if heard["packets"]:
        return Finding(
            what,
            "good",
            f"{where} was opened for this check: of {_PACKETS} packets sent there from here {heard['packets']} came to this "
            f"Core, from {heard['heard_from']}; it is closed again",
        )
    why = f"cannot be reached from here ({problem})" if problem is not None else "lets nothing pass from here"
    return Finding(
        what,
        "note",
        f"{where} was opened for this check, and closed again: the Edge does its part. It {why}, and need not: phones and "
        f"trunks come from outside, where only a call can try what `mediaserver ports` there says of these ports",
    )
