"""What an Edge opens for a Core, and what it does not."""

from __future__ import annotations

import asyncio
import socket
from typing import cast

import pytest

from mediaserver.daemon.edge_dialling import EdgeDialling, may_be_dialled
from mediaserver.link.edge_end import EdgeEnd
from mediaserver.link.messages import Dial
from mediaserver.runtime.metrics import Metrics


class Core:
    """Hears what could not be opened."""

    def __init__(self) -> None:
        self.refused: asyncio.Queue[tuple[int, str]] = asyncio.Queue()

    def refuse_dial(self, number: int, reason: str) -> None:
        self.refused.put_nowait((number, reason))


def dialling(carried: list[tuple[int, socket.socket]], *, allowed: bool = True) -> EdgeDialling:
    return EdgeDialling(
        allowed=allowed,
        carry=lambda _core, number, connection: carried.append((number, connection)),
        metrics=Metrics(),
    )


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "::1",
        "169.254.169.254",
        "fe80::1",
        "224.0.0.1",
        "0.0.0.0",
        "::ffff:127.0.0.1",
        "2002:7f00:1::",
        "x",
    ],
)
def test_addresses_of_machines_and_links_are_no_trunks(address: str) -> None:
    assert not may_be_dialled(address)


@pytest.mark.parametrize("address", ["203.0.113.9", "2001:db8::9", "10.9.0.1"])
def test_other_addresses_are(address: str) -> None:
    assert may_be_dialled(address)


async def test_nothing_is_opened_where_the_file_does_not_say_so() -> None:
    carried: list[tuple[int, socket.socket]] = []
    edge, core = dialling(carried, allowed=False), Core()
    edge.handle_dial(cast("EdgeEnd", core), Dial(number=3, ip="203.0.113.9", port=5061))
    assert core.refused.get_nowait() == (3, "edge.dial_trunks is not on there")
    await edge.stop(1.0)
    assert carried == []


async def test_a_connection_is_carried_under_the_number_of_the_core(monkeypatch: pytest.MonkeyPatch) -> None:
    # This machine has no other address that a listener of a test may have.
    monkeypatch.setattr("mediaserver.daemon.edge_dialling.may_be_dialled", lambda _: True)
    carried: list[tuple[int, socket.socket]] = []
    edge, core = dialling(carried), Core()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    edge.handle_dial(cast("EdgeEnd", core), Dial(number=7, ip="127.0.0.1", port=listener.getsockname()[1]))
    accepted, _ = await asyncio.wait_for(asyncio.get_running_loop().sock_accept(listener), 5)
    async with asyncio.timeout(5):
        while not carried:
            await asyncio.sleep(0)
    number, connection = carried[0]
    assert (number, connection.getpeername()) == (7, listener.getsockname())
    accepted.close()
    connection.close()
    port = listener.getsockname()[1]
    listener.close()
    edge.handle_dial(cast("EdgeEnd", core), Dial(number=8, ip="127.0.0.1", port=port))
    refused, reason = await asyncio.wait_for(core.refused.get(), 5)
    assert refused == 8
    assert "cannot be reached" in reason
    await edge.stop(1.0)
