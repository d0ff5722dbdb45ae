"""NAPTR and SRV records as plain values, and the order in which they are tried (RFC 2782, RFC 3263 §4); pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from mediaserver.sip.flow import Transport

SERVICES: Final[dict[str, Transport]] = {"SIP+D2U": "udp", "SIP+D2T": "tcp", "SIPS+D2T": "tls"}
"""What a NAPTR record offers (RFC 3263 §4.1) and the transport that it stands for."""

SRV_PREFIXES: Final[dict[Transport, str]] = {"udp": "_sip._udp.", "tcp": "_sip._tcp.", "tls": "_sips._tcp."}


T = TypeVar("T")


class Chance(Protocol):
    """A source of random numbers."""

    def randint(self, a: int, b: int) -> int:
        """A whole number from `a` to `b`, both included."""


@dataclass(frozen=True, slots=True)
class Srv:
    """One SRV record; `host` has no final dot."""

    priority: int
    weight: int
    port: int
    host: str


@dataclass(frozen=True, slots=True)
class Naptr:
    """One NAPTR record; `service` in upper case, `replacement` without a final dot."""

    order: int
    preference: int
    flags: str
    service: str
    replacement: str


def ordered_srv(records: Iterable[Srv], chance: Chance) -> list[Srv]:
    """The records as they are tried: lowest priority first, within it at random by weight (RFC 2782).

    A host of "." says that the service is decidedly not there; such records are left out.
    """
    out: list[Srv] = []
    by_priority: dict[int, list[Srv]] = {}
    for record in records:
        if record.host not in ("", "."):
            by_priority.setdefault(record.priority, []).append(record)
    for priority in sorted(by_priority):
        out += weighted(by_priority[priority], [record.weight for record in by_priority[priority]], chance)
    return out


def weighted(items: Sequence[T], weights: Sequence[int], chance: Chance) -> list[T]:
    """`items` in the random order of RFC 2782: running sums of the weights, those of weight 0 first in the row."""
    left = sorted(zip(items, weights, strict=True), key=lambda pair: pair[1] > 0)
    out: list[T] = []
    while left:
        mark, running, chosen = chance.randint(0, sum(weight for _, weight in left)), 0, len(left) - 1
        for index, (_, weight) in enumerate(left):
            running += weight
            if running >= mark:
                chosen = index
                break
        out.append(left.pop(chosen)[0])
    return out


def chosen_services(
    records: Iterable[Naptr], *, secure: bool, supported: frozenset[Transport]
) -> list[tuple[Transport, str]]:
    """Transport and name for the SRV query, best first (RFC 3263 §4.1).

    Records of other flags than "s", of transports that we have not, and for a SIPS URI those without TLS are left out.
    """
    out: list[tuple[Transport, str]] = []
    for record in sorted(records, key=lambda each: (each.order, each.preference)):
        transport = SERVICES.get(record.service)
        if transport is None or record.flags.lower() != "s" or transport not in supported:
            continue
        if secure and transport != "tls":
            continue
        if record.replacement not in ("", ".") and (transport, record.replacement) not in out:
            out.append((transport, record.replacement))
    return out
