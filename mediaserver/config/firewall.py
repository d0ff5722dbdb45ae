"""What a firewall in front of this machine must allow, derived from the configuration."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mediaserver.config.model import Config
from mediaserver.config.values import SocketAddress


@dataclass(frozen=True, slots=True)
class Opening:
    """One inbound rule; `ports` is one port or a range."""

    source: str
    address: str
    protocol: str
    ports: str
    purpose: str


def openings(config: Config) -> Iterator[Opening]:
    """Every inbound rule. Listeners on loopback need none and are left out; answers to it are taken as allowed."""
    if config.role == "edge":
        yield from _edge_openings(config)
        return
    listeners = config.listeners
    for bind in listeners.http.bind:
        yield from _tcp(bind, "browsers", "HTTP: pages, sessions, WHIP, WHEP")
    for bind in listeners.https.bind:
        yield from _tcp(bind, "browsers", "HTTPS: pages, sessions, WHIP, WHEP")
    for bind in listeners.shared_tls.bind:
        yield from _tcp(bind, "browsers", "HTTPS: pages, sessions, WHIP, WHEP (shared port)")
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


def _edge_openings(config: Config) -> Iterator[Opening]:
    listeners, link = config.listeners, config.link
    for bind in listeners.shared_tls.bind:
        turn = "" if listeners.turn.port is None else "; TURN over TLS"
        yield from _tcp(bind, "browsers", f"pages, passed through to the Core{turn}")
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
    yield from _tcp(link.listen, "the Core", "the link: signalling and pages (from inside only)")
    last = link.listen.port + link.workers - 1
    ports = str(last) if link.workers == 1 else f"{link.listen.port}-{last}"
    yield Opening("the Core", _shown(link.listen.host), "udp", ports, "the link: media (from inside only)")
    for bind in listeners.admin.bind:
        yield from _tcp(bind, "monitoring", "metrics and administration")


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
