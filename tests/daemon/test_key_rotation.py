"""Another secret is adopted by a reload: Edges and our own relay know it before a page is told credentials of it."""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Any

import structlog

from mediaserver.config.loader import load_text
from mediaserver.daemon.key_rotation import KeyRotation
from mediaserver.daemon.turn import FreshTurnSecrets, TurnSecrets, ice_servers
from mediaserver.engine import commands
from mediaserver.engine.config import EngineConfig, TurnConfig
from mediaserver.link.edge_registry import EdgeRegistry
from mediaserver.link.messages import EdgeAddress
from mediaserver.link.token_keys import TokenKeys, named
from mediaserver.webrtc.messages import IceServer
from tests.link.fakes import Pair

TURN = EdgeAddress(protocol="udp", ip="203.0.113.5", port=3478, purpose="turn")
CONFIG = load_text("networks: {main: {addresses: [{bind: 192.0.2.5}]}}\nlisteners: {turn: {port: 3478}}\n").config


def key(number: int) -> bytes:
    return bytes([number]) * 32


def fresh(number: int) -> FreshTurnSecrets:
    return FreshTurnSecrets(own=key(number), of_edges=key(number + 100))


@dataclass
class FakeEngine:
    submitted: list[commands.Command] = field(default_factory=list)
    config: EngineConfig = field(
        default_factory=lambda: EngineConfig(
            shards=2,
            turn=TurnConfig(binds=(), realm="house", allocations=1, allocations_per_user=1, answers_per_second=1),
        )
    )

    def submit(self, *batch: commands.Command) -> None:
        self.submitted += batch


class House:
    """A Core with one Edge."""

    def __init__(self) -> None:
        self.pair = Pair()
        self.registry = EdgeRegistry()
        self.registry.add(self.pair.core)
        self.pair.edge.set_addresses((TURN,))
        self.pair.connect()
        self.tokens, self.turn, self.engine = TokenKeys(key(1)), TurnSecrets(fresh(1)), FakeEngine()
        self.servers = ice_servers(CONFIG, secrets=self.turn, edges=self.registry)
        edges: Any = self
        engine: Any = self.engine
        self.rotation = KeyRotation(self.tokens, self.turn, engine=engine, edges=edges)

    def announce_keys(self) -> None:
        self.registry.set_keys(self.tokens.all, self.turn.of_edges.all)
        self.pair.carry()


def made_by(server: IceServer) -> int:
    """The number of the secret."""
    assert server.username is not None
    for number in range(256):
        digest = hmac.new(key(number), server.username.encode(), hashlib.sha1).digest()
        if server.credential == base64.b64encode(digest).decode():
            return number
    raise AssertionError("nobody's credentials")


def test_edges_and_relay_take_both_and_pages_are_told_the_new_one() -> None:
    house = House()
    assert [made_by(server) for server in house.servers()] == [1, 101]
    house.rotation.adopt(key(1), fresh(2))
    assert house.pair.sink.keys[-1].turn == (key(102), key(101))
    assert house.engine.submitted == [commands.SetTurnSecrets(id=0, secrets=(key(2), key(1)))]
    assert [made_by(server) for server in house.servers()] == [2, 102]


def test_the_secret_before_the_last_counts_no_more() -> None:
    house = House()
    house.rotation.adopt(key(1), fresh(2))
    house.rotation.adopt(key(1), fresh(3))
    assert house.pair.sink.keys[-1].turn == (key(103), key(102))
    assert house.engine.submitted[-1] == commands.SetTurnSecrets(id=0, secrets=(key(3), key(2)))


def test_what_is_the_same_is_told_to_nobody() -> None:
    house = House()
    before = len(house.pair.sink.keys)
    house.rotation.adopt(key(1), fresh(1))
    assert (len(house.pair.sink.keys), house.engine.submitted) == (before, [])


def test_keys_of_tokens_go_to_every_shard_after_the_edges() -> None:
    house = House()
    house.rotation.adopt(key(2), fresh(1))
    assert [each.secret for each in house.pair.sink.keys[-1].tokens] == [key(2), key(1)]
    keys = [each for each in house.engine.submitted if isinstance(each, commands.SetUfragKey)]
    assert [(each.key_id, each.key) for each in keys] == [(named(key(2)).id, key(2))] * 2


def test_a_refused_key_of_tokens_leaves_turn_as_it_was() -> None:
    house = House()
    same = next(number.to_bytes(32) for number in range(100_000) if named(number.to_bytes(32)).id == named(key(1)).id)
    house.rotation.adopt(same, fresh(2))
    assert house.turn.of_edges.all == (key(101),)
    assert [made_by(server) for server in house.servers()] == [1, 101]


def test_an_edge_that_was_away_is_told_both_when_it_comes() -> None:
    house = House()
    house.pair.cut()
    house.rotation.adopt(key(1), fresh(2))
    house.pair.connect()
    assert house.pair.sink.keys[-1].turn == (key(102), key(101))


def with_users(**users: str) -> FreshTurnSecrets:
    return FreshTurnSecrets(own=key(1), of_edges=key(101), users=users)


def test_named_users_of_the_relay_are_told_whenever_one_of_them_changes() -> None:
    house = House()
    told = []
    for users in ({"ann": "one", "bob": "two"}, {"ann": "one", "bob": "three"}, {"bob": "three"}, {"bob": "three"}, {}):
        with structlog.testing.capture_logs() as logs:
            house.rotation.adopt(key(1), with_users(**users))
        told.append([log["turn_user"] for log in logs])
    assert told == [["ann", "bob"], ["bob"], ["ann"], [], ["bob"]]
    assert house.engine.submitted == [
        commands.SetTurnUsers(id=0, users=(("ann", "one"), ("bob", "two"))),
        commands.SetTurnUsers(id=0, users=(("ann", "one"), ("bob", "three"))),
        commands.SetTurnUsers(id=0, users=(("bob", "three"),)),
        commands.SetTurnUsers(id=0, users=()),
    ]


def test_an_engine_without_a_relay_is_told_of_no_users() -> None:
    house = House()
    house.engine.config = EngineConfig()
    house.rotation.adopt(key(1), with_users(ann="one"))
    assert house.engine.submitted == []


def test_an_open_relay_without_a_shared_secret_has_none() -> None:
    assert TurnSecrets(FreshTurnSecrets(own=b"", of_edges=key(1))).relayed_by_us == ()
