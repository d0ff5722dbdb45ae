"""Who is calling by SIP, by the trust rule of the trunk, and how somebody else is told of it (RFC 3323 to RFC 3325)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from mediaserver.call.agents import Presentation
from mediaserver.call.connected_identity import ConnectedIdentity
from mediaserver.call.identity_rules import trunk_rules
from mediaserver.call.trunk import TrunkLine
from mediaserver.sip.diversions import Diversion, diversions
from mediaserver.sip.headers import NameAddr
from mediaserver.sip.identity import ANONYMOUS, asserted_identity, number_of, wants_anonymity
from mediaserver.sip.uri import SipUri, escape_user
from mediaserver.sip.user_agent import IncomingInvite
from mediaserver.sip.user_to_user import read_user_to_user, user_to_user

NAMELESS: Final = "anonymous"
"""What is shown of somebody who is not known, or does not want to be."""


@dataclass(frozen=True, slots=True)
class CallerIdentity:
    """What is known of a caller before the call is routed."""

    name: str
    """For agents, pages and records."""
    number: str | None = None
    """As the number rules of the trunk read it, for routes and for trunks that are trusted with it; None is unknown."""
    display_name: str = ""
    withheld: bool = False
    """The caller does not want others to be told who it is."""
    trusted: bool = False
    """Whether `attributes` come from somebody whom the house believes."""
    attributes: Mapping[str, str] = field(default_factory=dict)
    way: tuple[Diversion, ...] = ()
    """From whom the call went on before it came here, the first of them first."""


def identity_of(incoming: IncomingInvite, line: TrunkLine | None) -> CallerIdentity:
    """Who calls; `line` is the trunk that the call comes by, None for a user of the house."""
    headers, party = incoming.request.headers, incoming.session.remote_party
    rules = line.settings.identity if line is not None else None
    trusted = rules is not None and rules.incoming == "trusted"
    asserted = asserted_identity(headers) if trusted else None
    shown = asserted or party
    number = incoming.authenticated_user or number_of(shown)
    if line is not None:
        number = line.numbers.read(number)
    withheld = wants_anonymity(headers)
    way = diversions(headers) if line is not None else ()
    attributes: dict[str, str] = {}
    if way:
        attributes |= {"called_first": way[0].by, "diverted_by": way[-1].by, "diverted_because": way[-1].reason}
    if rules is not None and rules.user_to_user is not None:
        told = read_user_to_user(headers)
        if told is not None:
            attributes[rules.user_to_user] = told
    display_name = shown.display_name or (
        party.display_name if asserted is not None and not _is_nameless(party) else ""
    )
    name = NAMELESS if withheld else display_name or number or NAMELESS
    return CallerIdentity(name, number, display_name, withheld, trusted, attributes, way)


def from_field(shown: Presentation, number: str | None, *, domain: str) -> NameAddr:
    """From of a call of ours; `number` is as its callee wants it, None for somebody who has none there."""
    if shown.withheld:
        return ANONYMOUS
    return NameAddr(SipUri(host=domain, user=escape_user(number or NAMELESS)), display_name=shown.name)


def told_fields(shown: Presentation, line: TrunkLine, *, domain: str) -> list[tuple[str, str]]:
    """What a trunk is told beside From, by its own rules: who is calling and what goes along. Its fixed fields win."""
    rules = line.settings.identity
    who = ConnectedIdentity(shown.name, shown.number, shown.withheld)
    fields = list(trunk_rules(line, domain).tell(who))
    told = shown.attributes.get(rules.user_to_user) if rules.user_to_user is not None else None
    value = user_to_user(told) if told else None
    if value is not None:
        fields.append(("User-to-User", value))
    fixed = {name.lower() for name in line.settings.headers.fixed}
    return [field for field in fields if field[0].lower() not in fixed]


def _is_nameless(party: NameAddr) -> bool:
    return number_of(party) is None or (isinstance(party.uri, SipUri) and party.uri.host.endswith(".invalid"))
