"""Header fields as values: name-addr, Via, and the header table of a message. The extension reads them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache

import msgspec

from mediaserver._engine import (
    canonical_name,
    is_quoted,
    parse_cseq,
    parse_name_addr,
    parse_name_addrs,
    parse_number,
    parse_params,
    parse_via,
    parse_vias,
    split_list,
    unquote_string,
)
from mediaserver.errors import LocalProtocolError
from mediaserver.sip.errors import SipParseError
from mediaserver.sip.flow import bracketed
from mediaserver.sip.uri import Params, SipUri, Uri

__all__ = [
    "CALL_ID",
    "Headers",
    "NameAddr",
    "Via",
    "canonical_name",
    "find_param",
    "format_params",
    "is_quoted",
    "is_token",
    "parse_cseq",
    "parse_name_addr",
    "parse_name_addrs",
    "parse_number",
    "parse_params",
    "parse_tokens",
    "parse_via",
    "parse_vias",
    "quote_string",
    "split_list",
    "unquote_string",
]

TOKEN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.!%*_+`'~")
# RFC 3261 §25.1 `word` for Call-ID; ":" and "[]" as they are, "@" joins two words.
CALL_ID = TOKEN | frozenset('()<>:\\"/[]?{}@')


_canonical = lru_cache(maxsize=1024)(canonical_name)


def _line(value: str) -> str:
    # Strict out: whatever an upper layer hands us must not become another header field.
    if "\r" in value or "\n" in value or "\0" in value:
        raise LocalProtocolError("header value holds a line break")
    return value


class Headers:
    """Header fields of one message in order; names are canonical, values unfolded text."""

    __slots__ = ("_items",)

    def __init__(self, items: Iterable[tuple[str, str]] = ()) -> None:
        self._items: list[tuple[str, str]] = [(_canonical(name), value) for name, value in items]

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, name: str) -> bool:
        return any(key == name for key, _ in self._items)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and self._items == other._items

    __hash__ = None  # type: ignore[assignment]

    def get(self, name: str) -> str | None:
        """First value of `name` (canonical spelling), or None."""
        for key, value in self._items:
            if key == name:
                return value
        return None

    def all(self, name: str) -> list[str]:
        """Values of every field called `name`, in order; one field may still hold a comma list."""
        return [value for key, value in self._items if key == name]

    def add(self, name: str, value: str) -> None:
        """Append one field. Raises LocalProtocolError for a value that would break the message."""
        self._items.append((_canonical(name), _line(value)))

    def insert_first(self, name: str, value: str) -> None:
        """Put a field before every other: the place of a new Via (RFC 3261 §8.1.1.7, §16.6 step 8)."""
        self._items.insert(0, (_canonical(name), _line(value)))

    def replace(self, name: str, value: str) -> None:
        """Give the first field called `name` another value and drop the others; append it where there was none."""
        name, value = _canonical(name), _line(value)
        for index, (key, _) in enumerate(self._items):
            if key == name:
                rest = [item for item in self._items[index + 1 :] if item[0] != name]
                self._items[index:] = [(name, value), *rest]
                return
        self._items.append((name, value))

    def replace_first(self, name: str, value: str) -> None:
        """Give the first field called `name` another value and leave the others."""
        for index, (key, _) in enumerate(self._items):
            if key == name:
                self._items[index] = (name, _line(value))
                return

    def remove(self, name: str) -> None:
        """Drop every field called `name`."""
        self._items = [item for item in self._items if item[0] != name]

    def copy(self) -> Headers:
        """An independent table with the same fields."""
        other = Headers()
        other._items = list(self._items)
        return other

    @classmethod
    def from_canonical(cls, items: list[tuple[str, str]]) -> Headers:
        """Take over a list whose names are canonical already."""
        headers = cls()
        headers._items = items
        return headers


def quote_string(text: str) -> str:
    """A quoted-string with this content; line breaks and other controls become spaces."""
    clean = "".join(c if c >= " " and c != "\x7f" else " " for c in text)
    return '"' + clean.replace("\\", "\\\\").replace('"', '\\"') + '"'


def is_token(text: str) -> bool:
    """True when every character may stand in a token (RFC 3261 §25.1) and there is one."""
    return bool(text) and TOKEN.issuperset(text)


def find_param(params: Params, name: str) -> str | None:
    """Value of `name` (lower case), "" when present without a value, None when absent."""
    for key, value in params:
        if key.lower() == name:
            return value or ""
    return None


def format_params(params: Params) -> str:
    """`;name=value` for each parameter."""
    return "".join(f";{key}" if value is None else f";{key}={value}" for key, value in params)


class NameAddr(msgspec.Struct, frozen=True, gc=False):
    """A name-addr or addr-spec with header parameters (From, To, Contact...). `display_name` is unquoted text."""

    uri: Uri
    display_name: str = ""
    params: Params = ()

    def param(self, name: str) -> str | None:
        """Value of a header parameter ("" without value, None when absent)."""
        return find_param(self.params, name)

    @property
    def tag(self) -> str | None:
        """The tag parameter; None when absent or empty."""
        return find_param(self.params, "tag") or None

    @property
    def sip_uri(self) -> SipUri:
        """The URI where it must be sip: or sips:. Raises SipParseError with 416 otherwise."""
        if not isinstance(self.uri, SipUri):
            raise SipParseError(f"URI scheme {self.uri.scheme} is not supported here", status=416)
        return self.uri

    def with_tag(self, tag: str) -> NameAddr:
        """A copy with this tag."""
        kept = tuple((k, v) for k, v in self.params if k.lower() != "tag")
        return NameAddr(self.uri, self.display_name, (*kept, ("tag", tag)))

    def __str__(self) -> str:
        name = quote_string(self.display_name) + " " if self.display_name else ""
        return f"{name}<{self.uri}>{format_params(self.params)}"


class Via(msgspec.Struct, frozen=True, gc=False):
    """One Via entry. `host` has no brackets; `transport` is lower case."""

    transport: str
    host: str
    port: int | None = None
    params: Params = ()
    version: str = "2.0"

    def param(self, name: str) -> str | None:
        """Value of a parameter ("" without value, None when absent)."""
        return find_param(self.params, name)

    @property
    def branch(self) -> str | None:
        """The branch parameter; None when absent or empty."""
        return find_param(self.params, "branch") or None

    def with_params(self, **changes: str | None) -> Via:
        """A copy in which these parameters have these values (None: no value)."""
        kept = tuple((k, v) for k, v in self.params if k.lower() not in changes)
        return Via(self.transport, self.host, self.port, (*kept, *changes.items()), self.version)

    def __str__(self) -> str:
        port = "" if self.port is None else f":{self.port}"
        return f"SIP/{self.version}/{self.transport.upper()} {bracketed(self.host)}{port}{format_params(self.params)}"


def parse_tokens(values: Iterable[str]) -> tuple[str, ...]:
    """A comma list of tokens such as Supported, Require, Allow; empty entries are dropped."""
    return tuple(item for value in values for item in split_list(value) if item)
