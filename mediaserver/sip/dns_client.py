"""Asks DNS through dnspython and keeps what it says: one question at a time for each name, however many want to know."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final, cast

import dns.asyncresolver
import dns.exception
import dns.message
import dns.nameserver
import dns.resolver

from mediaserver.sip.config import Counters, NullCounters
from mediaserver.sip.dns_cache import DnsCache, Found, Key
from mediaserver.sip.service_records import Naptr, Srv

_MAX_RECORDS: Final = 32
_MAX_NAME: Final = 253


class DnsClient:
    """`servers` are addresses with ports; none are those of the machine's resolver configuration."""

    def __init__(
        self,
        *,
        servers: Sequence[tuple[str, int]] = (),
        timeout_s: float = 3.0,
        cache: DnsCache | None = None,
        counters: Counters | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._servers = tuple(servers)
        self._timeout_s = timeout_s
        self._cache = cache or DnsCache()
        self._counters = counters or NullCounters()
        self._now = now
        self._resolver: dns.asyncresolver.Resolver | None = None
        self._asking: dict[Key, asyncio.Task[Found]] = {}

    async def addresses(self, name: str) -> list[str]:
        """IPv4 addresses, then IPv6 ones."""
        four, six = await asyncio.gather(self._query(name, "A"), self._query(name, "AAAA"))
        return cast("list[str]", [*four.records, *six.records])

    async def srv(self, name: str) -> list[Srv]:
        """SRV records, in no order."""
        return cast("list[Srv]", list((await self._query(name, "SRV")).records))

    async def naptr(self, name: str) -> list[Naptr]:
        """NAPTR records, in no order."""
        return cast("list[Naptr]", list((await self._query(name, "NAPTR")).records))

    async def _query(self, name: str, kind: str) -> Found:
        key = name.lower().rstrip("."), kind
        if not key[0] or len(key[0]) > _MAX_NAME:
            return Found((), self._now())
        found = self._cache.fresh(key, self._now())
        if found is not None:
            return found
        task = self._asking.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._ask(key), name=f"dns-{kind}-{key[0]}")
            self._asking[key] = task
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        # Somebody who stops waiting does not take the answer from the others.
        return await asyncio.shield(task)

    async def _ask(self, key: Key) -> Found:
        name, kind = key
        try:
            answer = await self._dns().resolve(
                f"{name}.", kind, lifetime=self._timeout_s, raise_on_no_answer=False, search=False
            )
            records = tuple(_plain(kind, record) for record in answer.rrset or ())[:_MAX_RECORDS]
            ttl_s = float(answer.chaining_result.minimum_ttl)
        except dns.resolver.NXDOMAIN as error:
            records, ttl_s = (), _negative_ttl(error)
        except (dns.exception.DNSException, OSError):
            self._counters.inc("sip.dns_queries", result="failed")
            return self._cache.failed(key, self._now())
        self._counters.inc("sip.dns_queries", result="found" if records else "nothing")
        return self._cache.put(key, records, ttl_s, self._now())

    def _dns(self) -> dns.asyncresolver.Resolver:
        if self._resolver is None:
            resolver = dns.asyncresolver.Resolver(configure=not self._servers)
            if self._servers:
                servers = [dns.nameserver.Do53Nameserver(ip, port) for ip, port in self._servers]
                resolver.nameservers = list[str | dns.nameserver.Nameserver](servers)
            self._resolver = resolver
        return self._resolver


def _plain(kind: str, record: object) -> object:
    fields = cast("dict[str, object]", {name: getattr(record, name) for name in _FIELDS[kind]})
    if kind in ("A", "AAAA"):
        return str(fields["address"])
    if kind == "SRV":
        host = _name(fields["target"])
        return Srv(cast("int", fields["priority"]), cast("int", fields["weight"]), cast("int", fields["port"]), host)
    return Naptr(
        order=cast("int", fields["order"]),
        preference=cast("int", fields["preference"]),
        flags=cast("bytes", fields["flags"]).decode("ascii", "replace"),
        service=cast("bytes", fields["service"]).decode("ascii", "replace").upper(),
        replacement=_name(fields["replacement"]),
    )


_FIELDS: Final = {
    "A": ("address",),
    "AAAA": ("address",),
    "SRV": ("priority", "weight", "port", "target"),
    "NAPTR": ("order", "preference", "flags", "service", "replacement"),
}


def _name(value: object) -> str:
    text = str(value)
    return text if text == "." else text.rstrip(".")


def _negative_ttl(error: dns.resolver.NXDOMAIN) -> float:
    """RFC 2308 §5: the least of the SOA's TTL and its minimum; a short time where the answer has none."""
    responses: list[dns.message.QueryMessage] = list(error.responses().values())  # type: ignore[no-untyped-call]
    return min((float(response.resolve_chaining().minimum_ttl) for response in responses), default=5.0)
