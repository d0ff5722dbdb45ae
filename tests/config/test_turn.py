"""The TURN section: what it refuses, and what a firewall is told of it."""

from __future__ import annotations

import pytest

from mediaserver.config.firewall import openings
from mediaserver.config.loader import load_text
from mediaserver.config.model import Config
from mediaserver.errors import ConfigError


def turn_openings(config: Config) -> set[tuple[str, str, str]]:
    return {(each.protocol, each.ports, each.purpose) for each in openings(config) if "TURN" in each.purpose}


def test_turn_is_off_until_it_is_given_a_port() -> None:
    config = load_text("").config
    assert config.listeners.turn.port is None
    assert turn_openings(config) == set()


def test_a_closed_relay_needs_one_port() -> None:
    config = load_text("listeners: {turn: {port: 3478}}\n").config
    assert turn_openings(config) == {("udp", "3478", "TURN"), ("tcp", "3478", "TURN")}
    config = load_text("listeners: {turn: {port: 3478, tcp: null}}\n").config
    assert turn_openings(config) == {("udp", "3478", "TURN")}


def test_an_open_relay_needs_its_relayed_ports_too() -> None:
    text = "listeners: {turn: {port: 3478, relay: open, ports: 40000-40999, users: {ann: {secret: {env: ANN}}}}}\n"
    assert turn_openings(load_text(text).config) == {
        ("udp", "3478", "TURN"),
        ("tcp", "3478", "TURN"),
        ("udp", "40000-40999", "relayed addresses of TURN"),
    }


@pytest.mark.parametrize(
    ("section", "what"),
    [
        ("relay: open", "users or a shared_secret"),
        ("users: {ann: {secret: {env: ANN}}}", "relay: open"),
        ("shared_secret: {env: SHARED}", "relay: open"),
        (f"realm: {'r' * 29}", "realm"),
        ("networks: [nowhere]", "nowhere"),
    ],
)
def test_what_makes_no_sense_is_refused(section: str, what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        load_text(f"listeners: {{turn: {{port: 3478, {section}}}}}\n")


@pytest.mark.parametrize(
    ("port", "what"), [(5060, "SIP already"), (10000, "WebRTC already"), (20001, "inside media.sip_ports")]
)
def test_a_port_that_is_taken_is_refused(port: int, what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        load_text(f"listeners: {{turn: {{port: {port}}}}}\n")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("turn: {port: 3478, tcp: 5060}", "5060 is the TCP port of SIP already"),
        ("turn: {port: 3478, tcp: 5061}", "5061 is the TCP port of SIP over TLS already"),
        ("turn: {port: 3478, tcp: 10000}", "10000 is the TCP port of WebRTC already"),
        ("turn: {port: 3478}, webrtc: {tcp: 3478}", "3478 is the TCP port of WebRTC already"),
        ("turn: {port: 8443}", r"0\.0\.0\.0:8443 is taken by listeners\.https already"),
        (
            "turn: {port: 3478, tcp: 443}, shared_tls: {bind: ['[::]:443']}",
            r"\[::\]:443 is taken by listeners\.shared_tls",
        ),
        ("turn: {port: 3478, tcp: 8080}", r"127\.0\.0\.1:8080 is taken by listeners\.http already"),
    ],
)
def test_a_tcp_port_that_is_taken_is_refused(text: str, what: str) -> None:
    with pytest.raises(ConfigError, match=rf"listeners\.turn\.tcp: .*{what}"):
        load_text(f"listeners: {{{text}}}\n")


@pytest.mark.parametrize(
    "text",
    [
        "turn: {port: 5061, tcp: null}",
        "turn: {port: 5061, tcp: 3478}",
        "turn: {port: null, tcp: 5061}",
        "turn: {port: 3478, tcp: 8443}, https: {bind: ['198.51.100.9:8443']}",
    ],
)
def test_a_tcp_port_that_is_free_at_turns_address_is_taken(text: str) -> None:
    load_text(f"networks: {{main: {{addresses: [{{bind: 192.0.2.5}}]}}}}\nlisteners: {{{text}}}\n")


@pytest.mark.parametrize(
    "text", ["turn: {port: 3478, networks: [[]]}", "turn: {port: 3478}, https: {bind: 5}", "turn: 5"]
)
def test_what_has_no_right_shape_is_named_and_no_more(text: str) -> None:
    with pytest.raises(ConfigError):
        load_text(f"listeners: {{{text}}}\n")
