"""The way of a call before it came here: History-Info (RFC 7044) and Diversion (RFC 5806), read as one list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from mediaserver.sip.errors import SipParseError
from mediaserver.sip.headers import Headers, NameAddr, find_param, parse_name_addr, parse_params, split_list
from mediaserver.sip.identity import number_of
from mediaserver.sip.uri import SipUri

MOST: Final = 20
"""Entries that are looked at."""
_LONGEST: Final = 128
_HIDDEN: Final = "anonymous"

_CAUSES: Final[Mapping[str, str]] = {
    # RFC 4458 §2 and RFC 7044 §13: the status that moved the call, in the words of RFC 5806 §6.3.
    "302": "unconditional",
    "404": "unknown",
    "408": "no-answer",
    "480": "deflection",
    "486": "user-busy",
    "487": "deflection",
    "503": "out-of-service",
}


@dataclass(frozen=True, slots=True)
class Diversion:
    """Somebody who was called before and from whom the call went on."""

    by: str
    """Number or user name; `anonymous` for those who do not want to be named."""
    reason: str
    """A word of RFC 5806 §6.3: `unconditional`, `user-busy`, `no-answer`, `deflection`, …, `unknown`."""


def diversions(headers: Headers) -> tuple[Diversion, ...]:
    """Those from whom the call went on, the first of them first; History-Info where it says any, else Diversion."""
    return _by_history(headers) or _by_diversion(headers)


def _by_diversion(headers: Headers) -> tuple[Diversion, ...]:
    # RFC 5806 §6.1: the latest stands first.
    found = []
    for entry in _entries(headers, "Diversion"):
        reason = (entry.param("reason") or "unknown").strip('"').lower()[:_LONGEST]
        hidden = (entry.param("privacy") or "off").strip('"').lower() in ("full", "uri")
        found.append(Diversion(_HIDDEN if hidden else _called(entry), reason))
    return tuple(reversed(found))


def _by_history(headers: Headers) -> tuple[Diversion, ...]:
    entries = _entries(headers, "History-Info")
    by_index = {entry.param("index") or "": entry for entry in entries}
    found: dict[str, Diversion] = {}
    for entry in entries:
        # RFC 7044 §10.3: `mp` names whose call went to somebody else; `rc` and `np` are its way to the same person.
        origin = by_index.get(entry.param("mp") or "-")
        if origin is not None:
            found[origin.param("index") or ""] = _of_history(origin, new=entry)
    if found:
        return tuple(found.values())
    # RFC 4244 knew no such parameters: who has a Reason and a successor was left.
    return tuple(_of_history(entry, new=None) for entry in entries[:-1] if _reason(entry) is not None)


def _of_history(entry: NameAddr, *, new: NameAddr | None) -> Diversion:
    cause = new.uri.param("cause") if new is not None and isinstance(new.uri, SipUri) else None
    cause = cause or _reason(entry) or ""
    hidden = "history" in _uri_header(entry, "privacy").lower()
    return Diversion(_HIDDEN if hidden else _called(entry), _CAUSES.get(cause, "unknown"))


def _reason(entry: NameAddr) -> str | None:
    """The cause of the Reason (RFC 3326) that is escaped into the URI (RFC 7044 §10.1)."""
    try:
        _, *params = split_list(_uri_header(entry, "reason"), ";")
        return find_param(parse_params(params), "cause")
    except SipParseError:
        return None


def _uri_header(entry: NameAddr, wanted: str) -> str:
    if not isinstance(entry.uri, SipUri):
        return ""
    return next((unquote(value) for name, value in entry.uri.headers if unquote(name).lower() == wanted), "")


def _called(entry: NameAddr) -> str:
    number = number_of(entry)
    return _HIDDEN if number is None else "".join(c for c in number if c.isprintable())[:_LONGEST]


def _entries(headers: Headers, name: str) -> list[NameAddr]:
    found: list[NameAddr] = []
    for value in headers.all(name)[:MOST]:
        try:
            found += [parse_name_addr(item) for item in split_list(value)[:MOST]]
        except SipParseError:
            continue  # what cannot be read says nothing
    return found[:MOST]
