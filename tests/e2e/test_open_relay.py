"""An open relay with ports of its own: who may use nothing else reaches an agent, and a room, by it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import pytest
import pytest_asyncio
import yaml

from mediaserver.daemon.finding import Way
from mediaserver.daemon.turn_probe import take_and_give_back
from mediaserver.edge.credentials import TurnCredentials
from tests.e2e.house import ENTRY, both_see_and_hear, phone
from tests.e2e.test_reload import reload
from tests.e2e.visitors import FOR_BOTH, MAKES, Make, visitor
from tests.peers.aiortc_relayed import relayed
from tests.peers.baresip import Baresip, baresip
from tests.peers.chromium import Chromium, chromium
from tests.peers.daemon import Daemon, daemon
from tests.peers.firefox import Firefox, firefox
from tests.peers.namespace import LOOPBACK as HOST
from tests.peers.namespace import Namespace, namespace

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.e2e, pytest.mark.timeout(240)]

TURN_PORT = 3478
PORTS = "36000-36099"
USER, PASSWORD = "relay-user", "a-password-of-relays"
RELAYED = 'mediaserver_engine_turn_packets_to_peers_total{shard="relay"}'

BY_RELAY_ALONE = Template("""
window.RTCPeerConnection = class extends RTCPeerConnection {
  constructor(configuration) {
    super({ ...configuration, iceServers: [$server], iceTransportPolicy: "relay" });
  }
};
""")

ADDRESSES = """async () => {
  const found = [];
  for (const connection of window.__connections)
    for (const item of (await connection.getStats()).values())
      if (item.type === "local-candidate" && item.candidateType === "relay") found.push([item.address, item.port]);
  return found;
}"""


@dataclass(frozen=True, slots=True)
class Scene:
    """One daemon that relays for those who have a password, and whoever uses it."""

    directory: Path
    inside: Namespace
    server: Daemon
    browsers: Mapping[Make, Chromium | Firefox]
    agent: Baresip

    @property
    def turn(self) -> dict[str, str]:
        return {
            "urls": f"turn:{self.inside.address}:{TURN_PORT}?transport=udp",
            "username": USER,
            "credential": PASSWORD,
        }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    directory = tmp_path_factory.mktemp("relay")
    secret = directory / "relay.secret"
    secret.touch(mode=0o600)
    secret.write_text(PASSWORD)
    async with namespace() as inside:
        turn = {
            "port": TURN_PORT,
            "relay": "open",
            "users": {USER: {"secret": {"file": str(secret)}}},
            "ports": PORTS,
            # The daemon's own media are at an inner address, which an open relay keeps its users from.
            "allowed_peers": [f"{inside.address}/32"],
        }
        changes = {**ENTRY, "listeners": {"turn": turn, "webrtc": {"tcp": None}}}
        async with (
            daemon(directory, changes=changes, network=inside) as server,
            chromium(directory, network=inside) as one,
            firefox(directory, inside) as other,
            baresip(phone(server, "udp", "", **FOR_BOTH), directory, network=inside) as agent,
        ):
            await agent.wait_registered()
            yield Scene(directory, inside, server, {"chromium": one, "firefox": other}, agent)


@pytest.mark.parametrize("make", MAKES)
async def test_a_visitor_who_may_use_a_relay_only_calls_an_agent(scene: Scene, make: Make) -> None:
    before = (await scene.server.metrics())[RELAYED]
    servers = ", ".join(f'{name}: "{value}"' for name, value in scene.turn.items())
    script = BY_RELAY_ALONE.substitute(server=f"{{{servers}}}")
    async with visitor(scene.browsers[make], f"{scene.server.http_url}/call/demo", script=script) as one:
        await one.click("Video call")
        await scene.agent.wait_established()
        await one.click("Show my camera")
        await both_see_and_hear(one.page, scene.agent, seconds=3)
        assert await one.ways() == {"relay udp"}
        low, high = map(int, PORTS.split("-"))
        addresses = await one.evaluate(ADDRESSES)
        assert addresses
        assert all(host == scene.inside.address and low <= port <= high for host, port in addresses), addresses
        assert (await scene.server.metrics())[RELAYED] > before + 100
        await scene.agent.hangup()


async def test_users_come_go_and_change_their_passwords_by_a_reload(tmp_path: Path) -> None:
    first, second = tmp_path / "first.secret", tmp_path / "second.secret"
    for secret, password in ((first, PASSWORD), (second, "of the second")):
        secret.touch(mode=0o600)
        secret.write_text(password)

    def section(**users: Path) -> dict[str, Any]:
        named = {name: {"secret": {"file": str(secret)}} for name, secret in users.items()}
        return {"turn": {"port": port, "relay": "open", "ports": PORTS, "users": named}}

    async def codes(*users: tuple[str, str]) -> list[int]:
        way = Way("udp", "127.0.0.1", port)
        return [(await take_and_give_back(way, TurnCredentials(*user))).code for user in users]

    port = HOST.free_port()
    everybody = (("one", PASSWORD), ("one", "one-more-password"), ("two", "of the second"))
    async with daemon(tmp_path, changes={"listeners": section(one=first)}) as server:
        assert await codes(*everybody) == [0, 401, 401]
        listeners = yaml.safe_load(server.config_path.read_text())["listeners"]
        first.write_text("one-more-password")
        await reload(server, {"listeners": {**listeners, **section(one=first, two=second)}})
        assert await codes(*everybody) == [401, 0, 0]
        await reload(server, {"listeners": {**listeners, **section(two=second)}}, count=2)
        assert await codes(*everybody) == [401, 401, 0]
        log = server.log()
        assert not any(password in log for password in (PASSWORD, "one-more-password", "of the second"))


async def test_aiortc_publishes_and_watches_by_a_relay_alone(scene: Scene) -> None:
    before = (await scene.server.metrics())[RELAYED]
    got = await relayed(
        scene.directory,
        scene.inside,
        whip=scene.server.room_url("stage", "whip"),
        whep=scene.server.room_url("stage", "whep"),
        publish=await scene.server.room_token("stage", "publish"),
        view=await scene.server.room_token("stage", "view"),
        server=scene.turn,
    )
    assert got.kinds == ["relay"]
    assert got.level > 0.05
    assert (await scene.server.metrics())[RELAYED] > before + 20
