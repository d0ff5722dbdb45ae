"""What the firewalls around this machine must allow, derived from the configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

from mediaserver.config.model import Config
from mediaserver.config.shared_port import shared_ice
from mediaserver.config.values import SocketAddress

Firewall = Literal["outer", "inner", "inside"]

TITLES: Final[Mapping[str, Mapping[Firewall, str]]] = {
    "all": {"outer": "Inbound to this machine"},
    "edge": {
        "outer": "Outer firewall: from the internet to this Edge",
        "inner": "Inner firewall: from inside to this Edge",
    },
    "core": {
        "inner": "Inner firewall: from this Core to its Edges",
        "inside": "Inside: to this Core (through no firewall of the zone)",
    },
}
"""By role: which rules there are, in which order, under which heading."""
NOTHING_INWARDS: Final = "From the zone to the inside: nothing, ever. Only answers to what the Core has begun come in."


@dataclass(frozen=True, slots=True)
class Opening:
    """One rule of a firewall that lets something begin; `ports` is one port or a range."""

    source: str
    address: str
    protocol: str
    ports: str
    purpose: str
    firewall: Firewall = "outer"
    """Which one needs the rule; a machine that is Edge and Core in one has only the outer one."""


def openings(config: Config) -> Iterator[Opening]:
    """Every rule. Listeners on loopback need none and are left out; answers are taken as allowed."""
    if config.role == "edge":
        yield from _edge_openings(config)
    elif config.role == "core":
        yield from _links(config)
        for opening in _own_openings(config):
            yield replace(opening, firewall="inside")
    else:
        yield from _own_openings(config)


def _links(config: Config) -> Iterator[Opening]:
    for name, edge in config.link.edges.items():
        address, port = f"{edge.address.host} (Edge {name})", str(edge.address.port)
        yield Opening("this Core", address, "tcp", port, "the link: signalling and pages", "inner")
        purpose = "the link: media (with several link.workers of the Edge, as many ports from this one on)"
        yield Opening("this Core", address, "udp", port, purpose, "inner")


def _own_openings(config: Config) -> Iterator[Opening]:
    listeners = config.listeners
    for bind in listeners.http.bind:
        yield from _tcp(bind, "browsers", "HTTP: pages, sessions, WHIP, WHEP")
    for bind in listeners.https.bind:
        yield from _tcp(bind, "browsers", "HTTPS: pages, sessions, WHIP, WHEP")
    media = _shared_media(config)
    for bind in listeners.shared_tls.bind:
        yield from _tcp(bind, "browsers", f"HTTPS: pages, sessions, WHIP, WHEP (shared port){media}")
    for bind in listeners.admin.bind:
        yield from _tcp(bind, "monitoring", "metrics and administration")
    for name in listeners.webrtc.networks:
        for source, address in _ends(config, name, "browsers"):
            yield Opening(source, address, "udp", listeners.webrtc.shown_ports, "media of browsers (ICE, DTLS, SRTP)")
            if (tcp := listeners.webrtc.tcp_port) is not None:
                yield Opening(source, address, "tcp", str(tcp), "media of browsers that UDP is closed to (ICE-TCP)")
    yield from _turn_openings(config)
    sip = listeners.sip
    for name in sip.networks:
        for source, address in _ends(config, name, _phones(config)):
            for protocol, port, purpose in (
                ("udp", sip.udp, "SIP"),
                ("tcp", sip.tcp, "SIP"),
                ("tcp", sip.tls, "SIP/TLS"),
            ):
                if port is not None:
                    yield Opening(source, address, protocol, str(port), purpose)
            yield Opening(source, address, "udp", str(config.media.sip_ports), "media of SIP legs (RTP, SRTP, RTCP)")


def _turn_openings(config: Config) -> Iterator[Opening]:
    turn = config.listeners.turn
    if turn.port is None:
        return
    for name in turn.networks:
        for source, address in _ends(config, name, "browsers"):
            yield Opening(source, address, "udp", str(turn.port), "TURN")
            if turn.tcp_port is not None:
                yield Opening(source, address, "tcp", str(turn.tcp_port), "TURN")
            if turn.relay == "open":
                yield Opening("peers of TURN users", address, "udp", str(turn.ports), "relayed addresses of TURN")


def _shared_media(config: Config) -> str:
    return "; media of browsers that UDP is closed to (ICE-TCP)" if shared_ice(config) else ""


def _edge_openings(config: Config) -> Iterator[Opening]:
    listeners, link = config.listeners, config.link
    for bind in listeners.shared_tls.bind:
        turn = "" if listeners.turn.port is None else "; TURN over TLS"
        yield from _tcp(bind, "browsers", f"pages, passed through to the Core{turn}{_shared_media(config)}")
    for name in listeners.webrtc.networks:
        for source, address in _ends(config, name, "browsers"):
            yield Opening(source, address, "udp", str(listeners.webrtc.port), "media of browsers, carried to the Core")
            if (tcp := listeners.webrtc.tcp_port) is not None:
                yield Opening(source, address, "tcp", str(tcp), "media of browsers that UDP is closed to (ICE-TCP)")
    yield from _turn_openings(config)
    if (sip := config.edge.sip_tls) is not None:
        for name in config.edge.networks:
            for source, address in _ends(config, name, "phones, trunks"):
                yield Opening(source, address, "tcp", str(sip), "SIP/TLS, passed through to the Core")
    if config.edge.sip_media_ports is not None:
        for name in config.edge.networks:
            for source, address in _ends(config, name, "phones, trunks"):
                ports = str(config.edge.sip_media_ports)
                yield Opening(source, address, "udp", ports, "media of phones and trunks, carried to the Core")
    for opening in _tcp(link.listen, "the Core", "the link: signalling and pages"):
        yield replace(opening, firewall="inner")
    last = link.listen.port + link.workers - 1
    ports = str(last) if link.workers == 1 else f"{link.listen.port}-{last}"
    yield Opening("the Core", _shown(link.listen.host), "udp", ports, "the link: media", "inner")
    for bind in listeners.admin.bind:
        for opening in _tcp(bind, "monitoring", "metrics and administration"):
            yield replace(opening, firewall="inner")


def _tcp(bind: SocketAddress, source: str, purpose: str) -> Iterator[Opening]:
    if bind.host != "::1" and not bind.host.startswith("127."):
        yield Opening(source, _shown(bind.host), "tcp", str(bind.port), purpose)


def _ends(config: Config, network: str, peers: str) -> Iterator[tuple[str, str]]:
    settings = config.networks[network]
    source = ", ".join(map(str, settings.cidrs)) or peers
    for address in settings.addresses:
        if address.bind is None:
            yield source, "every address"
        elif not address.bind.is_loopback:
            announced = f" (announced as {address.announced})" if address.announced else ""
            yield source, f"{address.bind}{announced}"


def _phones(config: Config) -> str:
    trunks = [str(peer) for trunk in config.trunks.values() for peer in trunk.peers]
    return ", ".join((["phones"] if config.users else []) + trunks) or "phones"


def _shown(host: str) -> str:
    return "every address" if host in ("0.0.0.0", "::") else host
