"""Keeps strangers cheap: a rate per source prefix before authentication, and bans after wrong passwords."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from functools import lru_cache

from mediaserver.runtime.sources import source_prefix, unmapped
from mediaserver.sip.config import SipLimits


@lru_cache(maxsize=4096)
def address_of(ip: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The address as a value; an IPv4 address mapped into IPv6 counts as IPv4."""
    return unmapped(ipaddress.ip_address(ip))


@lru_cache(maxsize=4096)
def prefix_of(ip: str) -> str:
    """What counts as one source: an IPv4 address, or an IPv6 /64."""
    return source_prefix(ip)


class _Record:
    __slots__ = ("banned_until", "failures", "failures_since", "tokens", "updated_at")

    def __init__(self, tokens: float, now: float) -> None:
        self.tokens = tokens
        self.updated_at = now
        self.failures = 0
        self.failures_since = now
        self.banned_until = 0.0


class SourceGuard:
    """What is known about sources; a bounded table, the one not heard of for longest is forgotten first."""

    def __init__(self, limits: SipLimits) -> None:
        self._limits = limits
        self._records: OrderedDict[str, _Record] = OrderedDict()

    def _record(self, ip: str, now: float) -> _Record:
        key = prefix_of(ip)
        record = self._records.get(key)
        if record is None:
            record = self._records[key] = _Record(self._limits.unauthenticated_per_source_per_s * 2, now)
            if len(self._records) > self._limits.tracked_sources:
                self._records.popitem(last=False)
        else:
            self._records.move_to_end(key)
        return record

    def is_banned(self, ip: str, now: float) -> bool:
        """True while this source is banned."""
        record = self._records.get(prefix_of(ip))
        return record is not None and record.banned_until > now

    def allow(self, ip: str, now: float) -> bool:
        """Take one token for a request that proved nothing yet; False when the source has none left."""
        record = self._record(ip, now)
        rate = self._limits.unauthenticated_per_source_per_s
        record.tokens = min(rate * 2, record.tokens + (now - record.updated_at) * rate)
        record.updated_at = now
        if record.tokens < 1.0:
            return False
        record.tokens -= 1.0
        return True

    def failed(self, ip: str, now: float) -> bool:
        """Count a wrong password. True when the source is banned from now on."""
        record = self._record(ip, now)
        if now - record.failures_since > self._limits.auth_failure_window_s:
            record.failures, record.failures_since = 0, now
        record.failures += 1
        if record.failures >= self._limits.auth_failures:
            record.failures = 0
            record.banned_until = now + self._limits.ban_s
            return True
        return False
