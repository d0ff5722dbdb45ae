"""What firewalls must allow, and what the daemon says when it is ready."""

from __future__ import annotations

from pathlib import Path

from mediaserver.config.document import shipped
from mediaserver.config.firewall import openings
from mediaserver.config.loader import load_text
from mediaserver.config.model import Config
from mediaserver.config.state import open_state
from mediaserver.config.welcome import welcome


def test_loopback_listeners_need_no_opening() -> None:
    assert {(opening.protocol, opening.ports) for opening in openings(Config())} == {
        ("tcp", "8443"),
        ("udp", "10000"),
        ("tcp", "10000"),
        ("udp", "5060"),
        ("tcp", "5060"),
        ("tcp", "5061"),
        ("udp", "20000-29999"),
    }


def test_networks_narrow_sources_and_show_what_is_announced() -> None:
    config = load_text(
        "networks:\n"
        "  inside: {addresses: [{bind: 10.0.0.5}], cidrs: [10.0.0.0/8]}\n"
        "  outside: {addresses: [{bind: 192.0.2.5, announced: 203.0.113.5}]}\n"
        "listeners:\n"
        "  sip: {networks: [inside], tcp: null, tls: null}\n"
        "  webrtc: {networks: [outside], tcp: 443}\n"
        "  https: {bind: []}\n"
    ).config
    assert [(o.source, o.address, o.protocol, o.ports) for o in openings(config)] == [
        ("browsers", "192.0.2.5 (announced as 203.0.113.5)", "udp", "10000"),
        ("browsers", "192.0.2.5 (announced as 203.0.113.5)", "tcp", "443"),
        ("10.0.0.0/8", "10.0.0.5", "udp", "5060"),
        ("10.0.0.0/8", "10.0.0.5", "udp", "20000-29999"),
    ]


def test_media_of_browsers_may_have_a_port_for_each_thread() -> None:
    config = load_text("listeners: {webrtc: {port: 10000, port_count: 4}}\n").config
    assert ("udp", "10000-10003") in {(opening.protocol, opening.ports) for opening in openings(config)}


def test_the_shared_tls_port_is_an_opening() -> None:
    config = load_text("listeners: {shared_tls: {bind: ['0.0.0.0:443'], names: [Calls.Example.org]}}\n").config
    assert config.listeners.shared_tls.names == ("calls.example.org",)
    assert ("browsers", "every address", "tcp", "443") in {
        (opening.source, opening.address, opening.protocol, opening.ports) for opening in openings(config)
    }


def test_media_of_browsers_may_be_taken_by_udp_only() -> None:
    config = load_text("listeners: {webrtc: {tcp: null}}\n").config
    assert ("tcp", "10000") not in {(opening.protocol, opening.ports) for opening in openings(config)}


def test_the_welcome_names_pages_server_user_and_password(tmp_path: Path) -> None:
    config = shipped().model_copy(update={"state_dir": tmp_path / "state"})
    secrets = open_state(config).secrets
    password = secrets.text(config.users["agent"].secret)
    lines = dict(welcome(config, secrets, with_passwords=True))
    assert lines["Caller page"].startswith("http://localhost:8080/call/demo")
    assert lines["Agent page"].startswith("http://localhost:8080/agent")
    assert "TLS 5061" in lines["SIP server"]
    assert lines["User agent"] == f"password {password}"


def test_the_welcome_without_passwords_names_their_file(tmp_path: Path) -> None:
    config = shipped().model_copy(update={"state_dir": tmp_path / "state"})
    secrets = open_state(config).secrets
    password = secrets.text(config.users["agent"].secret)
    said = str(list(welcome(config, secrets, with_passwords=False)))
    assert password not in said
    assert "secrets/agent-password" in said
