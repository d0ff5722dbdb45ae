"""What else the TLS port takes that pages and others share: media of browsers over TCP (ICE-TCP, RFC 6544)."""

from __future__ import annotations

from ipaddress import ip_address

from mediaserver.config.model import Config
from mediaserver.config.state import bind_addresses
from mediaserver.config.values import SocketAddress


def shared_ice(config: Config) -> tuple[SocketAddress, ...]:
    """Where browsers are told to come with it: for each address the first of its ports. None where nobody would get
    through: without `listeners.webrtc.tcp`, and behind proxies, which expect TLS."""
    webrtc = config.listeners.webrtc
    if webrtc.tcp_port is None or (config.role == "edge" and config.edge.trusted_proxies):
        return ()
    binds = [(ip_address(bind.host), bind.port) for bind in config.listeners.shared_tls.bind]
    found = []
    for own, told in bind_addresses(config, webrtc.networks):
        ports = (port for bind, port in binds if bind == own or (bind.is_unspecified and bind.version == own.version))
        if (first := next(ports, None)) is not None:
            found.append(SocketAddress(str(told), first))
    return tuple(dict.fromkeys(found))
