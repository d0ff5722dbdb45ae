"""What phones and trunks are told of whoever they talk to, and what they are believed: the trust rules of RFC 3325."""

from __future__ import annotations

from mediaserver.call.connected_identity import ConnectedIdentity, Fields, IdentityRules, nobody
from mediaserver.call.trunk import TrunkLine
from mediaserver.sip.headers import Headers, NameAddr, parse_name_addr
from mediaserver.sip.identity import ANONYMOUS, asserted_identity, identity_fields, number_of, wants_anonymity
from mediaserver.sip.uri import SipUri, escape_user


def phone_rules(domain: str) -> IdentityRules:
    """A phone of the house is told who the house knows, but for those who do not want it; it is known by its password."""

    def tell(identity: ConnectedIdentity) -> Fields:
        if identity.withheld or not identity.number:
            return ()
        address = _address(identity.name, identity.number, domain)
        if not identity.verified:
            # Nobody asserts it, but phones may show it: draft-ietf-sip-privacy-04 §5.2 has a word for that.
            return [("Remote-Party-ID", f"{address};party=calling;screen=no;privacy=off")]
        return identity_fields("asserted", address, withheld=False)

    def address(identity: ConnectedIdentity) -> NameAddr | None:
        return _from(identity, identity.number, domain)

    return IdentityRules(tell, address, nobody)


def trunk_rules(line: TrunkLine, domain: str) -> IdentityRules:
    """By the trust rule of the trunk, which a reload may change."""

    def tell(identity: ConnectedIdentity) -> Fields:
        number = line.numbers.caller(identity.number)
        address = _address("" if identity.withheld else identity.name, number, domain) if number else None
        fields = identity_fields(line.settings.identity.outgoing, address, withheld=identity.withheld)
        fixed = {name.lower() for name in line.settings.headers.fixed}
        return [field for field in fields if field[0].lower() not in fixed]

    def address(identity: ConnectedIdentity) -> NameAddr | None:
        return _from(identity, line.numbers.caller(identity.number), domain)

    def believe(fields: Fields) -> ConnectedIdentity | None:
        headers = Headers()
        for name, value in fields:
            headers.add(name, value)
        trusted = line.settings.identity.incoming == "trusted"
        asserted = asserted_identity(headers) if trusted else None
        found = asserted or _said(headers)
        number = line.numbers.read(number_of(found)) if found is not None else None
        if found is None or number is None:
            return None
        withheld = trusted and wants_anonymity(headers)
        return ConnectedIdentity(found.display_name or number, number, withheld, verified=asserted is not None)

    return IdentityRules(tell, address, believe)


def _said(headers: Headers) -> NameAddr | None:
    """A From that has changed: nobody vouches for it, as for that of the INVITE (RFC 4916 §4.5)."""
    value = headers.get("From")
    return parse_name_addr(value) if value is not None else None


def _from(identity: ConnectedIdentity, number: str | None, domain: str) -> NameAddr | None:
    if identity.withheld:
        return ANONYMOUS
    return _address(identity.name, number, domain) if number else None


def _address(name: str, number: str, domain: str) -> NameAddr:
    return NameAddr(SipUri(host=domain, user=escape_user(number)), name)
