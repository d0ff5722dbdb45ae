"""The ports of an Edge are tried one by one, and each finding says what would open it."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from pathlib import Path

import pytest

from mediaserver.config.loader import load_text
from mediaserver.config.model import Config
from mediaserver.config.values import SocketAddress
from mediaserver.daemon import port_check
from mediaserver.daemon.finding import Finding
from mediaserver.daemon.port_check import all_of, from_core, from_outside, on_core, on_edge
from mediaserver.edge.credentials import CredentialMint
from mediaserver.engine import certificate
from mediaserver.link.messages import EdgeAddress
from tests.engine.edge_pair import LOOPBACK, SECRET, Pair, edge_and_core
from tests.peers.certificates import write_certificates
from tests.peers.namespace import LOOPBACK as HOST

PUBLIC = "127.0.0.2"
MINT = CredentialMint(secret=SECRET, lifetime_s=60.0, clock=lambda: 4e9)


def edge(folder: Path, *, media: int, turn: int | None, tls: int, more: str = "") -> Config:
    return load_text(
        f"role: edge\nstate_dir: {folder}\n"
        "networks: {main: {addresses: [{bind: 127.0.0.1}]}}\n"
        "listeners:\n"
        f"  webrtc: {{port: {media}}}\n"
        f"  turn: {{port: {'null' if turn is None else turn}}}\n"
        f"  shared_tls: {{bind: ['127.0.0.1:{tls}'], names: [localhost], turn_name: turn.localhost}}\n"
        f"  admin: {{bind: ['127.0.0.1:{HOST.free_port()}']}}\n"
        "link: {cores: {inside: {name: core.example, certificate_file: core.pem}}}\n"
        f"{more}"
    ).config


def by_what(found: list[Finding]) -> dict[str, list[str]]:
    states: dict[str, list[str]] = {}
    for each in found:
        states.setdefault(each.what, []).append(each.state)
    return states


async def with_pair(look: object) -> None:
    async with edge_and_core(certificate.generate(), workers=1) as pair:
        await look(pair)  # type: ignore[operator]


async def test_every_port_of_a_running_edge_is_found_good(tmp_path: Path) -> None:
    async def look(pair: Pair) -> None:
        found = await all_of(on_edge(edge(tmp_path, media=pair.port, turn=pair.port, tls=pair.tls_port)))
        assert by_what(found) == {
            "pages and TURN over TLS": ["good"],
            # UDP and TCP: it is one port for both.
            "TURN and media of visitors": ["good", "good"],
            "TURN": ["good"],
        }

    await with_pair(look)


async def test_without_turn_media_ports_are_looked_at_by_themselves(tmp_path: Path) -> None:
    async def look(pair: Pair) -> None:
        config = edge(tmp_path, media=pair.port, turn=None, tls=pair.tls_port)
        found = await all_of(on_edge(config))
        assert by_what(found) == {
            "pages and TURN over TLS": ["good"],
            "media of visitors": ["good"],
            # On its own port, and on that of pages.
            "media of visitors (ICE-TCP)": ["good", "good"],
        }

    await with_pair(look)


async def test_an_edge_that_does_not_run_is_told_port_by_port(tmp_path: Path) -> None:
    more = f"edge: {{sip_tls: {HOST.free_port()}, sip_media_ports: 20000-20099}}\n"
    config = edge(tmp_path, media=HOST.free_port(), turn=HOST.free_port(), tls=HOST.free_port(), more=more)
    found = by_what(await all_of(on_edge(config)))
    assert found.pop("media of phones and trunks") == ["note"]
    assert found == {
        "pages and TURN over TLS": ["bad"],
        "TURN": ["bad"] * 3,
        "media of visitors": ["bad"],
        "media of visitors (ICE-TCP)": ["bad"],
        "SIP over TLS": ["bad"],
    }


async def test_from_outside_the_rule_of_the_firewall_is_named(tmp_path: Path) -> None:
    turn = HOST.free_port()
    config = edge(tmp_path, media=turn, turn=turn, tls=HOST.free_port())
    found = await all_of(from_outside(config))
    udp = next(each for each in found if each.what == "TURN and media of visitors")
    assert udp.said.startswith(f"UDP 127.0.0.1:{turn} refuses")
    assert f"an outer firewall that lets UDP 127.0.0.1:{turn} pass" in udp.right
    assert "page localhost" in by_what(found)


async def test_what_drops_everything_is_told_from_what_refuses(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
        deaf.bind((LOOPBACK, 0))
        turn = deaf.getsockname()[1]
        config = edge(tmp_path, media=turn, turn=turn, tls=HOST.free_port())
        found = await all_of(from_outside(config))
    udp = next(each for each in found if each.what == "TURN and media of visitors")
    assert "does not answer: the outer firewall drops it" in udp.said


async def test_a_media_port_that_answers_visitors_alone_is_noted_and_not_guessed(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind((LOOPBACK, 0))
        media = silent.getsockname()[1]
        found = await all_of(from_outside(edge(tmp_path, media=media, turn=None, tls=HOST.free_port())))
    udp = next(each for each in found if each.what == "media of visitors")
    assert (udp.state, f"listeners.turn.port: {media}" in udp.said) == ("note", True)


async def test_addresses_that_only_the_edge_can_look_up_are_asked_for() -> None:
    config = load_text(
        "role: edge\nlink: {cores: {inside: {name: core.example, certificate_file: core.pem}}}\n"
        "listeners: {webrtc: {port: 3478}}\n"
    ).config
    (found,) = await all_of(from_outside(config))
    assert (found.state, "networks.main says bind: auto" in found.said) == ("unknown", True)


async def test_the_link_must_be_closed_to_the_internet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = edge(tmp_path, media=HOST.free_port(), turn=None, tls=HOST.free_port())
    # Loopback is nobody's internet; here another address of it stands for one that is not.
    assert not [each for each in await all_of(from_outside(config)) if "from outside" in each.what]
    monkeypatch.setattr(port_check, "_is_loopback", lambda host: host != PUBLIC)
    with socket.create_server((PUBLIC, 0)) as listener:
        port = listener.getsockname()[1]
        link = config.link.model_copy(update={"listen": SocketAddress(PUBLIC, port)})
        config = config.model_copy(update={"link": link})
        found = await all_of(from_outside(config))
        opened = next(each for each in found if each.what == "the link, from outside")
        assert (opened.state, opened.said) == ("bad", f"TCP {PUBLIC}:{port} is open to the internet")
    found = await all_of(from_outside(config))
    assert next(each for each in found if each.what == "the link, from outside").state == "good"


async def test_sip_leads_to_a_certificate_that_is_named(tmp_path: Path) -> None:
    shown = write_certificates(tmp_path / "sip", "sip.bank.example")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(shown.chain, shown.key)

    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(serve, LOOPBACK, 0, ssl=context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        more = f"edge: {{sip_tls: {port}}}\n"
        config = edge(tmp_path, media=HOST.free_port(), turn=None, tls=HOST.free_port(), more=more)
        outside = await all_of(from_outside(config))
        address = EdgeAddress(protocol="tls", ip=LOOPBACK, port=port, purpose="sip")
        right = ssl.PEM_cert_to_DER_cert(shown.chain.read_text().split("-----END CERTIFICATE-----")[0] + END)
        own, another = [
            (await all_of(from_core("dmz", [address], credentials=MINT.mint(), sip_certificate=expected)))[0]
            for expected in (right, b"another one")
        ]
    sip = next(each for each in outside if each.what == "SIP over TLS")
    assert (sip.state, "for sip.bank.example" in sip.said) == ("good", True)
    assert (own.state, another.state) == ("good", "bad")
    assert "is not that of listeners.sip here" in another.said


END = "-----END CERTIFICATE-----\n"


async def test_a_core_tries_turn_with_credentials_of_its_pages(tmp_path: Path) -> None:
    async def look(pair: Pair) -> None:
        addresses = [
            EdgeAddress(protocol="udp", ip=LOOPBACK, port=pair.port, purpose="turn"),
            EdgeAddress(protocol="tcp", ip=LOOPBACK, port=pair.port, purpose="turn"),
            EdgeAddress(protocol="tls", ip=LOOPBACK, port=pair.tls_port, purpose="turn", name="turn.example.org"),
            EdgeAddress(protocol="udp", ip=LOOPBACK, port=pair.port, purpose="media"),
        ]
        found = await all_of(from_core("dmz", addresses, credentials=MINT.mint(), sip_certificate=b""))
        assert [each.state for each in found] == ["good"] * 3, found
        assert all("takes credentials of this Core, and gave and took back" in each.said for each in found)
        stranger = CredentialMint(secret=os.urandom(32), lifetime_s=60.0, clock=lambda: 4e9)
        found = await all_of(from_core("dmz", addresses, credentials=stranger.mint(), sip_certificate=b""))
        assert [each.state for each in found] == ["bad"] * 3
        assert "refuses the credentials that this Core gives to pages" in found[0].said

    await with_pair(look)


async def test_what_a_core_cannot_reach_it_need_not_reach() -> None:
    addresses = [
        EdgeAddress(protocol="udp", ip=LOOPBACK, port=HOST.free_port(), purpose="turn"),
        EdgeAddress(protocol="tls", ip=LOOPBACK, port=HOST.free_port(), purpose="sip"),
    ]
    found = await all_of(from_core("dmz", addresses, credentials=MINT.mint(), sip_certificate=b""))
    assert [each.state for each in found] == ["note", "note"]
    assert all("check-link --outside" in each.said for each in found)


async def test_a_core_that_does_not_run_is_told_its_own_ports(tmp_path: Path) -> None:
    config = load_text(
        f"role: core\nstate_dir: {tmp_path}\n"
        "networks: {main: {addresses: [{bind: 127.0.0.1}]}}\n"
        f"listeners:\n  webrtc: {{port: {HOST.free_port()}}}\n  https: {{bind: []}}\n"
        f"  sip: {{udp: {HOST.free_port()}, tcp: {HOST.free_port()}, tls: {HOST.free_port()}}}\n"
        "link: {edges: {dmz: {address: '127.0.0.1:7443', name: edge.example, certificate_file: edge.pem}}}\n"
    ).config
    assert by_what(await all_of(on_core(config))) == {
        "media of browsers": ["bad"],
        "media of browsers (ICE-TCP)": ["bad"],
        "SIP": ["bad", "bad"],
        "SIP over TLS": ["bad"],
        "media of SIP legs": ["note"],
    }
