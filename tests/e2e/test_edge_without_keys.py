"""Who takes the Edge hears nothing: what a call's keys are is in the Core's memory, and nowhere in the zone."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from tests.e2e.house import both_see_and_hear, phone, show_my_camera, start_call
from tests.e2e.zone import MEDIA_PORT, NAME, PAGE, House, house
from tests.peers.baresip import baresip
from tests.peers.chromium import chromium
from tests.peers.memory_search import Region, copy_of_memory, core_dump, find_in_file, find_in_regions
from tests.peers.sandwich import sandwich
from tests.peers.secret_forms import Needles
from tests.peers.srtp_session_keys import find_session_keys, is_srtp
from tests.peers.wire_capture import WireCapture, captured

DESCRIPTIONS = "() => window.__connections.map(each => [each.localDescription.sdp, each.remoteDescription.sdp])"
PACKETS = 4
"""Of each direction; one that the key opens is enough."""
ABORTED = -6


@dataclass(frozen=True, slots=True)
class Taken:
    """What somebody gets who takes the machines during a call."""

    wires: Sequence[WireCapture]
    said: Sequence[Sequence[str]]
    """The page's descriptions: its own and that of the house."""
    core: Sequence[Region]
    edge: Sequence[Region]
    dump: Path
    """Of the Edge."""


@pytest.mark.e2e
@pytest.mark.timeout(600)
async def test_keys_and_descriptions_of_a_call_are_in_the_core_and_nowhere_in_the_zone(tmp_path: Path) -> None:
    # What was taken is searched when the call is over: its programs would compete with the search.
    taken = await _during_a_call(tmp_path)
    outer = _named(taken.wires, "edge0/outer")
    found = find_session_keys(taken.core, _protected(outer))
    assert set(found) == {"visitor", "house"}, "the keys that open the packets on the wire are not in the Core"
    assert not find_session_keys(taken.edge, _protected(outer))

    secrets = {f"SRTP key of the {name}": key.key for name, key in found.items()}
    secrets |= {f"SRTP salt of the {name}": key.salt for name, key in found.items()}
    secrets |= _of_descriptions(taken.said) | _web_key(tmp_path, "little")
    # The same search, where they are: else it would prove nothing.
    there = find_in_regions(taken.core, Needles(secrets))
    assert [name for name, count in there.items() if not count] == [], "not found in the Core"

    needles = Needles(secrets | _web_key(tmp_path, "big"))
    nothing = dict.fromkeys(needles.names, 0)
    assert find_in_regions(taken.edge, needles) == nothing
    # Every check says in clear whose it is: that is the control of the search on wires.
    in_clear = Needles({"ufrag of the house": _only(r"a=ice-ufrag:(\S+)", taken.said[0][1]).encode()})
    for wire in taken.wires:
        assert wire.find(in_clear)["ufrag of the house"] > 0, wire.name
        assert wire.find(needles) == nothing, wire.name
    assert find_in_file(taken.dump, needles) == nothing


async def _during_a_call(directory: Path) -> Taken:
    async with (
        sandwich(names={NAME: "198.51.100.2"}) as rig,
        house(rig, directory) as made,
        chromium(directory, network=rig.internet) as browser,
        baresip(phone(made.core, "udp", ""), directory, network=rig.inside) as agent,
    ):
        await agent.wait_registered()
        with captured(rig.wires()) as wires:
            tab = await start_call(browser, PAGE)
            await agent.wait_established()
            await show_my_camera(tab)
            await both_see_and_hear(tab, agent, seconds=2)
            said = await tab.page.evaluate(DESCRIPTIONS)
            core, edge = await asyncio.to_thread(_memories, made)
            # It was a moment: the call goes on.
            await both_see_and_hear(tab, agent, seconds=2)
        made.edge.expected_end = ABORTED
        dump = await core_dump(made.edge.process, made.edge.config_path.parent)
        return Taken(wires, said, core, edge, dump)


def _memories(made: House) -> tuple[list[Region], list[Region]]:
    return copy_of_memory(made.core.pid), copy_of_memory(made.edge.pid)


def _named(wires: Sequence[WireCapture], end: str) -> WireCapture:
    return next(wire for wire in wires if wire.name.endswith(end))


def _protected(wire: WireCapture) -> dict[str, list[bytes]]:
    """SRTP packets that passed the Edge's public port, by who sent them."""
    packets: dict[str, list[bytes]] = {"visitor": [], "house": []}
    for source, destination, payload in wire.datagrams():
        sender = "visitor" if destination == MEDIA_PORT else "house" if source == MEDIA_PORT else None
        if sender is not None and is_srtp(payload) and len(packets[sender]) < PACKETS:
            packets[sender].append(payload)
    assert all(packets.values())
    return packets


def _of_descriptions(said: Sequence[Sequence[str]]) -> dict[str, bytes]:
    """What is in the offer and in the answer and in no other message."""
    (offer, answer) = said[0]
    lines: Mapping[str, tuple[str, str]] = {
        "ICE password of the visitor": (offer, r"a=ice-pwd:(\S+)"),
        "ICE password of the house": (answer, r"a=ice-pwd:(\S+)"),
        "fingerprint of the visitor": (offer, r"a=fingerprint:sha-256 (\S+)"),
        "fingerprint of the house": (answer, r"a=fingerprint:sha-256 (\S+)"),
    }
    return {name: _only(pattern, text).encode() for name, (text, pattern) in lines.items()}


def _web_key(directory: Path, order: Literal["big", "little"]) -> dict[str, bytes]:
    """As PEM has it, or as OpenSSL keeps numbers: with their lowest byte first."""
    key = serialization.load_pem_private_key((directory / "page/certificates/key.pem").read_bytes(), password=None)
    assert isinstance(key, EllipticCurvePrivateKey)
    return {f"key of the page ({order})": key.private_numbers().private_value.to_bytes(32, order)}


def _only(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    assert match is not None, pattern
    return match[1]
