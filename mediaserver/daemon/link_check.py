"""What `mediaserver check-link` looks at: whether a machine reaches what its role needs, told in plain words."""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
import ssl
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from mediaserver.api.status import RunningDaemon
from mediaserver.config.covered_names import covering_problems, presented_names
from mediaserver.config.link import LinkedEdge
from mediaserver.config.loader import key_text
from mediaserver.config.model import Config
from mediaserver.config.secrets import SecretStore
from mediaserver.config.state import tls_files
from mediaserver.config.values import SocketAddress
from mediaserver.daemon.admin_question import Silent, ask_admin
from mediaserver.daemon.caa import Ask, DnsError, judge
from mediaserver.daemon.finding import TIMEOUT_S, Finding, words
from mediaserver.daemon.link_identity import accepted, own_certificate
from mediaserver.daemon.media_port_check import media_ports
from mediaserver.daemon.port_check import all_of, from_core, from_outside, listens, on_core, on_edge
from mediaserver.daemon.turn import edge_turn_secret
from mediaserver.edge.credentials import CredentialMint
from mediaserver.errors import ConfigError, MediaServerError
from mediaserver.link.messages import EdgeAddress

_CREDENTIALS_S: Final = 60.0
"""Those of the check are good for so long."""
_ANSWER_S: Final = 1.0
"""How long an Edge that does not accept our certificate has to say so."""


_LINK_METRICS: Final = (
    "mediaserver_engine_links",
    "mediaserver_engine_links_up",
    "mediaserver_engine_links_over_tls",
)


async def findings(config: Config, *, ask_caa: Ask, outside: bool = False) -> AsyncIterator[Finding]:
    """Everything that the role of this machine needs, in the order in which one would repair it. With `outside` this is
    another machine, in the internet, and the configuration that of an Edge."""
    if config.role == "core":
        for name, edge in config.link.edges.items():
            async for finding in _edge(config, name, edge):
                yield finding
        yield await _media(config)
        for finding in await all_of([*await _edges_ports(config), *on_core(config)]):
            yield finding
        names = _own_names(config)
    else:
        if outside:
            for finding in await all_of(from_outside(config)):
                yield finding
        else:
            for finding in await all_of([*on_edge(config), listens("the link", config.link.listen)]):
                yield finding
            yield await _cores(config)
            for path, message in covering_problems(config):
                yield Finding("certificates of this Edge", "bad", f"{key_text(path)}: {message}")
        names = list(config.listeners.shared_tls.names)
    for name in names:
        yield await _resolves(name)
        yield await _caa(name, ask_caa)


# -- on the Core -------------------------------------------------------------------------------------------------


async def _edge(config: Config, name: str, edge: LinkedEdge) -> AsyncIterator[Finding]:
    what, rule = f"link to Edge {name}", f"TCP from this machine to {edge.address}"
    try:
        async with asyncio.timeout(TIMEOUT_S):
            _, writer = await asyncio.open_connection(edge.address.host, edge.address.port)
    except (TimeoutError, OSError) as error:
        yield _unreachable(what, edge.address, rule, error)
        return
    writer.close()
    yield Finding(what, "good", f"TCP to {edge.address} passes")
    try:
        wanted = accepted(config, edge.certificate_file, key=f"link.edges.{name}.certificate_file")
        chain, key = own_certificate(config)
    except (ConfigError, OSError) as error:
        yield Finding(what, "bad", str(error))
        return
    yield await asyncio.to_thread(_tls, what, name, edge, wanted.fingerprint, chain + b"\n" + key)


def _tls(what: str, name: str, edge: LinkedEdge, fingerprint: bytes, own: bytes) -> Finding:
    """One handshake without a protocol: it takes no running Core's place."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # The fingerprint is what counts, and it is compared below.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with tempfile.NamedTemporaryFile() as file:  # made with mode 0600, which is what ssl reads keys from
        file.write(own)
        file.flush()
        context.load_cert_chain(file.name)
    try:
        with (
            socket.create_connection((edge.address.host, edge.address.port), TIMEOUT_S) as connection,
            context.wrap_socket(connection, server_hostname=edge.name) as tls,
        ):
            shown = tls.getpeercert(binary_form=True) or b""
            if hashlib.sha256(shown).digest() != fingerprint:
                return _other_certificate(what, name, edge, shown)
            return _accepted_us(what, name, edge, tls)
    except (ssl.SSLError, OSError) as error:
        return Finding(
            what,
            "bad",
            f"TLS 1.3 with {edge.address} fails: {error}",
            f"an Edge of ours there, and no inspection of TLS between this machine and {edge.address}",
        )


def _other_certificate(what: str, name: str, edge: LinkedEdge, shown: bytes) -> Finding:
    try:
        of = ", ".join(presented_names(x509.load_der_x509_certificate(shown))) or "nobody"
    except ValueError:
        of = "nobody"
    return Finding(
        what,
        "bad",
        f"who answers at {edge.address} shows another certificate than link.edges.{name}.certificate_file (it is for {of})",
        "what `mediaserver link-certificate` prints at that Edge, in that file; a change that nobody made is an attack, or "
        "an inspection of TLS at the inner firewall",
    )


def _accepted_us(what: str, name: str, edge: LinkedEdge, tls: ssl.SSLSocket) -> Finding:
    tls.settimeout(_ANSWER_S)
    try:
        # It closes, since no protocol was asked for; or it refuses our certificate first.
        tls.recv(1)
    except ssl.SSLError as error:
        return Finding(
            what,
            "bad",
            f"the Edge does not accept this Core's certificate: {error.reason or error}",
            f"what `mediaserver link-certificate` prints here, in the file of link.cores.…certificate_file there, and its "
            f"link.name ({edge.name} is the Edge's)",
        )
    except OSError as error:
        return Finding(
            what,
            "unknown",
            f"the Edge shows the right certificate, and then the connection breaks: {words(error)}",
            "no firewall that looks into the connection; the Edge's log, where it is the Edge",
        )
    return Finding(what, "good", "TLS passes, and each end knows the other by its certificate")


async def _media(config: Config) -> Finding:
    """Nobody but the running Core has the keys to which an Edge answers."""
    what = "media ports of the Edges"
    try:
        links, by_udp = await asyncio.to_thread(ask_admin, config, "/metrics", _media_links)
    except Silent as error:
        return Finding(what, "unknown", str(error), "the running Core: its media links are what tries them")
    ports = ", ".join(str(edge.address) for edge in config.link.edges.values())
    if links == 0:
        return Finding(what, "unknown", "no Edge has told its media ports yet", "a link to an Edge, see above")
    if by_udp < links:
        return Finding(
            what,
            "bad",
            f"{links - by_udp} of {links} media links have no answer by UDP: their media go over TLS, or not at all",
            f"an inner firewall that lets UDP from this machine to {ports} pass, on as many ports from there on as the Edge "
            f"has link.workers, and its answers",
        )
    return Finding(what, "good", f"all {links} media links have answers by UDP")


def _media_links(body: bytes) -> tuple[int, int]:
    """How many there are, and how many of them go by UDP."""
    counts = dict.fromkeys(_LINK_METRICS, 0.0)
    for line in body.decode(errors="replace").splitlines():
        name, _, value = line.rpartition(" ")
        if (plain := name.partition("{")[0]) in counts:
            counts[plain] += float(value)
    links, up, over_tls = (round(counts[name]) for name in _LINK_METRICS)
    return links, up - over_tls


async def _edges_ports(config: Config) -> list[Awaitable[Finding]]:
    """What visitors come to: the running Core knows where that is, and pages get credentials of the secret that it gives
    to Edges."""
    what = "ports of the Edges"
    secrets = SecretStore(config)
    try:
        running = RunningDaemon(config, secrets)
        told = await asyncio.to_thread(running.ask, "/v1/edges")
        mint = CredentialMint(secret=edge_turn_secret(config, secrets), lifetime_s=_CREDENTIALS_S, clock=time.time)
        own = x509.load_pem_x509_certificates(tls_files(config, config.listeners.sip.certificate).chain.read_bytes())[0]
    except (MediaServerError, OSError, ValueError) as error:
        right = "the running Core, which its Edges have told them, and its secrets and certificates"
        return [_found(Finding(what, "unknown", str(error), right))]
    tries: list[Awaitable[Finding]] = []
    for edge in told["items"]:
        addresses = [EdgeAddress(**each) for each in edge["addresses"]]
        der = own.public_bytes(serialization.Encoding.DER)
        tries += from_core(edge["name"], addresses, credentials=mint.mint(), sip_certificate=der)
        if any(each.purpose == "sip_media" for each in addresses):
            tries.append(media_ports(edge["name"], running.ask))
    return tries


async def _found(finding: Finding) -> Finding:
    return finding


def _own_names(config: Config) -> list[str]:
    """Names of the pages that this Core's certificate is for."""
    chain = tls_files(config, config.listeners.https.certificate).chain
    if config.listeners.https.certificate.chain_file is None:
        return []
    try:
        return [
            each.removeprefix("*.") for each in presented_names(x509.load_pem_x509_certificates(chain.read_bytes())[0])
        ]
    except (OSError, ValueError) as error:
        raise ConfigError(f"listeners.https.certificate: {chain} does not hold a certificate (PEM): {error}") from None


# -- on the Edge -------------------------------------------------------------------------------------------------


async def _cores(config: Config) -> Finding:
    what = "Cores"
    try:
        problem = await asyncio.to_thread(ask_admin, config, "/readyz", _core_problem)
    except Silent as error:
        return Finding(what, "unknown", str(error), "the running Edge: it knows who is connected")
    if problem is None:
        return Finding(what, "good", "a Core is connected")
    return Finding(
        what,
        "bad",
        f"no Core is connected: {problem}",
        f"a Core that dials {config.link.listen} (`mediaserver check-link` there says what keeps it away); from here to "
        f"the inside nothing has to be opened",
    )


def _core_problem(body: bytes) -> str | None:
    said = str(json.loads(body)["checks"]["core"])
    return None if said == "ok" else said


# -- names -------------------------------------------------------------------------------------------------------


async def _resolves(name: str) -> Finding:
    what = f"name {name}"
    try:
        async with asyncio.timeout(TIMEOUT_S):
            found = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (TimeoutError, OSError) as error:
        return Finding(what, "bad", f"{name} leads nowhere from here: {words(error)}", "its public address in DNS")
    addresses = ", ".join(dict.fromkeys(str(each[4][0]) for each in found))
    return Finding(what, "good", f"{name} leads to {addresses}")


async def _caa(name: str, ask: Ask) -> Finding:
    try:
        verdict = await judge(name, ask)
    except DnsError as error:
        return Finding(f"CAA of {name}", "unknown", str(error), "a name server that answers (dns.servers)")
    return Finding(f"CAA of {name}", "good" if verdict.is_bound else "bad", verdict.said, verdict.right)


def _unreachable(what: str, address: SocketAddress, rule: str, error: OSError) -> Finding:
    if isinstance(error, ConnectionRefusedError):
        return Finding(
            what,
            "bad",
            f"{address} refuses: nobody listens there, or the inner firewall answers in its place",
            f"the running Edge with link.listen: {address}, and an inner firewall that lets {rule} pass",
        )
    if isinstance(error, TimeoutError):
        return Finding(
            what,
            "bad",
            f"{address} does not answer: the inner firewall drops it",
            f"an inner firewall that lets {rule} pass",
        )
    return Finding(
        what, "bad", f"{address} cannot be reached: {words(error)}", f"a route, and a firewall that lets {rule} pass"
    )
