"""Visitors whose networks let little out reach an agent inside through the Edge: by TCP, by TURN, by port 443 alone."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from tests.e2e.house import (
    both_see_and_hear,
    contact_ended,
    metric_becomes,
    phone,
    phone_sees_and_hears,
    show_my_camera,
)
from tests.e2e.zone import NAME, PAGE, TURN_NAME, House, house
from tests.peers.baresip import OPUS, Baresip, baresip
from tests.peers.certificates import Certificates
from tests.peers.chromium import Chromium, Tab, chromium, streams
from tests.peers.firefox import firefox
from tests.peers.firewall import Openings
from tests.peers.sandwich import USUAL, sandwich

EDGE = "198.51.100.2"
PATHS = 'mediaserver_engine_edge_paths{shard="edge0"}'
ALLOCATIONS = 'mediaserver_engine_turn_allocations{shard="relay"}'
RELAYED = 'mediaserver_engine_turn_packets_to_peers_total{shard="relay"}'

RELAY_ONLY = """
window.RTCPeerConnection = class extends RTCPeerConnection {
  constructor(configuration) { super({ ...configuration, iceTransportPolicy: "relay" }); }
  // The page takes its servers when it is told of them, and names no policy: that would be "all".
  setConfiguration(configuration) { super.setConfiguration({ ...configuration, iceTransportPolicy: "relay" }); }
};
"""

SELECTED = """
async () => {
  const found = [];
  for (const connection of window.__connections) {
    const report = await connection.getStats();
    for (const pair of report.values())
      if (pair.type === "candidate-pair" && pair.nominated && pair.state === "succeeded") {
        const local = report.get(pair.localCandidateId);
        const kind = local.candidateType === "relay" ? "relay" : "direct";
        found.push(`${kind} ${local.relayProtocol ?? local.protocol}`);
      }
  }
  return found;
}
"""
"""How the pairs that carry media leave the visitor's machine."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A house with an Edge, an agent's phone that is registered, and a visitor's browser."""

    made: House
    browser: Chromium
    agent: Baresip


@asynccontextmanager
async def scene(directory: Path, *, admitted: Openings) -> AsyncIterator[Scene]:
    names = {NAME: EDGE, TURN_NAME: EDGE}
    async with (
        sandwich(names=names, admitted=admitted) as rig,
        house(rig, directory, turn=True) as made,
        chromium(directory, network=rig.internet, flags=[trusts(made.turn)]) as browser,
        baresip(phone(made.core, "udp", ""), directory, network=rig.inside) as agent,
    ):
        await agent.wait_registered()
        yield Scene(made, browser, agent)


def trusts(certificates: Certificates) -> str:
    """The flag by which Chromium takes this certificate for that of a known authority."""
    certificate = x509.load_pem_x509_certificate(certificates.chain.read_bytes())
    key = certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return f"--ignore-certificate-errors-spki-list={base64.b64encode(hashlib.sha256(key).digest()).decode()}"


async def talk(there: Scene, *, script: str = "") -> Tab:
    """The visitor calls, and both see and hear each other."""
    context = await there.browser.new_context()
    await context.add_init_script(script)
    tab = await there.browser.new_tab(PAGE, context=context)
    await tab.page.get_by_role("button", name="Video call").click()
    await there.agent.wait_established()
    await show_my_camera(tab)
    await both_see_and_hear(tab, there.agent, seconds=5)
    return tab


async def ends(there: Scene) -> None:
    """The agent hangs up, and nothing of the visitor stays at the Edge."""
    await there.agent.hangup()
    await contact_ended(there.made.core, by="agent", reason="hangup")
    await metric_becomes(there.made.edge, PATHS, 0)


async def ways(tab: Tab) -> set[str]:
    return set(await tab.page.evaluate(SELECTED))


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_a_visitor_who_reaches_nothing_but_port_443_calls_an_agent_inside(tmp_path: Path) -> None:
    async with scene(tmp_path, admitted=Openings(tcp=(443,))) as there:
        tab = await talk(there)
        assert await ways(tab) == {"relay tls"}
        metrics = await there.made.edge.metrics()
        assert metrics[RELAYED] > 100
        assert metrics[PATHS] >= 1
        await ends(there)
        await tab.page.close()
        await metric_becomes(there.made.edge, ALLOCATIONS, 0)


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_where_udp_is_closed_media_goes_by_tcp_to_the_edge_without_a_relay(tmp_path: Path) -> None:
    async with scene(tmp_path, admitted=Openings(tcp=(443, 3478))) as there:
        tab = await talk(there)
        assert await ways(tab) == {"direct tcp"}
        await ends(there)
        await tab.page.close()


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_who_may_use_a_relay_only_finds_it_on_the_port_of_media(tmp_path: Path) -> None:
    async with scene(tmp_path, admitted=USUAL) as there:
        tab = await talk(there, script=RELAY_ONLY)
        assert await ways(tab) == {"relay udp"}
        assert (await there.made.edge.metrics())[RELAYED] > 100
        await ends(there)
        await tab.page.close()


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_where_everything_is_open_nobody_goes_by_a_relay_or_by_tcp(tmp_path: Path) -> None:
    async with scene(tmp_path, admitted=USUAL) as there:
        tab = await talk(there)
        assert await ways(tab) == {"direct udp"}
        await ends(there)
        await tab.page.close()


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_firefox_with_nothing_but_a_relay_calls_an_agent_inside(tmp_path: Path) -> None:
    # Debian's Firefox has no H.264 of its own, so the phone speaks VP8.
    async with (
        sandwich(names={NAME: EDGE, TURN_NAME: EDGE}) as rig,
        house(rig, tmp_path, turn=True) as made,
        firefox(tmp_path, rig.internet) as browser,
        baresip(phone(made.core, "udp", "", audio=(OPUS,), video=("VP8",)), tmp_path, network=rig.inside) as agent,
    ):
        await agent.wait_registered()
        window = await browser.new_window(PAGE, preload=RELAY_ONLY)
        await window.click("button", "Video call")
        await agent.wait_established()
        await window.click("button", "Show my camera")
        await phone_sees_and_hears(agent, seconds=5)
        async with asyncio.timeout(60):
            while True:
                media = await window.media_over(5)
                (audio,), (video,) = streams(media, "inbound", "audio"), streams(media, "inbound", "video")
                if video.frames_per_s >= 8 and audio.packets > 120:
                    break
        metrics = await made.edge.metrics()
        assert metrics[ALLOCATIONS] >= 1
        assert metrics[RELAYED] > 100
        await window.click("button", "Hang up")
        await agent.wait_closed()
        await contact_ended(made.core, by="caller", reason="hangup")
        await metric_becomes(made.edge, PATHS, 0)
