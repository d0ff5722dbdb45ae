"""Where visitors reach an Edge: what it tells its Cores, which tell their pages."""

from __future__ import annotations

from collections.abc import Iterator

from mediaserver.config.model import Config
from mediaserver.config.shared_port import shared_ice
from mediaserver.config.state import bind_addresses
from mediaserver.link.messages import EdgeAddress


def edge_addresses(config: Config, *, own: bool = False) -> tuple[EdgeAddress, ...]:
    """All of them, in the order in which pages should try those of one purpose. With `own`: by the addresses that are bound
    in place of those that peers are told (1:1 NAT)."""
    return (*_media(config, own), *_turn(config, own), *_sip(config, own))


def _media(config: Config, own: bool) -> Iterator[EdgeAddress]:
    webrtc = config.listeners.webrtc
    for ip in _ips(config, webrtc.networks, own):
        yield EdgeAddress(protocol="udp", ip=ip, port=webrtc.port, purpose="media")
        if webrtc.tcp_port is not None:
            yield EdgeAddress(protocol="tcp", ip=ip, port=webrtc.tcp_port, purpose="media")
    for told in shared_ice(config):
        yield EdgeAddress(protocol="tcp", ip=told.host, port=told.port, purpose="media")


def _turn(config: Config, own: bool) -> Iterator[EdgeAddress]:
    turn, shared = config.listeners.turn, config.listeners.shared_tls
    if turn.port is None:
        return
    told = _ips(config, turn.networks, own)
    for ip in told:
        yield EdgeAddress(protocol="udp", ip=ip, port=turn.port, purpose="turn")
    if turn.tcp_port is not None:
        for ip in told:
            yield EdgeAddress(protocol="tcp", ip=ip, port=turn.tcp_port, purpose="turn")
    if shared.turn_name is not None and told:
        for port in dict.fromkeys(bind.port for bind in shared.bind):
            yield EdgeAddress(protocol="tls", ip=told[0], port=port, purpose="turn", name=shared.turn_name)


def _sip(config: Config, own: bool) -> Iterator[EdgeAddress]:
    edge = config.edge
    for ip in _ips(config, edge.networks, own):
        if edge.sip_tls is not None:
            yield EdgeAddress(protocol="tls", ip=ip, port=edge.sip_tls, purpose="sip")
        if edge.sip_media_ports is not None:
            yield EdgeAddress(protocol="udp", ip=ip, port=edge.sip_media_ports.low, purpose="sip_media")


def _ips(config: Config, networks: tuple[str, ...], own: bool) -> list[str]:
    return list(dict.fromkeys(str(bind if own else told) for bind, told in bind_addresses(config, networks)))
