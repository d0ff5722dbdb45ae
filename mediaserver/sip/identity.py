"""Who is calling, beside From: P-Asserted-Identity (RFC 3325), Remote-Party-ID, and the wish to be anonymous (RFC 3323).

Nothing here decides who is believed: that is the trust rule of a trunk.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

from mediaserver.sip.errors import SipParseError
from mediaserver.sip.headers import Headers, NameAddr, parse_name_addr, split_list
from mediaserver.sip.uri import SipUri

IdentityForm = Literal["none", "asserted", "remote_party_id", "preferred"]
"""How a trunk is told who is calling."""

ANONYMOUS: Final = NameAddr(SipUri("anonymous.invalid", "anonymous"), "Anonymous")
"""RFC 3323 §4.1.1.3: what From is for a caller who wants to be anonymous."""

_MOST_VALUES: Final = 4
"""RFC 3325 §9.1 allows two, a SIP URI and a telephone number."""
_MOST_FIELDS: Final = 8
_VISUAL: Final = str.maketrans("", "", "-.()")


IDENTITY_FIELDS: Final = ("P-Asserted-Identity", "P-Preferred-Identity", "Remote-Party-ID", "Privacy")
"""Header fields that say who is at an end of a call, beside From and To."""


def identity_of_message(headers: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """What a message says of who sent it; only a wish to be anonymous says nothing."""
    names = {name.lower() for name in IDENTITY_FIELDS}
    found = tuple((name, value) for name, value in headers if name.lower() in names)[:_MOST_FIELDS]
    return found if any(name.lower() != "privacy" for name, _ in found) else ()


def asserted_identity(headers: Headers) -> NameAddr | None:
    """Who somebody that is trusted says is calling; None where nothing is said that can be read.

    P-Asserted-Identity goes before Remote-Party-ID. Of two identities the one with a number or user name counts.
    """
    for value in (*_entries(headers, "P-Asserted-Identity"), *_entries(headers, "Remote-Party-ID")):
        if value.param("screen") == "no" or (value.param("party") or "calling").lower() != "calling":
            continue  # Remote-Party-ID of somebody else, or one that nobody vouches for
        if number_of(value) is not None:
            return NameAddr(value.uri, value.display_name)
    return None


def number_of(identity: NameAddr) -> str | None:
    """The user part of a SIP URI or the digits of a tel URI (RFC 3966 §3); None for anonymous ones and others."""
    uri = identity.uri
    if isinstance(uri, SipUri):
        user = uri.user_text
        return None if user is None or user.lower() in ("anonymous", "restricted", "unavailable") else user
    if uri.scheme == "tel":
        return uri.text.partition(":")[2].partition(";")[0].translate(_VISUAL) or None
    return None


def wants_anonymity(headers: Headers) -> bool:
    """Whether the caller asks that others are not told who it is.

    RFC 3323 §4.2 `user` and RFC 3325 §9.3 `id`; what `header` and `session` ask for, every call through here has.
    """
    # Tokens only: there is nothing in them that could be quoted.
    wishes = {item.strip().lower() for value in headers.all("Privacy") for item in value.split(";")}
    if wishes:
        return "none" not in wishes and not wishes.isdisjoint({"id", "user"})
    return any(
        (value.param("privacy") or "off").strip('"').lower() in ("full", "uri")
        for value in _entries(headers, "Remote-Party-ID")
    )


def identity_fields(form: IdentityForm, identity: NameAddr | None, *, withheld: bool) -> list[tuple[str, str]]:
    """Header fields of a request of ours that say who is calling; `identity` None is not known.

    A caller who wants to be `withheld` is named only to those who are trusted to keep it, with the wish beside it.
    """
    wish = [("Privacy", "id")] if withheld else []
    if form == "none" or identity is None:
        return wish
    if form == "remote_party_id":
        privacy = "full" if withheld else "off"
        return [("Remote-Party-ID", f"{identity};party=calling;screen=yes;privacy={privacy}"), *wish]
    name = "P-Asserted-Identity" if form == "asserted" else "P-Preferred-Identity"
    return [(name, str(identity)), *wish]


def _entries(headers: Headers, name: str) -> list[NameAddr]:
    found: list[NameAddr] = []
    for value in headers.all(name):
        try:
            found += [parse_name_addr(item) for item in split_list(value)[:_MOST_VALUES]]
        except SipParseError:
            continue  # what cannot be read says nothing; the call itself is none the worse
    return found[:_MOST_VALUES]
