"""Locates SIP servers (RFC 3263): from a URI to next hops, by NAPTR, SRV, A and AAAA, or at once for an address."""

from __future__ import annotations

import random
from typing import Final

from mediaserver.sip.dialog import target_of
from mediaserver.sip.dns_client import DnsClient
from mediaserver.sip.flow import Target, Transport, is_ip_literal
from mediaserver.sip.service_records import SRV_PREFIXES, Chance, Srv, chosen_services, ordered_srv
from mediaserver.sip.uri import SipUri

MAX_TARGETS: Final = 16
"""Next hops of one URI; what DNS has beyond that is not tried."""
_MAX_NAMES: Final = 8
_SUPPORTED: Final[frozenset[Transport]] = frozenset({"udp", "tcp", "tls"})


class Resolver:
    """Names to targets. `hosts` overrides DNS for some names (tests, closed networks); no answer is an empty list.

    `transports` are those we can call by; `use_srv` False asks for addresses alone.
    """

    def __init__(
        self,
        *,
        hosts: dict[str, list[str]] | None = None,
        use_srv: bool = True,
        dns: DnsClient | None = None,
        transports: frozenset[Transport] = _SUPPORTED,
        chance: Chance | None = None,
    ) -> None:
        self._hosts = {name.lower(): list(addresses) for name, addresses in (hosts or {}).items()}
        self._use_srv = use_srv
        self._dns = dns or DnsClient()
        self._transports = transports
        self._chance: Chance = chance or random.SystemRandom()

    async def resolve(self, uri: SipUri) -> list[Target]:
        """Next hops of a SIP URI, best first; every `host` is an address. Empty when there is none.

        A TLS certificate must carry the name that the URI has (RFC 5922 §4), not the one that an SRV record leads to.
        """
        base = target_of(uri)
        if is_ip_literal(base.host):
            return [base]
        found: list[tuple[Transport, Srv]] = []
        # RFC 3263 §4.2: neither NAPTR nor SRV where the URI gives a port.
        if uri.port is None and self._use_srv and base.host.lower() not in self._hosts:
            found = await self._services(uri, base)
        names = found[:_MAX_NAMES] or [(base.transport, Srv(0, 0, base.port, base.host))]
        out: list[Target] = []
        for transport, record in names:
            for ip in await self.addresses(record.host):
                target = Target(transport, ip, record.port, base.host)
                if target not in out:
                    out.append(target)
        return out[:MAX_TARGETS]

    async def addresses(self, host: str) -> list[str]:
        """Addresses of a name, IPv4 first; the literal itself for an address. Empty when there are none."""
        if is_ip_literal(host):
            return [host]
        fixed = self._hosts.get(host.lower())
        if fixed is not None:
            return fixed
        if host.lower() == "localhost":
            return ["127.0.0.1"]
        return (await self._dns.addresses(host))[:MAX_TARGETS]

    async def _services(self, uri: SipUri, base: Target) -> list[tuple[Transport, Srv]]:
        """What SRV records say, for the transport that the URI or NAPTR chooses (RFC 3263 §4.1, §4.2)."""
        secure = uri.scheme == "sips"
        if uri.transport is not None or secure:
            # The transport is settled; with SIPS only TLS is left for us, and NAPTR could but rename the SRV.
            chosen = [(base.transport, SRV_PREFIXES[base.transport] + base.host)]
            if secure:
                records = await self._dns.naptr(base.host)
                chosen = chosen_services(records, secure=True, supported=self._transports) or chosen
            return await self._srv(chosen)
        records = await self._dns.naptr(base.host)
        chosen = chosen_services(records, secure=False, supported=self._transports)
        if chosen:
            return await self._srv(chosen)
        # No NAPTR: SRV of every transport that we have, the first that exists decides (§4.1).
        for transport, prefix in SRV_PREFIXES.items():
            if transport in self._transports and (found := await self._srv([(transport, prefix + base.host)])):
                return found
        return []

    async def _srv(self, chosen: list[tuple[Transport, str]]) -> list[tuple[Transport, Srv]]:
        out: list[tuple[Transport, Srv]] = []
        for transport, name in chosen[:_MAX_NAMES]:
            out += [(transport, record) for record in ordered_srv(await self._dns.srv(name), self._chance)]
        return out
