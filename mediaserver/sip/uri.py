"""URIs of RFC 3261 §19.1: writing and comparing; values stay escaped as they came. `parse_uri` reads them."""

from __future__ import annotations

import ipaddress
from urllib.parse import unquote

import msgspec
from msgspec.structs import replace

from mediaserver._engine import parse_host_port, parse_uri
from mediaserver.sip.errors import SipParseError
from mediaserver.sip.flow import bracketed

__all__ = ["OtherUri", "Params", "SipUri", "Uri", "escape_user", "parse_host_port", "parse_sip_uri", "parse_uri"]

Params = tuple[tuple[str, str | None], ...]

# RFC 3261 §25.1 `user` without its escapes
_USER = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.!~*'()&=+$,;?/")


class SipUri(msgspec.Struct, frozen=True, gc=False):
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


class OtherUri(msgspec.Struct, frozen=True, gc=False):
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


def parse_sip_uri(text: str) -> SipUri:
    """Parse a sip: or sips: URI. Raises SipParseError with 416 for another scheme (RFC 3261 §8.2.2.1)."""
    uri = parse_uri(text)
    if not isinstance(uri, SipUri):
        raise SipParseError(f"URI scheme {uri.scheme} is not supported", status=416)
    return uri


def escape_user(text: str) -> str:
    """Escape free text so that it may stand as the user part of a SIP URI."""
    return "".join(chr(b) if chr(b) in _USER else f"%{b:02X}" for b in text.encode())
