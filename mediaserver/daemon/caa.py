"""Who may issue a certificate for a page, as its DNS tells authorities: CAA (RFC 8659) with the parameters of RFC 8657."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import dns.asyncresolver
import dns.exception
import dns.nameserver
import dns.resolver

from mediaserver.config.values import SocketAddress
from mediaserver.errors import MediaServerError

REMAINING_TRUST: Final = (
    "What remains to be trusted, with the best of CAA: the authority that it names and its account; whoever can change the "
    "zone or answers for it (sign it by DNSSEC); and every authority to obey CAA. Watch certificate transparency logs for "
    "the names."
)
_DNS_01: Final = "dns-01"


class DnsError(MediaServerError):
    """No answer that can be used."""


@dataclass(frozen=True, slots=True)
class Property:
    """One record: what may be issued by whom, and on which conditions."""

    tag: str
    value: str


Ask = Callable[[str], Awaitable[Sequence[Property]]]
"""The records of exactly this name; none where there are none. Raises DnsError."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether nobody but the house can get a certificate by owning its public address."""

    is_bound: bool
    said: str
    right: str = ""
    """What would be right, where it is not."""


async def judge(name: str, ask: Ask) -> Verdict:
    """What the records that count for `name` allow (RFC 8659 §3: its own, or those of the closest name above). Raises
    DnsError."""
    labels = name.rstrip(".").split(".")
    for first in range(len(labels)):
        place = ".".join(labels[first:])
        if found := await ask(place):
            return _judged(name, place, found)
    return Verdict(
        False,
        f"{name} has no CAA: any authority gives a certificate to whoever answers at its public address",
        _wanted(name),
    )


def _judged(name: str, place: str, found: Sequence[Property]) -> Verdict:
    issue = [each.value for each in found if each.tag.lower() == "issue"]
    if not issue:
        return Verdict(
            False, f"CAA of {place} names no authority in `issue`, so any may issue for {name}", _wanted(place)
        )
    # Without a tag of its own a wildcard goes by `issue` (RFC 8659 §4.3).
    values = [*issue, *(each.value for each in found if each.tag.lower() == "issuewild")]
    for value in values:
        authority, parameters = parsed(value)
        if not authority:
            continue
        lacking = []
        if not parameters.get("accounturi"):
            lacking.append("accounturi: any account there will do")
        if parameters.get("validationmethods", "").split(",") != [_DNS_01]:
            lacking.append(f"validationmethods={_DNS_01}: to answer at the public address will do")
        if lacking:
            return Verdict(
                False,
                f"CAA of {place} lets {authority} issue for {name} without {' and '.join(lacking)}",
                _wanted(place),
            )
    return Verdict(True, f"CAA of {place} binds certificates for {name} to an account and to DNS")


def parsed(value: str) -> tuple[str, Mapping[str, str]]:
    """Authority and parameters of an `issue` value (RFC 8659 §4.2); the authority is empty where nobody may issue."""
    authority, *rest = (part.strip() for part in value.split(";"))
    pairs = (part.partition("=") for part in rest if part)
    return authority, {tag.strip().lower(): text.strip() for tag, _, text in pairs}


def asker(servers: Sequence[SocketAddress], *, timeout_s: float) -> Ask:
    """Asks these name servers; none are those of the machine."""
    resolver = dns.asyncresolver.Resolver(configure=not servers)
    if servers:
        at = [dns.nameserver.Do53Nameserver(server.host, server.port) for server in servers]
        resolver.nameservers = list[str | dns.nameserver.Nameserver](at)

    async def ask(name: str) -> Sequence[Property]:
        try:
            answer = await resolver.resolve(
                f"{name}.", "CAA", lifetime=timeout_s, raise_on_no_answer=False, search=False
            )
        except dns.resolver.NXDOMAIN:
            return ()
        except (dns.exception.DNSException, OSError) as error:
            raise DnsError(f"DNS does not say who may issue for {name}: {type(error).__name__}") from None
        return [Property(_text(record.tag), _text(record.value)) for record in answer.rrset or ()]

    return ask


def _text(value: bytes) -> str:
    return value.decode("ascii", "replace")


def _wanted(place: str) -> str:
    return (
        f'{place}. CAA 128 issue "AUTHORITY; accounturi=URI-OF-YOUR-ACCOUNT; validationmethods={_DNS_01}" and '
        f'{place}. CAA 128 issuewild ";", with an authority that obeys RFC 8657'
    )
