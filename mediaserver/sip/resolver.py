"""Finds next hops (RFC 3263): address literals at once, names by SRV, A and AAAA through dnspython."""

from __future__ import annotations

import random

import dns.asyncresolver
import dns.exception
import dns.resolver

from mediaserver.sip.dialog import target_of
from mediaserver.sip.flow import Target, Transport, is_ip_literal
from mediaserver.sip.uri import SipUri

_SERVICES: dict[Transport, str] = {"udp": "_sip._udp.", "tcp": "_sip._tcp.", "tls": "_sips._tcp."}


_RANDOM = random.SystemRandom()


class Resolver:
    """Names to targets. `hosts` overrides DNS for some names (tests, closed networks); no answer is an empty list."""

    def __init__(
        self, *, hosts: dict[str, list[str]] | None = None, use_srv: bool = True, timeout_s: float = 3.0
    ) -> None:
        self._hosts = {name.lower(): list(addresses) for name, addresses in (hosts or {}).items()}
        self._use_srv = use_srv
        self._timeout_s = timeout_s
        self._dns: dns.asyncresolver.Resolver | None = None

    async def resolve(self, uri: SipUri) -> list[Target]:
        """Next hops of a SIP URI, best first; every `host` is an address. Empty when there is none."""
        base = target_of(uri)
        if is_ip_literal(base.host):
            return [base]
        names: list[Target] = []
        # RFC 3263 §4.2: SRV only where the URI gives no port.
        if uri.port is None and self._use_srv and base.host.lower() not in self._hosts:
            names = await self._srv(base)
        out: list[Target] = []
        for name in names or [base]:
            addresses = await self.addresses(name.host)
            out += [Target(name.transport, ip, name.port, name.server_name or base.host) for ip in addresses]
        return out[:16]

    async def addresses(self, host: str) -> list[str]:
        """Addresses of a name, IPv4 first; the literal itself for an address. Empty when there are none."""
        if is_ip_literal(host):
            return [host]
        fixed = self._hosts.get(host.lower())
        if fixed is not None:
            return fixed
        if host.lower() == "localhost":
            return ["127.0.0.1"]
        out: list[str] = []
        for kind in ("A", "AAAA"):
            out += [record.address for record in await self._query(host, kind)]
        return out

    async def _srv(self, base: Target) -> list[Target]:
        records = await self._query(_SERVICES[base.transport] + base.host, "SRV")
        # RFC 2782: by priority, then at random with the weights.
        ordered = sorted(records, key=lambda r: (r.priority, -(_RANDOM.random() ** (1.0 / max(r.weight, 1)))))
        return [
            Target(base.transport, record.target.to_text(omit_final_dot=True), record.port, base.host)
            for record in ordered[:8]
        ]

    async def _query(self, name: str, kind: str) -> list:  # type: ignore[type-arg]
        try:
            if self._dns is None:
                self._dns = dns.asyncresolver.Resolver()
            return list(await self._dns.resolve(name, kind, lifetime=self._timeout_s))
        except (dns.exception.DNSException, OSError):
            return []
