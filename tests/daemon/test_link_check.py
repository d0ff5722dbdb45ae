"""`check-link`: what is blocked, in plain words, with real sockets and certificates."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mediaserver.config.loader import load_text
from mediaserver.config.model import Config
from mediaserver.daemon.caa import Property
from mediaserver.daemon.finding import Finding
from mediaserver.daemon.link_check import findings
from tests.e2e.zone import LinkFiles, link_files
from tests.peers.namespace import LOOPBACK


async def no_caa(_name: str) -> list[Property]:
    return []


async def looked_at(config: Config) -> list[Finding]:
    return [finding async for finding in findings(config, ask_caa=no_caa)]


async def links(config: Config) -> list[Finding]:
    """Those about the link; a Core's ports have tests of their own."""
    return [each for each in await looked_at(config) if each.what.startswith(("link to", "media ports of"))]


def core(folder: Path, own: LinkFiles, edge: LinkFiles, port: int, *, admin: str = "") -> Config:
    return load_text(
        f"role: core\nstate_dir: {folder}\n"
        f"listeners: {{admin: {{bind: [{admin}]}}}}\n"
        "link:\n"
        f"  name: {own.name}\n"
        f"  certificate: {{chain_file: {own.chain}, key_file: {own.key}}}\n"
        f"  edges: {{dmz: {{address: '127.0.0.1:{port}', name: {edge.name}, certificate_file: {edge.chain}}}}}\n"
    ).config


@contextlib.asynccontextmanager
async def link_listener(own: LinkFiles, *, believes: LinkFiles) -> AsyncIterator[int]:
    """TLS as an Edge has it: it wants a certificate, and closes where no protocol is asked for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(own.chain, own.key)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(believes.chain)

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            # A handshake that fails has told the other end why.
            with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True):
                pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            await asyncio.to_thread(thread.join)


async def test_a_core_that_reaches_its_edge_is_told_so(tmp_path: Path) -> None:
    ours, theirs = link_files(tmp_path, "core.bank.example"), link_files(tmp_path, "edge.bank.example")
    async with link_listener(theirs, believes=ours) as port:
        tcp, tls, media = await links(core(tmp_path, ours, theirs, port))
    assert (tcp.state, tls.state) == ("good", "good"), (tcp, tls)
    assert (media.state, "cannot be asked" in media.said) == ("unknown", True)


async def test_another_certificate_there_is_named(tmp_path: Path) -> None:
    ours, theirs = link_files(tmp_path, "core.bank.example"), link_files(tmp_path, "edge.bank.example")
    stranger = link_files(tmp_path, "stranger.bank.example")
    async with link_listener(stranger, believes=ours) as port:
        _, tls, _ = await links(core(tmp_path, ours, theirs, port))
    assert tls.state == "bad"
    assert "it is for stranger.bank.example" in tls.said
    assert "mediaserver link-certificate" in tls.right


async def test_an_edge_that_does_not_know_us_is_named(tmp_path: Path) -> None:
    ours, theirs = link_files(tmp_path, "core.bank.example"), link_files(tmp_path, "edge.bank.example")
    async with link_listener(theirs, believes=theirs) as port:
        _, tls, _ = await links(core(tmp_path, ours, theirs, port))
    assert tls.state == "bad"
    assert "does not accept this Core's certificate" in tls.said


async def test_who_refuses_tcp_is_named_with_the_rule_that_would_be_right(tmp_path: Path) -> None:
    ours, theirs = link_files(tmp_path, "core.bank.example"), link_files(tmp_path, "edge.bank.example")
    port = LOOPBACK.free_port()
    tcp, _ = await links(core(tmp_path, ours, theirs, port))
    assert tcp.state == "bad"
    assert f"127.0.0.1:{port} refuses" in tcp.said
    assert f"TCP from this machine to 127.0.0.1:{port}" in tcp.right


async def test_who_speaks_no_tls_is_named(tmp_path: Path) -> None:
    ours, theirs = link_files(tmp_path, "core.bank.example"), link_files(tmp_path, "edge.bank.example")

    async def talk(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.bank.example\r\n")
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        _, tls, _ = await links(core(tmp_path, ours, theirs, server.sockets[0].getsockname()[1]))
    assert (tls.state, "TLS 1.3 with" in tls.said) == ("bad", True)


@pytest.mark.parametrize(
    ("up", "over_tls", "state", "said"),
    [
        (2, 0, "good", "all 2 media links"),
        (2, 1, "bad", "1 of 2 media links have no answer by UDP"),
        (0, 0, "bad", "2 of 2"),
    ],
)
async def test_media_links_of_the_running_core_say_whether_udp_passes(
    tmp_path: Path, up: int, over_tls: int, state: str, said: str
) -> None:
    ours, theirs = link_files(tmp_path, "core.bank.example"), link_files(tmp_path, "edge.bank.example")
    text = (
        f'mediaserver_engine_links{{shard="0"}} 1\nmediaserver_engine_links{{shard="1"}} 1\n'
        f'mediaserver_engine_links_up{{shard="0"}} {up}\nmediaserver_engine_links_over_tls{{shard="0"}} {over_tls}\n'
    )
    async with answering(text) as port:
        config = core(tmp_path, ours, theirs, LOOPBACK.free_port(), admin=f"'127.0.0.1:{port}'")
        *_, media = await links(config)
    assert media.state == state
    assert said in media.said


@contextlib.asynccontextmanager
async def answering(text: str) -> AsyncIterator[int]:
    """HTTP that says the same to everybody."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.0 200 OK\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode())
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_an_edge_that_does_not_run_is_told_port_by_port(tmp_path: Path) -> None:
    shared, link, media = (LOOPBACK.free_port() for _ in range(3))
    config = load_text(
        f"role: edge\nstate_dir: {tmp_path}\n"
        "networks: {main: {addresses: [{bind: 127.0.0.1}]}}\n"
        "listeners:\n"
        f"  webrtc: {{port: {media}}}\n"
        f"  shared_tls: {{bind: ['127.0.0.1:{shared}'], names: [localhost]}}\n"
        f"  admin: {{bind: ['127.0.0.1:{LOOPBACK.free_port()}']}}\n"
        f"link: {{listen: '127.0.0.1:{link}', cores: {{inside: {{name: core.example, certificate_file: core.pem}}}}}}\n"
    ).config
    pages, udp, *tcp, linked, cores, name, caa = await looked_at(config)
    assert [each.state for each in (pages, udp, *tcp, linked, cores)] == ["bad"] * 5 + ["unknown"]
    assert [f"127.0.0.1:{port}" in each.said for each, port in zip(tcp, (media, shared), strict=True)] == [True, True]
    assert f"nobody has bound 127.0.0.1:{media} (UDP)" in udp.said
    assert "does it run?" in cores.said
    assert name.state == "good"
    assert "has no CAA" in caa.said

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, socket.socket() as listener:
        sock.bind(("127.0.0.1", media))
        listener.bind(("127.0.0.1", shared))
        listener.listen()
        pages, udp, *_ = await looked_at(config)
    assert (pages.state, udp.state) == ("good", "good")


async def test_from_outside_nothing_of_the_machine_itself_is_looked_at(tmp_path: Path) -> None:
    media = LOOPBACK.free_port()
    config = load_text(
        f"role: edge\nstate_dir: {tmp_path}\n"
        "networks: {main: {addresses: [{bind: 127.0.0.1}]}}\n"
        f"listeners: {{webrtc: {{port: {media}}}, shared_tls: {{bind: ['127.0.0.1:{LOOPBACK.free_port()}'], "
        "names: [localhost]}}\n"
        "link: {cores: {inside: {name: core.example, certificate_file: core.pem}}}\n"
    ).config
    found = [finding async for finding in findings(config, ask_caa=no_caa, outside=True)]
    assert [each.what for each in found] == [
        "page localhost",
        "media of visitors",
        "media of visitors (ICE-TCP)",
        "media of visitors (ICE-TCP)",
        "name localhost",
        "CAA of localhost",
    ]
    assert "refuses" in found[0].said
