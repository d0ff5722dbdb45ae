"""Header fields as values: names and compact forms, lists, name-addr, Via, CSeq, and the header table of a message."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from mediaserver.errors import LocalProtocolError
from mediaserver.sip.errors import SipParseError
from mediaserver.sip.flow import bracketed, is_ip_literal
from mediaserver.sip.uri import Params, SipUri, Uri, parse_host_port, parse_uri

TOKEN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.!%*_+`'~")
# RFC 3261 §25.1 `word` for Call-ID; ":" and "[]" as they are, "@" joins two words.
_SEPARATORS = frozenset(' \t,;<>"')
CALL_ID = TOKEN | frozenset('()<>:\\"/[]?{}@')

# RFC 3261 §7.3.3 and the IANA table of compact forms.
_COMPACT = {
    "a": "Accept-Contact",
    "b": "Referred-By",
    "c": "Content-Type",
    "d": "Request-Disposition",
    "e": "Content-Encoding",
    "f": "From",
    "i": "Call-ID",
    "j": "Reject-Contact",
    "k": "Supported",
    "l": "Content-Length",
    "m": "Contact",
    "n": "Identity-Info",
    "o": "Event",
    "r": "Refer-To",
    "s": "Subject",
    "t": "To",
    "u": "Allow-Events",
    "v": "Via",
    "x": "Session-Expires",
    "y": "Identity",
}
_SPECIAL = {
    "call-id": "Call-ID",
    "cseq": "CSeq",
    "www-authenticate": "WWW-Authenticate",
    "mime-version": "MIME-Version",
    "min-se": "Min-SE",
    "rack": "RAck",
    "remote-party-id": "Remote-Party-ID",
    "rseq": "RSeq",
    "session-id": "Session-ID",
    "user-to-user": "User-to-User",
}


@lru_cache(maxsize=1024)
def canonical_name(name: str) -> str:
    """The usual spelling of a header name; compact forms become long."""
    lower = name.lower()
    return _COMPACT.get(lower) or _SPECIAL.get(lower) or "-".join(p.capitalize() for p in lower.split("-"))


def _line(value: str) -> str:
    # Strict out: whatever an upper layer hands us must not become another header field.
    if "\r" in value or "\n" in value or "\0" in value:
        raise LocalProtocolError("header value holds a line break")
    return value


class Headers:
    """Header fields of one message in order; names are canonical, values unfolded text."""

    __slots__ = ("_items",)

    def __init__(self, items: Iterable[tuple[str, str]] = ()) -> None:
        self._items: list[tuple[str, str]] = [(canonical_name(name), value) for name, value in items]

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
        self._items.append((canonical_name(name), _line(value)))

    def insert_first(self, name: str, value: str) -> None:
        """Put a field before every other: the place of a new Via (RFC 3261 §8.1.1.7, §16.6 step 8)."""
        self._items.insert(0, (canonical_name(name), _line(value)))

    def replace(self, name: str, value: str) -> None:
        """Give the first field called `name` another value and drop the others; append it where there was none."""
        name, value = canonical_name(name), _line(value)
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


def split_list(text: str, separator: str = ",") -> list[str]:
    """Split at `separator` outside quotes and angle brackets; linear. Raises SipParseError for an open quote."""
    if separator not in text:
        if '"' in text:
            _skip_quotes(text)
        return [text.strip()]
    if '"' not in text and "<" not in text:
        return [part.strip() for part in text.split(separator)]
    parts: list[str] = []
    start = index = 0
    angle = False
    length = len(text)
    while index < length:
        char = text[index]
        if char == '"' and not angle:
            index = end_of_quote(text, index)
            continue
        if char == "<":
            angle = True
        elif char == ">":
            angle = False
        elif char == separator and not angle:
            parts.append(text[start:index].strip())
            start = index + 1
        index += 1
    parts.append(text[start:].strip())
    return parts


def _skip_quotes(text: str) -> None:
    index, angle, length = 0, False, len(text)
    while index < length:
        char = text[index]
        if char == '"' and not angle:
            index = end_of_quote(text, index)
            continue
        if char == "<":
            angle = True
        elif char == ">":
            angle = False
        index += 1


def end_of_quote(text: str, start: int) -> int:
    """Index after the quoted-string that opens at `start`. Raises SipParseError when it never closes."""
    index, length = start + 1, len(text)
    while index < length:
        char = text[index]
        if char == "\\":
            index += 2
            continue
        if char == '"':
            return index + 1
        index += 1
    raise SipParseError("quoted string without its closing quote")


def unquote_string(text: str) -> str:
    """Content of a quoted-string; text without quotes comes back as it is."""
    if len(text) >= 2 and text[0] == '"' and text[-1] == '"':
        inner = text[1:-1]
        if "\\" not in inner:
            return inner
        out: list[str] = []
        escaped = False
        for char in inner:
            if not escaped and char == "\\":
                escaped = True
                continue
            out.append(char)
            escaped = False
        return "".join(out)
    return text


def quote_string(text: str) -> str:
    """A quoted-string with this content; line breaks and other controls become spaces."""
    clean = "".join(c if c >= " " and c != "\x7f" else " " for c in text)
    return '"' + clean.replace("\\", "\\\\").replace('"', '\\"') + '"'


def is_token(text: str) -> bool:
    """True when every character may stand in a token (RFC 3261 §25.1) and there is one."""
    return bool(text) and TOKEN.issuperset(text)


def parse_params(parts: Iterable[str]) -> Params:
    """Header parameters after the first `;`. Raises SipParseError for empty ones."""
    params: list[tuple[str, str | None]] = []
    for part in parts:
        name, equals, value = part.partition("=")
        name, value = name.strip(), value.strip()
        if not is_token(name) or (equals and not value):
            raise SipParseError("empty or broken header parameter")
        if equals and value[0] == '"':
            if end_of_quote(value, 0) != len(value):
                raise SipParseError("text after a quoted parameter value")
        elif equals and not _SEPARATORS.isdisjoint(value):
            raise SipParseError("broken header parameter value")
        params.append((name, value if equals else None))
    return tuple(params)


def find_param(params: Params, name: str) -> str | None:
    """Value of `name` (lower case), "" when present without a value, None when absent."""
    for key, value in params:
        if key.lower() == name:
            return value or ""
    return None


def format_params(params: Params) -> str:
    """`;name=value` for each parameter."""
    return "".join(f";{key}" if value is None else f";{key}={value}" for key, value in params)


@dataclass(frozen=True, slots=True)
class NameAddr:
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


@lru_cache(maxsize=2048)
def parse_name_addr(text: str) -> NameAddr:
    """One name-addr / addr-spec with parameters. Raises SipParseError."""
    text = text.strip()
    display = ""
    index = 0
    if text.startswith('"'):
        index = end_of_quote(text, 0)
        display = unquote_string(text[:index])
        open_at = text.find("<", index)
        if open_at < 0 or text[index:open_at].strip():
            raise SipParseError("display name is not followed by <")
    else:
        open_at = text.find("<")
        if open_at > 0:
            # Tolerant (RFC 4475 §3.1.2.15 baddn): unquoted characters outside token are taken as text,
            # except those that would change the meaning of the field.
            display = " ".join(text[:open_at].split())
            if any(c in display for c in '";<>@'):
                raise SipParseError("broken display name")
    if open_at >= 0:
        close_at = text.find(">", open_at)
        if close_at < 0:
            raise SipParseError("< without >")
        uri_text, rest = text[open_at + 1 : close_at].strip(), text[close_at + 1 :].strip()
        if rest and not rest.startswith(";"):
            raise SipParseError("text after >")
        uri = parse_uri(uri_text)
    else:
        # RFC 3261 §20: without brackets, everything from the first ";" on are header parameters;
        # "?" and "," must not appear at all.
        uri_text, semicolon, after = text.partition(";")
        rest = semicolon + after
        uri_text = uri_text.strip()
        if "?" in uri_text or "," in uri_text:
            raise SipParseError("URI with ? or , needs angle brackets")
        uri = parse_uri(uri_text)
    params = parse_params(split_list(rest, ";")[1:]) if rest else ()
    return NameAddr(uri, display, params)


def parse_name_addrs(values: Iterable[str]) -> tuple[NameAddr, ...]:
    """Every entry of comma lists over several fields, in order."""
    return tuple(parse_name_addr(item) for value in values for item in split_list(value))


@dataclass(frozen=True, slots=True)
class Via:
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


def parse_via(text: str) -> Via:
    """One Via entry. Raises SipParseError."""
    head, *param_texts = split_list(text, ";")
    parts = head.split("/", 2)
    if len(parts) != 3 or parts[0].strip().upper() != "SIP":
        raise SipParseError("Via does not begin with SIP/2.0/")
    version = parts[1].strip()
    rest = parts[2].split(None, 1)
    if len(rest) != 2 or not is_token(rest[0]) or not is_token(version):
        raise SipParseError("Via without a sent-by")
    sent_by = rest[1]
    # COLON allows spaces around it (RFC 3261 §25.1).
    host, port = parse_host_port("".join(sent_by.split()) if ":" in sent_by else sent_by.strip())
    params = _via_params(param_texts)
    return Via(rest[0].lower(), host, port, params, version)


def _via_params(parts: list[str]) -> Params:
    params = parse_params(parts)
    received = find_param(params, "received")
    # RFC 5118 §4.5: accept the bracketed form too.
    if received is not None and not is_ip_literal(received.strip("[]")):
        raise SipParseError("Via received parameter is not an address")
    return params


def parse_vias(values: Iterable[str]) -> tuple[Via, ...]:
    """Every Via of a message, topmost first."""
    return tuple(parse_via(item) for value in values for item in split_list(value))


def parse_cseq(text: str) -> tuple[int, str]:
    """CSeq as (number, method). The number is below 2**31 (RFC 3261 §8.1.1.5). Raises SipParseError."""
    parts = text.split()
    if len(parts) != 2 or not is_token(parts[1]):
        raise SipParseError("CSeq is not a number and a method")
    return parse_number(parts[0], "CSeq", 2**31 - 1), parts[1]


def parse_number(text: str, what: str, maximum: int) -> int:
    """A non-negative decimal number of at most `maximum`. Raises SipParseError."""
    text = text.strip()
    if not (text.isascii() and text.isdigit()) or len(text) > 32:
        raise SipParseError(f"{what} is not a number")
    value = int(text)
    if value > maximum:
        raise SipParseError(f"{what} is above {maximum}")
    return value


def parse_tokens(values: Iterable[str]) -> tuple[str, ...]:
    """A comma list of tokens such as Supported, Require, Allow; empty entries are dropped."""
    return tuple(item for value in values for item in split_list(value) if item)
