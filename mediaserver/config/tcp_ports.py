"""TCP ports that two listeners want at the same address; works on the plain data of the file, like `references`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mediaserver.config.model import Config
from mediaserver.config.values import SocketAddress

KeyPath = tuple[str | int, ...]

_EVERYWHERE = ("0.0.0.0", "::")


def turn_tcp_problems(data: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    """Yields (key path, what would be right) where TURN's TCP port is another listener's already."""
    listeners = _map(data.get("listeners"))
    turn = _map(listeners.get("turn"))
    port = turn.get("port")
    tcp = port if turn.get("tcp", "same") == "same" else turn["tcp"]
    if port is None or not isinstance(tcp, int) or tcp == 0:
        return
    path: KeyPath = ("listeners", "turn", "tcp")
    for owner, taken in _by_number(listeners):
        # Once is enough where the same number is the UDP port of both, too: `port` says it then.
        if taken == tcp and not (tcp == port and _is_same_over_udp(listeners, owner, tcp)):
            yield path, f"{tcp} is the TCP port of {owner} already: choose another, or null"
    addresses = _addresses(data, turn)
    for owner, bind in _by_address(listeners):
        if bind.port == tcp and (addresses is None or bind.host in (*_EVERYWHERE, *addresses)):
            yield path, f"{bind} is taken by listeners.{owner} already: choose another TCP port, or null"


def _by_number(listeners: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    defaults = Config().listeners
    sip, webrtc = _map(listeners.get("sip")), _map(listeners.get("webrtc"))
    yield "SIP", sip.get("tcp", defaults.sip.tcp)
    yield "SIP over TLS", sip.get("tls", defaults.sip.tls)
    media = webrtc.get("tcp", defaults.webrtc.tcp)
    yield "WebRTC", webrtc.get("port", defaults.webrtc.port) if media == "same" else media


def _is_same_over_udp(listeners: Mapping[str, Any], owner: str, number: int) -> bool:
    defaults = Config().listeners
    key = "udp" if owner == "SIP" else "port"
    section = "sip" if owner == "SIP" else "webrtc"
    return (
        owner != "SIP over TLS"
        and _map(listeners.get(section)).get(key, getattr(getattr(defaults, section), key)) == number
    )


def _by_address(listeners: Mapping[str, Any]) -> Iterator[tuple[str, SocketAddress]]:
    defaults = Config().listeners
    for key in ("http", "https", "shared_tls", "admin"):
        for bind in _list(_map(listeners.get(key)).get("bind", getattr(defaults, key).bind)):
            host, _, port = str(bind).rpartition(":")
            if port.isdecimal():
                yield key, SocketAddress(host.strip("[]"), int(port))


def _addresses(data: Mapping[str, Any], turn: Mapping[str, Any]) -> list[str] | None:
    """Addresses that TURN binds; None where they are all of the machine."""
    found: list[str] = []
    networks = _map(data.get("networks"))
    for name in _list(turn.get("networks", Config().listeners.turn.networks)):
        for address in _list(_map(networks.get(str(name))).get("addresses")):
            bind = _map(address).get("bind", "auto")
            if bind in ("auto", None):
                return None
            found.append(str(bind))
    return found or None


def _map(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> Sequence[Any]:
    return value if isinstance(value, (list, tuple)) else ()
