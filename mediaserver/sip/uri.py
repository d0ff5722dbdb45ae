"""URIs of RFC 3261 §19.1: parsing, writing and comparing; values stay escaped as they came."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, replace
from functools import lru_cache
from urllib.parse import unquote

from mediaserver.sip.errors import SipParseError
from mediaserver.sip.flow import bracketed

Params = tuple[tuple[str, str | None], ...]

_ALNUM = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_MARK = frozenset("-_.!~*'()")
_UNRESERVED = _ALNUM | _MARK
_USER = _UNRESERVED | frozenset("&=+$,;?/%")
_PASSWORD = _UNRESERVED | frozenset("&=+$,%")
_PARAM = _UNRESERVED | frozenset("[]/:&+$%")
_HEADER = _UNRESERVED | frozenset("[]/?:+$%")
_HOST = _ALNUM | frozenset("-._")  # tolerant: "_" is not in the grammar but in many names
_SCHEME = _ALNUM | frozenset("+-.")
_HEX = frozenset("0123456789abcdefABCDEF")
MAX_URI = 2048


@dataclass(frozen=True, slots=True)
class SipUri:
    """A sip: or sips: URI. `user`, `password`, params and headers keep their escapes; `host` has no brackets."""

    host: str
    user: str | None = None
    port: int | None = None
    scheme: str = "sip"
    password: str | None = None
    params: Params = ()
    headers: tuple[tuple[str, str], ...] = ()

    def param(self, name: str) -> str | None:
        """Value of URI parameter `name` ("" when it has none, None when absent); names are case-insensitive."""
        for key, value in self.params:
            if key.lower() == name:
                return value or ""
        return None

    @property
    def transport(self) -> str | None:
        """The transport parameter in lower case."""
        value = self.param("transport")
        return value.lower() if value else None

    @property
    def loose(self) -> bool:
        """True when the URI carries `lr` (RFC 3261 §16.12)."""
        return self.param("lr") is not None

    @property
    def user_text(self) -> str | None:
        """The user part with its escapes resolved, for lookups."""
        return None if self.user is None else unquote(self.user)

    def with_param(self, name: str, value: str | None) -> SipUri:
        """A copy in which parameter `name` has `value`."""
        kept = tuple((k, v) for k, v in self.params if k.lower() != name)
        return replace(self, params=(*kept, (name, value)))

    def without_headers(self) -> SipUri:
        """A copy fit for a Request-URI (RFC 3261 §19.1.1 table 1: no headers, no method)."""
        kept = tuple((k, v) for k, v in self.params if k.lower() != "method")
        if kept == self.params and not self.headers:
            return self
        return replace(self, headers=(), params=kept)

    @property
    def aor(self) -> str:
        """Canonical address of record for table keys: user and host, without port or parameters (§10.3 step 5)."""
        host = self.host.lower()
        return host if self.user is None else f"{unquote(self.user)}@{host}"

    def __str__(self) -> str:
        out = [self.scheme, ":"]
        if self.user is not None:
            out.append(self.user)
            if self.password is not None:
                out.append(":" + self.password)
            out.append("@")
        out.append(bracketed(self.host))
        if self.port is not None:
            out.append(f":{self.port}")
        for key, value in self.params:
            out.append(f";{key}" if value is None else f";{key}={value}")
        if self.headers:
            out.append("?" + "&".join(f"{key}={value}" for key, value in self.headers))
        return "".join(out)

    def equivalent(self, other: SipUri) -> bool:
        """Comparison of RFC 3261 §19.1.4 (RFC 5954 for IPv6): escapes, case and parameter order do not matter."""
        if (self.scheme, self.port) != (other.scheme, other.port) or _host_key(self.host) != _host_key(other.host):
            return False
        if _text_key(self.user) != _text_key(other.user) or _text_key(self.password) != _text_key(other.password):
            return False
        ours, theirs = _param_map(self.params), _param_map(other.params)
        for name in ours.keys() & theirs.keys():
            if ours[name] != theirs[name]:
                return False
        for name in ("user", "ttl", "method", "maddr", "transport"):
            if (name in ours) != (name in theirs):
                return False
        return _header_set(self.headers) == _header_set(other.headers)


@dataclass(frozen=True, slots=True)
class OtherUri:
    """A URI of another scheme (tel:, urn:, ...), kept as text."""

    scheme: str
    text: str

    def __str__(self) -> str:
        return self.text


Uri = SipUri | OtherUri


def _host_key(host: str) -> str:
    if ":" in host:
        return ipaddress.IPv6Address(host).exploded
    return host.lower()


def _text_key(text: str | None) -> str | None:
    return None if text is None else unquote(text)


def _param_map(params: Params) -> dict[str, str]:
    return {unquote(key).lower(): unquote(value or "").lower() for key, value in params}


def _header_set(headers: tuple[tuple[str, str], ...]) -> set[tuple[str, str]]:
    return {(unquote(key).lower(), unquote(value)) for key, value in headers}


def _check(text: str, allowed: frozenset[str], what: str) -> str:
    if not allowed.issuperset(text):
        raise SipParseError(f"{what} of a URI holds a character that must be escaped")
    start = text.find("%")
    while start >= 0:
        if not _HEX.issuperset(text[start + 1 : start + 3]) or len(text) < start + 3:
            raise SipParseError(f"{what} of a URI holds a broken escape")
        start = text.find("%", start + 3)
    return text


def parse_host_port(text: str) -> tuple[str, int | None]:
    """`hostport` of RFC 3261 §25.1. Returns the host without brackets; raises SipParseError."""
    if text.startswith("["):
        end = text.find("]")
        if end < 0:
            raise SipParseError("IPv6 reference without its closing bracket")
        host, rest = text[1:end], text[end + 1 :]
        try:
            ipaddress.IPv6Address(host)
        except ValueError as error:
            raise SipParseError("not an IPv6 address between brackets") from error
        if "%" in host:
            raise SipParseError("an IPv6 reference has no zone (RFC 3261 §25.1)")
        if not rest:
            return host, None
        if not rest.startswith(":"):
            raise SipParseError("text after an IPv6 reference")
        return host, _port(rest[1:])
    host, colon, port = text.partition(":")
    if not host or not _HOST.issuperset(host) or len(host) > 255:
        raise SipParseError("host is empty or holds a wrong character")
    return host, _port(port) if colon else None


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5):
        raise SipParseError("port is not a number")
    port = int(text)
    if port > 65_535:
        raise SipParseError("port is above 65535")
    return port


@lru_cache(maxsize=2048)
def parse_uri(text: str) -> Uri:
    """Parse an addr-spec without surrounding brackets. Raises SipParseError (416 for what has no scheme at all)."""
    if len(text) > MAX_URI:
        raise SipParseError("URI is too long", status=414)
    scheme, colon, rest = text.partition(":")
    if not colon or not scheme or not scheme[0].isalpha() or not _SCHEME.issuperset(scheme):
        raise SipParseError("URI without a scheme")
    scheme = scheme.lower()
    if scheme not in ("sip", "sips"):
        if not rest or any(c <= " " or c in '<>"' or c > "~" for c in rest):
            raise SipParseError(f"{scheme}: URI holds a character that must be escaped")
        return OtherUri(scheme, text)
    return _parse_sip(scheme, rest)


def _parse_sip(scheme: str, rest: str) -> SipUri:
    # The userinfo may hold ; ? and /, so the "@" is looked for first; a later "@" must be escaped (§25.1).
    userinfo, at, after = rest.rpartition("@")
    user: str | None = None
    password: str | None = None
    if at:
        user, colon, secret = userinfo.partition(":")
        if not user:
            raise SipParseError("URI with @ but no user")
        _check(user, _USER, "user")
        if colon:
            password = _check(secret, _PASSWORD, "password")
    after, question, header_text = after.partition("?")
    host_port, *param_texts = after.split(";")
    host, port = parse_host_port(host_port)
    params: list[tuple[str, str | None]] = []
    for item in param_texts:
        name, equals, value = item.partition("=")
        if not name or (equals and not value):
            raise SipParseError("empty URI parameter")
        _check(name, _PARAM, "parameter")
        params.append((name, _check(value, _PARAM, "parameter") if equals else None))
    headers: list[tuple[str, str]] = []
    if question:
        for item in header_text.split("&"):
            name, equals, value = item.partition("=")
            if not name or not equals:
                raise SipParseError("URI header without a value")
            headers.append((_check(name, _HEADER, "header"), _check(value, _HEADER, "header")))
    return SipUri(
        host=host, user=user, port=port, scheme=scheme, password=password, params=tuple(params), headers=tuple(headers)
    )


def parse_sip_uri(text: str) -> SipUri:
    """Parse a sip: or sips: URI. Raises SipParseError with 416 for another scheme (RFC 3261 §8.2.2.1)."""
    uri = parse_uri(text)
    if not isinstance(uri, SipUri):
        raise SipParseError(f"URI scheme {uri.scheme} is not supported", status=416)
    return uri


def escape_user(text: str) -> str:
    """Escape free text so that it may stand as the user part of a SIP URI."""
    allowed = _USER - {"%"}
    return "".join(chr(b) if chr(b) in allowed else f"%{b:02X}" for b in text.encode())
