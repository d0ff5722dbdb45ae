"""Tries the ports that visitors, phones and trunks come to: on the machine itself, from outside, or from a Core."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Iterable, Iterator, Sequence
from ipaddress import ip_address
from typing import Final, Literal

from cryptography import x509

from mediaserver.config.covered_names import presented_names
from mediaserver.config.model import Config
from mediaserver.config.state import bind_addresses
from mediaserver.config.values import SocketAddress
from mediaserver.daemon import turn_probe
from mediaserver.daemon.edge_addresses import edge_addresses
from mediaserver.daemon.finding import Finding, Unanswered, Way, anybody, bound, connected, secured
from mediaserver.edge.credentials import TurnCredentials
from mediaserver.link.messages import EdgeAddress

Place = Literal["edge", "outside", "core"]
"""Where the check stands: on the Edge itself, in the internet, or on a Core inside."""

_OUTSIDE: Final = "`mediaserver check-link --outside` with the Edge's file, on a machine in the internet"
_HERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""By what binds every address: one of this machine that leads there."""


async def all_of(tries: Iterable[Awaitable[Finding]]) -> list[Finding]:
    """Their findings in their order; they wait for silence together."""
    return list(await asyncio.gather(*tries))


# -- on the machine itself -----------------------------------------------------------------------------------------


def on_edge(config: Config) -> Iterator[Awaitable[Finding]]:
    """Every port of this Edge that the outer firewall has to let in, tried behind it."""
    turn = list(_turn_ways(config, "edge"))
    for bind in config.listeners.shared_tls.bind:
        yield listens("pages and TURN over TLS", bind)
    yield from _visitors("edge", edge_addresses(config, own=True), turn)


def on_core(config: Config) -> Iterator[Awaitable[Finding]]:
    """Every port of this Core that phones and pages come to inside."""
    listeners = config.listeners
    for what, binds in (
        ("pages", (*listeners.http.bind, *listeners.https.bind, *listeners.shared_tls.bind)),
        ("administration", listeners.admin.bind),
    ):
        for bind in binds:
            if not _is_loopback(bind.host):
                yield listens(what, bind)
    for ip, _ in bind_addresses(config, listeners.webrtc.networks):
        for at in range(listeners.webrtc.port_count):
            yield bound("media of browsers", SocketAddress(str(ip), listeners.webrtc.port + at))
        if (tcp := listeners.webrtc.tcp_port) is not None:
            yield listens("media of browsers (ICE-TCP)", SocketAddress(str(ip), tcp))
    sip = listeners.sip
    for ip, _ in bind_addresses(config, sip.networks):
        if sip.udp is not None:
            yield bound("SIP", SocketAddress(str(ip), sip.udp))
        if sip.tcp is not None:
            yield listens("SIP", SocketAddress(str(ip), sip.tcp))
        if sip.tls is not None:
            yield listens("SIP over TLS", SocketAddress(str(ip), sip.tls))
        yield _only_in_calls("media of SIP legs", str(ip), str(config.media.sip_ports))


async def listens(what: str, bind: SocketAddress) -> Finding:
    """Whether somebody of this machine accepts connections there."""
    try:
        _, writer = await connected(_HERE.get(bind.host, bind.host), bind.port)
    except Unanswered as error:
        return Finding(what, "bad", f"nobody answers at {bind} (TCP): {error}", "the running daemon; see its log")
    writer.close()
    return Finding(what, "good", f"{bind} (TCP) is open")


# -- from outside --------------------------------------------------------------------------------------------------


def from_outside(config: Config) -> Iterator[Awaitable[Finding]]:
    """Every port that the outer firewall of this Edge has to let in, and those that it must not."""
    shared = config.listeners.shared_tls
    ports = dict.fromkeys(bind.port for bind in shared.bind)
    for name in shared.names:
        for port in ports:
            yield _page(Way("tls", name, port, name))
    if unnamed := [
        name for name in _networks(config) if any(each.bind is None for each in config.networks[name].addresses)
    ]:
        # They would be looked up on this machine, which is another one.
        yield _unnamed(unnamed)
        return
    yield from _visitors("outside", edge_addresses(config), list(_turn_ways(config, "outside")))
    inner = [("the link", config.link.listen), *(("administration", bind) for bind in config.listeners.admin.bind)]
    told = dict.fromkeys(each.ip for each in edge_addresses(config))
    for what, bind in inner:
        for host in told if bind.host in _HERE else (bind.host,):
            if not _is_loopback(host):
                yield _closed(what, Way("tcp", host, bind.port))


def _networks(config: Config) -> Iterator[str]:
    """Those on whose addresses visitors, phones and trunks come."""
    used = (config.listeners.webrtc.networks, config.listeners.turn.networks, config.edge.networks)
    yield from dict.fromkeys(name for names in used for name in names)


async def _unnamed(networks: Sequence[str]) -> Finding:
    keys = ", ".join(f"networks.{name}" for name in networks)
    return Finding(
        "addresses of the Edge",
        "unknown",
        f"{keys} says bind: auto, which leaves the Edge's addresses to be found on the Edge",
        "bind, and announced where the outer firewall shows another address",
    )


async def _page(way: Way) -> Finding:
    what = f"page {way.server_name}"
    try:
        _, writer = await connected(way.host, way.port)
        try:
            await secured(writer, ssl.create_default_context(), server_name=way.server_name)
        finally:
            writer.close()
    except ssl.SSLCertVerificationError as error:
        return Finding(
            what,
            "bad",
            f"{way} passes, and browsers refuse its certificate: {error.verify_message}",
            f"a certificate for {way.server_name} in listeners.https of the Core, from an authority that browsers know",
        )
    except (Unanswered, ssl.SSLError) as error:
        return _blocked("outside", what, way, error, needs_core=True)
    return Finding(what, "good", f"{way} passes to a Core, and browsers take its certificate")


async def _closed(what: str, way: Way) -> Finding:
    what = f"{what}, from outside"
    try:
        _, writer = await connected(way.host, way.port)
    except Unanswered as error:
        return Finding(what, "good", f"{way} is closed to the internet ({error})")
    writer.close()
    return Finding(what, "bad", f"{way} is open to the internet", f"an outer firewall that does not let {way} pass")


# -- from a Core ---------------------------------------------------------------------------------------------------


def from_core(
    edge: str, addresses: Sequence[EdgeAddress], *, credentials: TurnCredentials, sip_certificate: bytes
) -> Iterator[Awaitable[Finding]]:
    """What an Edge has told this Core of its ports. Nothing has to lead to them from the inside; where something does,
    they are tried with the credentials that pages get. `sip_certificate` is that of this Core's SIP listener (DER)."""
    turn = [
        Way(each.protocol, each.ip, each.port, each.name if each.protocol == "tls" else None)
        for each in addresses
        if each.purpose == "turn"
    ]
    yield from _visitors("core", addresses, turn, edge=edge, credentials=credentials, sip_certificate=sip_certificate)


# -- what is there for whom ----------------------------------------------------------------------------------------


def _visitors(
    place: Place,
    addresses: Sequence[EdgeAddress],
    turn: Sequence[Way],
    *,
    edge: str = "",
    credentials: TurnCredentials | None = None,
    sip_certificate: bytes = b"",
) -> Iterator[Awaitable[Finding]]:
    of = f" of Edge {edge}" if edge else ""
    shared = {(each.protocol, each.ip, each.port) for each in addresses if each.purpose == "media"}
    for way in turn:
        both = (way.protocol, way.host, way.port) in shared
        yield _turn(place, f"{'TURN and media of visitors' if both else 'TURN'}{of}", way, credentials)
    # TLS is tried by TCP.
    tried = {("tcp" if way.protocol == "tls" else way.protocol, way.host, way.port) for way in turn}
    for each in addresses:
        way = Way(each.protocol, each.ip, each.port)
        match each.purpose:
            case "media" if (way.protocol, way.host, way.port) in tried:
                pass
            case "media" if way.protocol == "udp" and place == "edge":
                yield bound("media of visitors", SocketAddress(way.host, way.port))
            case "media" if way.protocol == "udp":
                yield _silent_media(place, f"media of visitors{of}", way)
            case "media":
                yield _open(place, f"media of visitors (ICE-TCP){of}", way)
            case "sip":
                yield _sip(place, f"SIP over TLS{of}", way, sip_certificate)
            case "sip_media" if place != "core":
                yield _only_in_calls(f"media of phones and trunks{of}", each.ip, f"{each.port} and those behind it")
            case _:
                pass


def _turn_ways(config: Config, place: Place) -> Iterator[Way]:
    turn, shared = config.listeners.turn, config.listeners.shared_tls
    if turn.port is None:
        return
    addresses = bind_addresses(config, turn.networks)
    hosts = dict.fromkeys(str(bind if place == "edge" else told) for bind, told in addresses)
    for host in hosts:
        yield Way("udp", host, turn.port)
        if turn.tcp_port is not None:
            yield Way("tcp", host, turn.tcp_port)
    for bind in shared.bind:
        if place == "edge":
            yield Way("tls", _HERE.get(bind.host, bind.host), bind.port, shared.turn_name)
        else:
            # As a browser does, which has nothing but the name; without one no page is told of it.
            for host in [shared.turn_name] if shared.turn_name is not None else []:
                yield Way("tls", host, bind.port, host)


# -- one port ------------------------------------------------------------------------------------------------------


async def _turn(place: Place, what: str, way: Way, credentials: TurnCredentials | None) -> Finding:
    try:
        if credentials is None:
            answer = await turn_probe.challenge(way)
        else:
            answer = await turn_probe.take_and_give_back(way, credentials)
    except (Unanswered, ssl.SSLError) as error:
        return _blocked(place, what, way, error)
    if answer.relayed:
        return Finding(what, "good", f"{way} takes credentials of this Core, and gave and took back {answer.relayed}")
    if answer.code == 401 and credentials is not None:
        return Finding(
            what,
            "bad",
            f"{way} answers, and refuses the credentials that this Core gives to pages",
            "secrets.ufrag_key as the running Core has it (reload it), and clocks that agree: the name in credentials is a "
            "time of day",
        )
    if answer.is_challenge:
        return Finding(what, "good", f"{way} answers: it asks for credentials")
    if answer.code in (486, 508):
        return Finding(what, "bad", f"{way} answers: it is full ({answer.code})", "a higher limits.turn_allocations")
    return Finding(what, "unknown", f"{way} answers {answer.code}, which says nothing", "401: it asks for credentials")


async def _silent_media(place: Place, what: str, way: Way) -> Finding:
    """An Edge answers nobody who has no token: what can be seen is who refuses."""
    try:
        await turn_probe.challenge(way)
    except Unanswered as error:
        if error.how in ("refused", "unreachable"):
            return _blocked(place, what, way, error)
    return Finding(
        what,
        "note",
        f"{way} answers to visitors of a session alone, so that nobody can try it from here: the line test of a page does, "
        f"and a call; with listeners.turn.port: {way.port} it would answer",
    )


async def _open(place: Place, what: str, way: Way) -> Finding:
    try:
        _, writer = await connected(way.host, way.port)
    except Unanswered as error:
        return _blocked(place, what, way, error)
    writer.close()
    return Finding(what, "good", f"{way} is open")


async def _sip(place: Place, what: str, way: Way, expected: bytes) -> Finding:
    try:
        _, writer = await connected(way.host, way.port)
        try:
            shown = await secured(writer, anybody(), server_name=None)
        finally:
            writer.close()
        names = ", ".join(presented_names(x509.load_der_x509_certificate(shown))) or "nobody"
    except (Unanswered, ssl.SSLError) as error:
        return _blocked(place, what, way, error, needs_core=True)
    except ValueError:
        return Finding(
            what, "bad", f"{way} shows a certificate that cannot be read", "the certificate of listeners.sip"
        )
    if expected and shown != expected:
        return Finding(
            what,
            "bad",
            f"{way} leads to a certificate for {names}, which is not that of listeners.sip here",
            "an Edge that passes SIP to this Core, and no inspection of TLS in between",
        )
    return Finding(what, "good", f"{way} passes to a Core, whose certificate is for {names}")


async def _only_in_calls(what: str, host: str, ports: str) -> Finding:
    return Finding(
        what,
        "note",
        f"UDP {host}, {ports}: these ports are closed but for the calls that have them, so only a call can try them; "
        f"without their rule in the firewall (`mediaserver ports`) it has no sound",
    )


def _blocked(
    place: Place, what: str, way: Way, error: Unanswered | ssl.SSLError, *, needs_core: bool = False
) -> Finding:
    if place == "core":
        return Finding(
            what,
            "note",
            f"{way} does not answer from here ({error}), and need not: visitors come from outside. {_OUTSIDE}, tries it",
        )
    if isinstance(error, ssl.SSLError):
        said, right = f"{way}: TLS fails: {error.reason or error}", "no inspection of TLS between here and the Edge"
    elif error.how == "other":
        return Finding(what, "bad", f"{way}: {error}", "the Edge there, and nobody else in its place")
    elif error.how == "closed" and needs_core:
        said, right = f"{way}: {error}", "a Core that is connected to the Edge: `mediaserver check-link` there"
    elif place == "edge":
        said, right = f"nobody answers at {way}: {error}", "the running Edge; see its log"
    else:
        how = {
            "refused": "refuses: nobody listens there, or the outer firewall answers in its place",
            "silent": "does not answer: the outer firewall drops it",
            "closed": f"passes, and not to an Edge: {error}",
        }.get(error.how, f"cannot be reached: {error}")
        said, right = f"{way} {how}", f"the running Edge, and an outer firewall that lets {way} pass to it"
    return Finding(what, "bad", said, right)


def _is_loopback(host: str) -> bool:
    return ip_address(host).is_loopback
