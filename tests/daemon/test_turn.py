"""What the engine and pages are told of TURN."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from pathlib import Path

import pytest

from mediaserver.config.loader import InvalidConfig, load_text
from mediaserver.config.model import Config
from mediaserver.config.reload import taken_over
from mediaserver.config.secrets import SecretStore
from mediaserver.config.state import open_state
from mediaserver.daemon.edge_addresses import edge_addresses
from mediaserver.daemon.turn import (
    TurnSecrets,
    edge_turn_secret,
    ice_servers,
    prepared,
    relay_secrets,
    turn_config,
    turn_secrets,
)
from mediaserver.engine.config import OpenRelay
from mediaserver.link.edge_registry import EdgeRegistry
from tests.link.fakes import Pair

CLOSED = """
networks: {main: {addresses: [{bind: 192.0.2.5, announced: 203.0.113.5}, {bind: "2001:db8::5"}]}}
listeners: {turn: {port: 3478, credential_lifetime: 1h}}
"""
OPEN = """
networks: {main: {addresses: [{bind: 192.0.2.5, announced: 203.0.113.5}, {bind: 192.0.2.6}, {bind: "2001:db8::5"}]}}
listeners:
  turn:
    port: 3478
    relay: open
    ports: 40000-40999
    users: {ann: {secret: {env: ANN}}}
    shared_secret: {env: SHARED}
    allowed_peers: [10.1.0.0/16]
"""


def opened(text: str, folder: Path) -> tuple[Config, SecretStore]:
    config = load_text(text).config.model_copy(update={"state_dir": folder / "state"})
    return config, open_state(config).secrets


def test_without_a_port_there_is_no_turn(tmp_path: Path) -> None:
    config, secrets = opened("", tmp_path)
    assert turn_config(config, secrets=secrets) is None
    assert ice_servers(config, secrets=TurnSecrets(turn_secrets(config, secrets)))() == ()


def test_a_page_gets_credentials_that_the_engine_can_check(tmp_path: Path) -> None:
    config, secrets = opened(CLOSED, tmp_path)
    engine = turn_config(config, secrets=secrets)
    assert engine is not None
    assert engine.binds == ("192.0.2.5:3478", "[2001:db8::5]:3478")
    assert engine.open is None
    assert engine.users == ()
    (server,) = ice_servers(config, secrets=TurnSecrets(turn_secrets(config, secrets)))()
    assert server.urls == (
        "turn:203.0.113.5:3478?transport=udp",
        "turn:[2001:db8::5]:3478?transport=udp",
        "turn:203.0.113.5:3478?transport=tcp",
        "turn:[2001:db8::5]:3478?transport=tcp",
    )
    assert server.username is not None
    expiry, _, session = server.username.partition(":")
    assert 3590 <= int(expiry) - time.time() <= 3600
    assert session
    digest = hmac.new(engine.secrets[0], server.username.encode(), hashlib.sha1).digest()
    assert server.credential == base64.b64encode(digest).decode()


def test_each_page_gets_credentials_of_its_own(tmp_path: Path) -> None:
    config, secrets = opened(CLOSED, tmp_path)
    servers = ice_servers(config, secrets=TurnSecrets(turn_secrets(config, secrets)))
    sessions = {str(servers()[0].username).partition(":")[2] for _ in range(20)}
    assert len(sessions) == 20


def test_an_open_relay_has_one_address_of_each_family_and_is_not_for_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANN", "correct horse")
    monkeypatch.setenv("SHARED", "of the house")
    config, secrets = opened(OPEN, tmp_path)
    engine = turn_config(config, secrets=secrets)
    assert engine is not None
    assert engine.users == (("ann", "correct horse"),)
    assert engine.secrets == (b"of the house",)
    assert isinstance(engine.open, OpenRelay)
    assert sorted(engine.open.addresses) == [("192.0.2.5", "203.0.113.5"), ("2001:db8::5", "2001:db8::5")]
    assert engine.open.ports == (40_000, 40_999)
    assert engine.open.allowed == ("10.1.0.0/16",)
    assert ice_servers(config, secrets=TurnSecrets(turn_secrets(config, secrets)))() == ()


def test_a_relay_that_was_closed_at_the_start_takes_no_users_by_a_reload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANN", "correct horse")
    monkeypatch.setenv("SHARED", "of the house")
    closed, secrets = opened(CLOSED, tmp_path)
    in_force = taken_over(closed, opened(OPEN, tmp_path)[0])
    assert set(in_force.listeners.turn.users) == {"ann"}
    assert turn_secrets(in_force, secrets).users == {}
    config, secrets = opened(OPEN, tmp_path)
    assert turn_secrets(config, secrets).users == {"ann": "correct horse"}


def test_names_and_passwords_are_prepared_as_clients_prepare_them() -> None:
    assert prepared("caf\u0065\u0301\u00a0bar") == "caf\u00e9 bar"


def test_a_page_is_told_of_tls_by_the_name_that_its_certificate_is_for(tmp_path: Path) -> None:
    shared = "{bind: ['0.0.0.0:443', '[::]:443'], turn_name: turn.example.org}"
    config, secrets = opened(CLOSED.replace("1h}}", f"1h, tcp: null}}, shared_tls: {shared}}}"), tmp_path)
    engine = turn_config(config, secrets=secrets)
    assert engine is not None
    assert engine.tcp_binds == ()
    (server,) = ice_servers(config, secrets=TurnSecrets(turn_secrets(config, secrets)))()
    assert server.urls[2:] == ("turns:turn.example.org:443?transport=tcp",)


EDGE = """
role: edge
networks: {main: {addresses: [{bind: 192.0.2.5, announced: 203.0.113.5}]}}
listeners:
  webrtc: {port: 3478}
  turn: {port: 3478}
  shared_tls: {bind: ['192.0.2.5:443', '192.0.2.5:5349'], names: [video.example.org], turn_name: turn.example.org}
link: {cores: {inside: {name: core.example.org, certificate_file: core.pem}}}
"""


def test_an_edge_shares_its_ports_between_media_and_turn_and_has_no_secret_of_its_own() -> None:
    config = load_text(EDGE).config
    engine = turn_config(config, secrets=None)
    assert engine is not None
    assert (engine.binds, engine.tcp_binds) == (("192.0.2.5:3478",), ("192.0.2.5:3478",))
    assert (engine.secrets, engine.users, engine.open) == ((), (), None)


def test_pages_of_a_core_are_told_every_way_to_the_relays_of_its_edges(tmp_path: Path) -> None:
    told = edge_addresses(load_text(EDGE).config)
    assert [(each.protocol, each.ip, each.port) for each in told if each.purpose == "media"] == [
        ("udp", "203.0.113.5", 3478),
        ("tcp", "203.0.113.5", 3478),
        ("tcp", "203.0.113.5", 443),
    ]
    config, secrets = opened("", tmp_path)
    pair = Pair()
    edges = EdgeRegistry()
    edges.add(pair.core)
    servers = ice_servers(config, secrets=TurnSecrets(turn_secrets(config, secrets)), edges=edges)
    assert servers() == ()
    pair.edge.set_addresses(told)
    pair.connect()
    (server,) = servers()
    assert server.urls == (
        "turn:203.0.113.5:3478?transport=udp",
        "turn:203.0.113.5:3478?transport=tcp",
        "turns:turn.example.org:443?transport=tcp",
        "turns:turn.example.org:5349?transport=tcp",
    )
    assert server.username is not None
    secret = edge_turn_secret(config, secrets)
    digest = hmac.new(secret, server.username.encode(), hashlib.sha1).digest()
    assert server.credential == base64.b64encode(digest).decode()
    # One session's credentials are not another's.
    assert servers()[0].username != server.username
    pair.cut()
    assert servers() == ()


def test_the_relay_of_this_daemon_and_those_of_edges_have_secrets_of_their_own(tmp_path: Path) -> None:
    config, secrets = opened(CLOSED, tmp_path)
    engine = turn_config(config, secrets=secrets)
    assert engine is not None
    assert engine.secrets != (edge_turn_secret(config, secrets),)


def test_of_the_secrets_of_all_cores_those_in_use_come_first() -> None:
    assert relay_secrets([(b"a", b"old a"), (b"b",), (), (b"c", b"old c")]) == (b"a", b"b", b"c", b"old a", b"old c")


def test_an_edge_is_no_open_relay() -> None:
    turn = "turn: {port: 3478, relay: open, users: {ann: {secret: {env: ANN}}}}"
    with pytest.raises(InvalidConfig, match="leads to its Cores and nowhere else"):
        load_text(EDGE.replace("turn: {port: 3478}", turn))
