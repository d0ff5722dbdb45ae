"""The configuration as the packet engine and the SIP user agent want to be told."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from mediaserver.api.agents import SIGN_IN_FAILURES_AT_ONCE
from mediaserver.api.app import HttpLimits
from mediaserver.config.covered_names import terminated_names
from mediaserver.config.listeners import Certificate
from mediaserver.config.model import Config
from mediaserver.config.secrets import SecretStore
from mediaserver.config.shared_port import shared_ice
from mediaserver.config.state import bind_addresses, tls_files
from mediaserver.config.values import SocketAddress
from mediaserver.core.rooms import Rooms
from mediaserver.daemon.edge_limits import connection_limits
from mediaserver.daemon.turn import turn_config
from mediaserver.engine.certificate import DtlsCertificate
from mediaserver.engine.config import DscpMarks, EngineConfig, EngineLimits, PageCertificate, SharedTls
from mediaserver.errors import ConfigError
from mediaserver.link.token_keys import named
from mediaserver.sip.capture import Capture
from mediaserver.sip.config import Bind, Counters, MessageLimits, SipConfig, SipLimits, TrunkRule
from mediaserver.sip.dns_client import DnsClient
from mediaserver.sip.flow import Transport
from mediaserver.sip.resolver import Resolver

SERVER_NAME: Final = "mediaserver"
MOST_THREADS: Final = 64
"""Threads of the engine, those for sound included."""
_GREETING: Final = Path(__file__).parents[1] / "media" / "greeting.webm"


def announced(config: Config, networks: Iterable[str]) -> dict[str, str]:
    """Every address to bind for these networks, with the one that peers are told in its place (1:1 NAT)."""
    return {str(bind): str(told) for bind, told in bind_addresses(config, networks)}


def announcement_files(config: Config) -> dict[str, Path]:
    """The file of each announcement, by name."""
    return {
        name: _GREETING if announcement.file is None else config.path(announcement.file)
        for name, announcement in config.announcements.items()
    }


def engine_config(config: Config, *, secrets: SecretStore, certificate: DtlsCertificate) -> EngineConfig:
    """What the engine is started with."""
    limits, media = config.limits, config.media
    webrtc = announced(config, config.listeners.webrtc.networks)
    tcp = config.listeners.webrtc.tcp_port
    sip = announced(config, config.listeners.sip.networks)
    # A packet names the threads that want it in 64 bits, and one of them decodes and encodes sound.
    shards = media.shards or min(len(os.sched_getaffinity(0)), MOST_THREADS - 1)
    return EngineConfig(
        shards=shards,
        audio_threads=min(1, MOST_THREADS - shards),
        pin=media.shards is None,
        real_time=media.real_time,
        webrtc_binds=tuple(str(SocketAddress(ip, config.listeners.webrtc.port)) for ip in webrtc),
        webrtc_ports=config.listeners.webrtc.port_count,
        shared_tls=shared_tls(config),
        webrtc_tcp_binds=() if tcp is None else tuple(str(SocketAddress(ip, tcp)) for ip in webrtc),
        announced={bind: told for bind, told in {**sip, **webrtc}.items() if bind != told},
        sip_binds=tuple(sip),
        sip_ports=(media.sip_ports.low, media.sip_ports.high),
        certificate_der=certificate.certificate_der,
        private_key_der=certificate.private_key_der,
        ufrag_key=token_key(config, secrets),
        key_id=named(token_key(config, secrets)).id,
        core_id=config.link.core_id,
        limits=EngineLimits(
            transports=limits.transports,
            tracks_per_transport=limits.tracks_per_transport,
            unknown_ssrcs=limits.unknown_ssrcs,
            transcodes=limits.transcodes,
            mixed_legs=limits.mixed_legs,
        ),
        gso=media.gso,
        turn=turn_config(config, secrets=secrets),
        connections=connection_limits(limits),
        media_over_tls=config.role == "core",
        dscp=DscpMarks(audio=media.dscp.audio, video=media.dscp.video, screen=media.dscp.screen),
    )


def token_key(config: Config, secrets: SecretStore) -> bytes:
    """Signs the ufrags by which shards, and Edges, find a visitor's session."""
    return secrets.key(config.secrets.ufrag_key, purpose="ice-ufrag")


def shared_tls(config: Config) -> SharedTls | None:
    """The TLS port for pages and others. Raises ConfigError for files that are no certificate and key."""
    listener = config.listeners.shared_tls
    if not listener.bind:
        return None
    chain, key = _der(config, listener.certificate, "listeners.shared_tls.certificate")
    pages = None
    if ended := terminated_names(config):
        page_chain, page_key = _der(config, config.edge.certificate, "edge.certificate")
        pages = PageCertificate(names=ended, chain=page_chain, private_key_der=page_key)
    return SharedTls(
        binds=tuple(str(bind) for bind in listener.bind),
        names=listener.names,
        certificate_chain=chain,
        private_key_der=key,
        page_certificate=pages,
        trusted_proxies=tuple(map(str, config.edge.trusted_proxies)) if config.role == "edge" else (),
        ice=tuple(map(str, shared_ice(config))),
    )


def _der(config: Config, certificate: Certificate, key: str) -> tuple[tuple[bytes, ...], bytes]:
    """Chain and private key. Raises ConfigError that names the configuration's `key`."""
    files = tls_files(config, certificate)
    try:
        chain = x509.load_pem_x509_certificates(files.chain.read_bytes())
        private = serialization.load_pem_private_key(files.key.read_bytes(), password=None)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{key} cannot be read: {error}") from None
    return (
        tuple(each.public_bytes(serialization.Encoding.DER) for each in chain),
        private.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )


def sip_config(config: Config) -> SipConfig:
    """What the user agent is started with."""
    sip, limits = config.listeners.sip, config.limits
    ports: dict[Transport, int | None] = {"udp": sip.udp, "tcp": sip.tcp, "tls": sip.tls}
    return SipConfig(
        binds=tuple(
            Bind(transport, bind, port, announced_ip=told)
            for bind, told in announced(config, sip.networks).items()
            for transport, port in ports.items()
            if port is not None
        ),
        domains=sip_domains(config),
        realm=sip.realm,
        server_name=SERVER_NAME,
        trunks=trunk_rules(config),
        certificate_users=certificate_users(config),
        limits=SipLimits(
            transactions=limits.sip_transactions,
            sessions=2 * limits.calls,
            connections=limits.sip_connections,
            connections_per_source=limits.sip_connections_per_source,
            connection_idle_s=limits.sip_connection_idle,
            message_timeout_s=limits.handshake,
            bindings_per_aor=limits.sip_bindings_per_user,
            auth_failures=SIGN_IN_FAILURES_AT_ONCE,
            auth_failure_window_s=SIGN_IN_FAILURES_AT_ONCE / limits.sign_in_failures_per_source,
            message=MessageLimits(message_bytes=limits.sip_message),
        ),
        nat_keep_alive_s=sip.nat_keep_alive,
        min_expires_s=round(sip.registration_min),
        max_expires_s=round(sip.registration_max),
        default_expires_s=min(3_600, round(sip.registration_max)),
        session_expires_s=round(sip.session_timer),
        min_se_s=round(sip.session_timer_min),
        retry_after_s=int(config.drain.retry_after),
        dscp=config.media.dscp.signaling,
    )


def capture(config: Config, *, secrets: SecretStore, counters: Counters) -> Capture | None:
    """Where copies of SIP messages go; None sends none."""
    settings = config.capture
    if settings.to is None:
        return None
    key = secrets.text(settings.key) if settings.key is not None else ""
    return Capture(settings.to, agent=settings.agent, key=key, counters=counters)


def sip_domains(config: Config) -> frozenset[str]:
    """Domains whose users are ours, lower case."""
    return frozenset({config.listeners.sip.realm.lower(), *(config.domain_of(user).lower() for user in config.users)})


def certificate_users(config: Config) -> dict[str, str]:
    """Users by the names in their devices' certificates."""
    found = {}
    for user, settings in config.users.items():
        for name in settings.certificate_names:
            account, at, host = name.removeprefix("sip:").rpartition("@")
            found[f"{account}{at}{host.lower()}"] = user
    return found


def trunk_rules(config: Config) -> tuple[TrunkRule, ...]:
    """How requests of trunks are known."""
    return tuple(
        TrunkRule(
            name, tuple(trunk.peers), certificate_names=frozenset(each.lower() for each in trunk.certificate_names)
        )
        for name, trunk in config.trunks.items()
    )


def resolver(config: Config, *, counters: Counters) -> Resolver:
    """What finds the servers of a domain."""
    sip = config.listeners.sip
    ports: dict[Transport, int | None] = {"udp": sip.udp, "tcp": sip.tcp, "tls": sip.tls}
    return Resolver(
        dns=DnsClient(servers=config.dns.servers, timeout_s=config.dns.timeout, counters=counters),
        transports=frozenset(
            transport
            for transport, port in ports.items()
            if port is not None or (transport == "tls" and any(trunk.edge for trunk in config.trunks.values()))
        ),
    )


def rooms_of(config: Config, *, call_later: Callable[[float, Callable[[], None]], object]) -> Rooms:
    """The rooms with their bounds; `call_later` is the loop's."""
    return Rooms(
        rooms=config.limits.rooms,
        publishers=config.limits.publishers_per_room,
        viewers=config.limits.viewers_per_room,
        members=config.limits.participants_per_room,
        phones=config.limits.phones_per_room,
        audio_places=config.rooms.audio_slots,
        call_later=call_later,
    )


def http_limits(config: Config) -> HttpLimits:
    """Bounds of what speaks HTTP."""
    limits = config.limits
    return HttpLimits(
        # Those of the sessions' sockets, and half as many for all else; SIP's have their own bound.
        connections=3 * limits.sessions + (limits.sip_connections if config.listeners.sip.websocket.path else 0),
        requests_per_second_per_source=limits.http_requests_per_source,
        request_burst_per_source=2 * limits.http_requests_per_source,
        max_body_bytes=limits.http_body,
        handshake_s=limits.handshake,
    )
