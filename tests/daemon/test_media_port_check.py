"""What `check-link` on a Core says of the ports of phones and trunks, by what comes through a pair that it has opened."""

from __future__ import annotations

import socket
from typing import Any, Literal, Self

from mediaserver.daemon.media_port_check import media_ports
from mediaserver.errors import MediaServerError

LOOPBACK = "127.0.0.1"


class Core:
    """Answers as the running Core does; the pair is a socket of this machine, and what comes there is counted."""

    def __init__(self, *, refused: str = "", hears: bool = True) -> None:
        self._refused = refused
        self._hears = hears
        self._pair = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.asked: list[str] = []

    def __enter__(self) -> Self:
        self._pair.bind((LOOPBACK, 0))
        self._pair.setblocking(False)
        return self

    def __exit__(self, *_: object) -> None:
        self._pair.close()

    def ask(self, path: str, *, method: Literal["GET", "POST", "DELETE"]) -> dict[str, Any]:
        self.asked.append(f"{method} {path}")
        ip, port = self._pair.getsockname()
        if self._refused:
            return {"state": "refused", "reason": self._refused}
        if method == "POST":
            return {"state": "open", "ip": ip, "port": port}
        heard = self._heard() if self._hears else []
        return {"ip": ip, "port": port, "packets": len(heard), "heard_from": heard[0] if heard else None}

    def _heard(self) -> list[str]:
        found = []
        while True:
            try:
                packet, (ip, port) = self._pair.recvfrom(2000)
            except BlockingIOError:
                return found
            assert packet[0] == 0x80
            found.append(f"{ip}:{port}")


async def test_what_comes_through_is_told_with_its_source() -> None:
    with Core() as core:
        found = await media_ports("the dmz", core.ask)
    assert (found.what, found.state) == ("media of phones and trunks of Edge the dmz", "good")
    assert "of 5 packets sent there from here 5 came to this Core, from 127.0.0.1:" in found.said
    assert core.asked == [f"{method} /v1/edges/the%20dmz/media-probe" for method in ("POST", "DELETE")]


async def test_silence_is_no_fault_for_nothing_has_to_lead_there() -> None:
    with Core(hears=False) as core:
        found = await media_ports("dmz", core.ask)
    assert (found.state, found.right) == ("note", "")
    assert "was opened for this check, and closed again" in found.said
    assert "phones and trunks come from outside" in found.said


async def test_an_edge_that_opens_none_is_at_fault_in_its_own_words() -> None:
    with Core(refused="dmz: no ports are free") as core:
        found = await media_ports("dmz", core.ask)
    assert (found.state, found.said) == ("bad", "the Edge opens no pair of ports for media: dmz: no ports are free")
    assert "edge.sip_media_ports" in found.right
    assert len(core.asked) == 1, "there is nothing to close"


async def test_a_core_that_does_not_run_is_asked_for() -> None:
    def nobody(_path: str, *, method: str) -> dict[str, Any]:
        raise MediaServerError("it cannot be asked: does the daemon run?")

    found = await media_ports("dmz", nobody)
    assert (found.state, found.said) == ("unknown", "it cannot be asked: does the daemon run?")
