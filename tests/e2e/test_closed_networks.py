"""Visitors whose networks let little out reach an agent inside through the Edge: by TCP, by TURN, by port 443 alone.

The Edge has a private address, and a public one on the outer firewall alone (static NAT). Both browsers, the house and the
agent's phone are those of all tests here; what the firewalls let pass is each test's own.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from tests.e2e.coming_back import answers, kill_and_wait, page_back, page_gets, page_hears, phone_back
from tests.e2e.house import both_see_and_hear, metric_becomes, phone
from tests.e2e.visitors import FOR_BOTH, MAKES, Make, Visitor, relay_only, visitor
from tests.e2e.zone import NAME, PAGE, TURN_NAME, House, house
from tests.peers.aiortc_relayed import relayed
from tests.peers.baresip import Baresip, baresip
from tests.peers.certificates import Certificates
from tests.peers.chromium import Chromium, Tab, chromium
from tests.peers.firefox import Firefox, firefox
from tests.peers.firewall import Openings
from tests.peers.process import PeerError
from tests.peers.sandwich import USUAL, Sandwich, sandwich

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.e2e, pytest.mark.timeout(240)]

EDGE = "198.51.100.200"
"""Where visitors reach it."""
ENDED = 'mediaserver_contacts_ended_total{by="agent",reason="hangup"}'
PATHS = 'mediaserver_engine_edge_paths{shard="edge0"}'
ALLOCATIONS = 'mediaserver_engine_turn_allocations{shard="relay"}'
RELAYED = 'mediaserver_engine_turn_packets_to_peers_total{shard="relay"}'
WRONG_CREDENTIALS = ("edge_forged_token", "edge_unknown_key", "turn.bad_", "turn.unknown_user")
"""Reasons why the Edge refuses tokens and TURN credentials."""
OVER_TLS = 'mediaserver_engine_links_over_tls{shard="edge0"}'
SHARDS = 2
RESTART_ICE = """
async () => {
  const connection = window.__connections.at(-1);
  const ufrag = () => connection.localDescription.sdp.match(/a=ice-ufrag:(.*)/)[1];
  const before = ufrag();
  connection.restartIce();
  while (ufrag() === before || connection.signalingState !== "stable" || connection.iceConnectionState !== "connected")
    await new Promise((done) => setTimeout(done, 20));
}
"""
"""Look for another way by what the page knows, as when its network changes; wait until there is one."""
AIM_S = 3.0
"""Media are back so soon after the Edge: the page finds its way to the server again, and is asked for an ICE restart."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A house with an Edge, an agent's phone that is registered, and visitors' browsers."""

    directory: Path
    rig: Sandwich
    made: House
    browsers: Mapping[Make, Chromium | Firefox]
    agent: Baresip

    @asynccontextmanager
    async def call(self, make: Make, *, admitted: Openings, script: str = "") -> AsyncIterator[Visitor]:
        """A visitor calls whose network lets this out, and both see and hear each other; at the end the agent hangs up, and
        nothing of the visitor stays at the Edge."""
        await self.rig.admit_visitors(admitted)
        ended = (await self.made.core.metrics()).get(ENDED, 0)
        async with visitor(self.browsers[make], PAGE, script=script) as one:
            try:
                await one.click("Video call")
                await self.agent.wait_established()
                await one.click("Show my camera")
                await both_see_and_hear(one.page, self.agent, seconds=3)
                yield one
            finally:
                with suppress(PeerError):  # there may be no call
                    await self.agent.hangup()
            await metric_becomes(self.made.core, ENDED, ended + 1)
        await metric_becomes(self.made.edge, PATHS, 0)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    directory = tmp_path_factory.mktemp("zone")
    async with (
        sandwich(names={NAME: EDGE, TURN_NAME: EDGE}, static_nat=True) as rig,
        house(
            rig, directory, changes={"secrets": {"ufrag_key": {"file": str(key_file(directory))}}}, turn=True
        ) as made,
        chromium(directory, network=rig.internet, flags=[trusts(made.turn)]) as one,
        firefox(directory, rig.internet) as other,
        baresip(phone(made.core, "udp", "", **FOR_BOTH), directory, network=rig.inside) as agent,
    ):
        assert rig.edges[0].public == EDGE != rig.edges[0].address
        await agent.wait_registered()
        yield Scene(directory, rig, made, {"chromium": one, "firefox": other}, agent)


def key_file(directory: Path) -> Path:
    """What the Core makes tokens and TURN credentials with."""
    secret = directory / "ufrag.secret"
    if not secret.exists():
        secret.touch(mode=0o600)
        secret.write_text("the first key of tokens, long enough for anybody")
    return secret


def trusts(certificates: Certificates) -> str:
    """The flag by which Chromium takes this certificate for that of a known authority."""
    certificate = x509.load_pem_x509_certificate(certificates.chain.read_bytes())
    key = certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return f"--ignore-certificate-errors-spki-list={base64.b64encode(hashlib.sha256(key).digest()).decode()}"


@pytest.mark.parametrize("make", MAKES)
async def test_where_everything_is_open_nobody_goes_by_a_relay_or_by_tcp(scene: Scene, make: Make) -> None:
    async with scene.call(make, admitted=USUAL) as there:
        await there.goes_by("direct udp")


@pytest.mark.parametrize("make", MAKES)
async def test_where_udp_is_closed_media_goes_by_tcp_to_the_edge_without_a_relay(scene: Scene, make: Make) -> None:
    async with scene.call(make, admitted=Openings(tcp=(443, 3478))) as there:
        await there.goes_by("direct tcp")


@pytest.mark.parametrize("make", MAKES)
async def test_a_visitor_who_reaches_nothing_but_port_443_calls_an_agent_inside(scene: Scene, make: Make) -> None:
    async with scene.call(make, admitted=Openings(tcp=(443,))) as there:
        await there.goes_by("direct tcp")  # the port of pages takes media, too


@pytest.mark.parametrize("make", MAKES)
@pytest.mark.parametrize(
    ("admitted", "script", "way"),
    [
        pytest.param(USUAL, relay_only("udp$"), "relay udp", id="udp"),
        pytest.param(Openings(tcp=(443, 3478)), relay_only("^turn:"), "relay tcp", id="tcp"),
        pytest.param(Openings(tcp=(443,)), relay_only(), "relay tls", id="tls"),
    ],
)
async def test_who_may_use_a_relay_only_finds_it(
    scene: Scene, make: Make, admitted: Openings, script: str, way: str
) -> None:
    before = (await scene.made.edge.metrics())[RELAYED]
    async with scene.call(make, admitted=admitted, script=script) as there:
        await there.goes_by(way)
        metrics = await scene.made.edge.metrics()
        assert metrics[RELAYED] > before + 100
        assert metrics[PATHS] >= 1
    await metric_becomes(scene.made.edge, ALLOCATIONS, 0)


async def test_a_relayed_call_goes_on_and_takes_another_relay_and_the_next_one_begins_after_the_key_was_replaced(
    scene: Scene,
) -> None:
    before = await wrong_credentials(scene)
    async with scene.call("chromium", admitted=USUAL, script=relay_only("udp$")) as there:
        key_file(scene.directory).write_text("another key of tokens, which is as long as that")
        os.kill(scene.made.core.pid, signal.SIGHUP)
        await scene.made.core.process.wait_for_log('"token_key":')
        # By the credentials of before the page makes an allocation; the one that it has lives on until then.
        async with asyncio.timeout(20):
            await there.evaluate(RESTART_ICE)
        relayed_before = (await scene.made.edge.metrics())[RELAYED]
        await both_see_and_hear(there.page, scene.agent, seconds=2)
        assert (await scene.made.edge.metrics())[RELAYED] > relayed_before + 50
        await there.goes_by("relay udp")
    async with scene.call("chromium", admitted=USUAL, script=relay_only("udp$")) as there:
        await there.goes_by("relay udp")
    assert await wrong_credentials(scene) == before


async def wrong_credentials(scene: Scene) -> dict[str, float]:
    """Tokens and TURN credentials that the Edge took for wrong ones, by reason."""
    metrics = await scene.made.edge.metrics()
    found = {name: value for name, value in metrics.items() if any(word in name for word in WRONG_CREDENTIALS)}
    assert all(any(word in name for name in found) for word in WRONG_CREDENTIALS), sorted(metrics)
    return found


@pytest.mark.parametrize(
    ("admitted", "script", "way"),
    [
        pytest.param(Openings(tcp=(443, 3478)), "", "direct tcp", id="tcp"),
        pytest.param(USUAL, relay_only("udp$"), "relay udp", id="turn-udp"),
        pytest.param(Openings(tcp=(443,)), relay_only(), "relay tls", id="turn-tls"),
    ],
)
async def test_media_come_by_the_same_way_soon_after_the_edge_was_killed_and_is_back(
    scene: Scene, admitted: Openings, script: str, way: str
) -> None:
    async with scene.call("chromium", admitted=admitted, script=script) as there:
        assert isinstance(there.page, Tab)
        await there.goes_by(way)
        await kill_and_wait(scene.made.edge)
        # What was on its way has come, and nothing more does.
        await asyncio.sleep(1)
        page, shown = await page_gets(there.page), (await scene.agent.video_stats()).frames_shown
        await scene.made.edge.process.start()
        back = await answers(scene.made.edge)
        async with asyncio.timeout(60):
            times = await asyncio.gather(
                page_hears(there.page, page[0]), page_back(there.page, page), phone_back(scene.agent, shown)
            )
        told = ", ".join(f"{at - back:.2f} s" for at in times)
        sys.stdout.write(f"after the Edge ({way}): the page's sound, its picture, the phone's picture: {told}\n")
        assert max(times) - back < AIM_S
        await both_see_and_hear(there.page, scene.agent, seconds=3)
        assert way in await there.ways()


async def test_firefox_calls_an_agent_inside_while_udp_is_blocked_between_inside_and_the_zone(scene: Scene) -> None:
    await scene.rig.block_inner_udp()
    try:
        await metric_becomes(scene.made.edge, OVER_TLS, SHARDS)
        async with scene.call("firefox", admitted=USUAL):
            assert (await scene.made.edge.metrics())[OVER_TLS] == SHARDS
    finally:
        await scene.rig.block_inner_udp(False)


async def test_aiortc_publishes_and_watches_a_room_inside_by_a_relay_alone(scene: Scene) -> None:
    await scene.rig.admit_visitors(USUAL)
    core, before = scene.made.core, (await scene.made.edge.metrics())[RELAYED]
    got = await relayed(
        scene.directory,
        scene.rig.internet,
        whip=f"https://{NAME}/v1/rooms/stage/whip",
        whep=f"https://{NAME}/v1/rooms/stage/whep",
        publish=await core.room_token("stage", "publish"),
        view=await core.room_token("stage", "view"),
        ca=scene.directory / "page/certificates/ca.pem",
    )
    assert got.kinds == ["relay"]
    assert got.server == f"turn:{EDGE}:3478?transport=udp"
    assert got.level > 0.05
    assert (await scene.made.edge.metrics())[RELAYED] > before + 20
