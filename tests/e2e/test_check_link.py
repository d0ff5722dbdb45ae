"""`mediaserver check-link` between two real firewalls: on the Edge, on the Core, and from the internet."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.house import metric_becomes
from tests.e2e.zone import NAME, TURN_NAME, house
from tests.peers.daemon import Daemon
from tests.peers.firewall import Openings
from tests.peers.namespace import Namespace, ip
from tests.peers.sandwich import sandwich

EDGE = "198.51.100.2"
SIP = {"sip_tls": 5061, "sip_media_ports": "30000-30999"}
OPEN = Openings(udp=(443, 3478, "30000-30999"), tcp=(443, 3478, 5061))


async def checked(place: Namespace, of: Daemon, *options: str) -> dict[str, list[dict[str, str]]]:
    """Findings by what was looked at."""
    command = (sys.executable, "-m", "mediaserver", "check-link", "--config", str(of.config_path), "--json", *options)
    process = await asyncio.create_subprocess_exec(
        *place.exec_prefix, *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, problems = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode in (0, 1), problems.decode()
    found: dict[str, list[dict[str, str]]] = {}
    said: dict[str, Any] = json.loads(out)
    for each in said["findings"]:
        found.setdefault(each["what"], []).append(each)
    return found


def states(found: dict[str, list[dict[str, str]]], *what: str) -> dict[str, list[str]]:
    return {name: [each["state"] for each in found[name]] for name in what}


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_each_port_is_tried_from_where_the_check_stands(tmp_path: Path) -> None:
    names = {NAME: EDGE, TURN_NAME: EDGE}
    async with (
        sandwich(names=names, admitted=OPEN) as rig,
        house(rig, tmp_path, turn=True, edge_section=SIP) as made,
    ):
        edge = await checked(rig.edges[0], made.edge)
        assert states(edge, "TURN and media of visitors", "TURN", "SIP over TLS", "the link", "Cores") == {
            "TURN and media of visitors": ["good", "good"],
            "TURN": ["good"],
            "SIP over TLS": ["good"],
            "the link": ["good"],
            "Cores": ["good"],
        }
        public = ("TURN and media of visitors of Edge dmz", "SIP over TLS of Edge dmz")
        core = await checked(rig.inside, made.core)
        assert states(core, *public) == {public[0]: ["note", "note"], public[1]: ["note"]}, "nothing has to lead there"
        media = "media of phones and trunks of Edge dmz"
        assert core[media][0]["state"] == "note"
        assert "was opened for this check, and closed again" in core[media][0]["said"]
        # In a house where something does:
        await ip("-n", rig.inner.place.name, "route", "add", f"{EDGE}/32", "via", rig.edges[0].inner)
        core = await checked(rig.inside, made.core)
        assert states(core, *public) == {public[0]: ["good", "good"], public[1]: ["good"]}
        assert core[media][0]["state"] == "good"
        assert f"UDP {EDGE}:30" in core[media][0]["said"]
        assert "of 5 packets sent there from here 5 came to this Core" in core[media][0]["said"]
        assert "takes credentials of this Core" in core["TURN and media of visitors of Edge dmz"][0]["said"]
        allocations = 'mediaserver_engine_turn_allocations{shard="relay"}'
        await metric_becomes(made.edge, allocations, 0)  # what was taken was given back

        outside = await checked(rig.internet, made.edge, "--outside")
        turn = ("TURN and media of visitors", "TURN", "SIP over TLS", "the link, from outside")
        assert states(outside, *turn) == {
            "TURN and media of visitors": ["good", "good"],
            "TURN": ["good"],
            "SIP over TLS": ["good"],
            "the link, from outside": ["good"],
        }
        assert outside["media of phones and trunks"][0]["state"] == "note"
        pairs = 'mediaserver_engine_edge_port_pairs{shard="edge0"}'
        await metric_becomes(made.edge, pairs, 0)  # what was opened for checks is closed again
        # Nobody knows this test's authority.
        (page,) = (each for each in outside[f"page {NAME}"])
        assert "browsers refuse its certificate" in page["said"]

        await rig.admit_visitors(Openings(tcp=(443,)))
        blocked = await checked(rig.internet, made.edge, "--outside")
        assert states(blocked, "TURN and media of visitors", "TURN", "SIP over TLS") == {
            "TURN and media of visitors": ["bad", "bad"],
            "TURN": ["good"],
            "SIP over TLS": ["bad"],
        }
        udp, tcp = blocked["TURN and media of visitors"]
        assert udp["said"] == f"UDP {EDGE}:3478 does not answer: the outer firewall drops it"
        assert f"an outer firewall that lets TCP {EDGE}:3478 pass" in tcp["right"]
