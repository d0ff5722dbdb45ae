"""Values that a person writes with a unit (30s, 64 KiB, 2 Mbit/s, 20/s) or as a range, parsed once into numbers."""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Annotated, Any, NamedTuple

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema

_NUMBER_AND_UNIT = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z/]*)")

_SECONDS = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "kB": 1000, "MB": 1000**2, "GB": 1000**3}
_BITS_PER_SECOND = {"bit/s": 1, "kbit/s": 1000, "Mbit/s": 1000**2, "Gbit/s": 1000**3}
_PER_SECOND = {"/s": 1.0, "/min": 1 / 60, "/h": 1 / 3600}


def parse_duration(value: object) -> float:
    """`500ms`, `30s`, `5min`, `2h`, `7d` -> seconds. Raises `ValueError` for anything else, bare numbers included."""
    return _parse(value, _SECONDS, "a duration with its unit, like 500ms, 30s, 5min, 2h or 7d")


def parse_size(value: object) -> int:
    """`512 B`, `64 KiB`, `1 MiB` -> bytes. Raises `ValueError`."""
    return round(_parse(value, _BYTES, "a size with its unit, like 512 B, 64 KiB or 1 MiB"))


def parse_bitrate(value: object) -> int:
    """`64 kbit/s`, `2 Mbit/s` -> bits per second. Raises `ValueError`."""
    return round(_parse(value, _BITS_PER_SECOND, "a bitrate with its unit, like 64 kbit/s or 2 Mbit/s"))


def parse_rate(value: object) -> float:
    """`20/s`, `600/min` -> events per second. Raises `ValueError`."""
    return _parse(value, _PER_SECOND, "a rate with its unit, like 20/s, 600/min or 100/h")


def format_duration(seconds: float) -> str:
    """The shortest whole form of a duration: 30.0 -> `30s`."""
    return _format(seconds, _SECONDS, "")


def format_size(count: int) -> str:
    """The shortest whole form of a size: 65536 -> `64 KiB`."""
    return _format(count, {unit: _BYTES[unit] for unit in ("B", "KiB", "MiB", "GiB")}, " ")


def format_bitrate(bps: int) -> str:
    """The shortest whole form of a bitrate: 2000000 -> `2 Mbit/s`."""
    return _format(bps, _BITS_PER_SECOND, " ")


def format_rate(per_second: float) -> str:
    """The form of a rate that has a whole number, else per second: 0.5 -> `30/min`."""
    for unit, factor in _PER_SECOND.items():
        count = per_second / factor
        if abs(count - round(count)) < 1e-9:
            return f"{round(count)}{unit}"
    return f"{per_second:g}/s"


class PortRange(NamedTuple):
    """Both ends included."""

    low: int
    high: int

    def __str__(self) -> str:
        return f"{self.low}-{self.high}"


class SocketAddress(NamedTuple):
    """Where a TCP listener binds; `port` 0 takes any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_port_range(value: object) -> PortRange:
    """`20000-29999` -> PortRange. Raises `ValueError`."""
    if isinstance(value, PortRange):
        return value
    found = re.fullmatch(r"(\d{1,5})\s*-\s*(\d{1,5})", value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("expected a port range like 20000-29999")
    low, high = int(found[1]), int(found[2])
    if not 1024 <= low < high <= 65535:
        raise ValueError("a port range goes from a lower to a higher port within 1024-65535")
    return PortRange(low, high)


def parse_socket_address(value: object) -> SocketAddress:
    """`127.0.0.1:8080` or `[::1]:8080` -> SocketAddress; names are not resolved. Raises `ValueError`."""
    if isinstance(value, SocketAddress):
        return value
    expected = "expected an IP address and a port, like 127.0.0.1:8080 or [::1]:8080"
    host, colon, port = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise ValueError(expected)
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        address = ip_address(host[1:-1] if bracketed else host)
    except ValueError:
        raise ValueError(expected) from None
    if bracketed != (address.version == 6):
        raise ValueError(expected)
    return SocketAddress(str(address), int(port))


def parse_address(value: object) -> IPv4Address | IPv6Address:
    """An IP address without port or prefix. Raises `ValueError`."""
    if isinstance(value, (IPv4Address, IPv6Address)):
        return value
    try:
        return ip_address(value if isinstance(value, str) else "")
    except ValueError:
        raise ValueError("expected an IP address, like 192.0.2.10 or 2001:db8::10") from None


_ORIGIN = re.compile(r"https?://(\*\.)?([a-z0-9]([a-z0-9_-]*[a-z0-9])?\.)*[a-z0-9]([a-z0-9_-]*[a-z0-9])?(:\d{1,5})?")
_ORIGIN_V6 = re.compile(r"https?://\[[0-9a-f:.]+\](:\d{1,5})?")


def parse_origin(value: object) -> str:
    """`self`, `*`, `https://www.example.org`, `https://*.example.org` -> the same as browsers write it.

    That is in lower case, without a last slash and without a default port. Raises `ValueError`.
    """
    text = value.lower().removesuffix("/") if isinstance(value, str) else ""
    if text in ("self", "*"):
        return text
    if _ORIGIN.fullmatch(text) or _ORIGIN_V6.fullmatch(text):
        return text.removesuffix(":443" if text.startswith("https:") else ":80")
    raise ValueError(
        "expected an origin (scheme, host, and port if it is not the default) like https://www.example.org, "
        "https://*.example.org for every name below, self for the daemon's own pages, or * for every page there is"
    )


def parse_base_url(value: object) -> str:
    """`https://www.example.org/` -> `https://www.example.org`. Raises `ValueError`."""
    text = parse_origin(value)
    if "*" in text or text == "self":
        raise ValueError("expected scheme and host like https://www.example.org")
    return text


def parse_network(value: object) -> IPv4Network | IPv6Network:
    """An IP address or CIDR without host bits. Raises `ValueError`."""
    if isinstance(value, (IPv4Network, IPv6Network)):
        return value
    try:
        return ip_network(value if isinstance(value, str) else "")
    except ValueError:
        expected = "expected an address or a CIDR, like 192.0.2.10 or 192.0.2.0/24"
        try:
            meant = ip_network(value if isinstance(value, str) else "", strict=False)
        except ValueError:
            raise ValueError(expected) from None
        raise ValueError(f"{expected}; {value} has host bits set, did you mean {meant}?") from None


def _parse(value: object, units: dict[str, Any], expected: str) -> float:
    found = _NUMBER_AND_UNIT.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None or found[2] not in units:
        raise ValueError(f"expected {expected}")
    return float(found[1]) * float(units[found[2]])


def _format(value: float, units: dict[str, Any], space: str) -> str:
    smallest, base = min(units.items(), key=lambda item: float(item[1]))
    count = round(value / base)
    if value == 0:
        return f"0{space}{'s' if 's' in units else smallest}"
    if abs(value / base - count) > 1e-6:
        return f"{value / base:f}".rstrip("0") + f"{space}{smallest}"
    # Whole numbers of the smallest unit from here on: fractions of larger ones would not be exact.
    for unit, factor in sorted(units.items(), key=lambda item: -float(item[1])):
        if count % round(factor / base) == 0:
            return f"{count // round(factor / base)}{space}{unit}"
    return f"{count}{space}{smallest}"


def _schema(pattern: str, description: str, example: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern, "description": description, "examples": [example]})


def _json_text(form: Callable[[Any], str]) -> PlainSerializer:
    return PlainSerializer(form, return_type=str)


Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    Field(gt=0),
    _json_text(format_duration),
    _schema(r"^\d+(\.\d+)?\s*(ms|s|min|h|d)$", "A duration with its unit", "30s"),
]
"""Seconds, more than none."""

DurationOrNone = Annotated[
    float,
    BeforeValidator(parse_duration),
    Field(ge=0),
    _json_text(format_duration),
    _schema(r"^\d+(\.\d+)?\s*(ms|s|min|h|d)$", "A duration with its unit", "30s"),
]
"""Seconds; 0s is allowed and means none."""

Size = Annotated[
    int,
    BeforeValidator(parse_size),
    Field(gt=0),
    _json_text(format_size),
    _schema(r"^\d+(\.\d+)?\s*(B|KiB|MiB|GiB|kB|MB|GB)$", "A size with its unit", "64 KiB"),
]
"""Bytes."""

Bitrate = Annotated[
    int,
    BeforeValidator(parse_bitrate),
    Field(ge=0),
    _json_text(format_bitrate),
    _schema(r"^\d+(\.\d+)?\s*(bit/s|kbit/s|Mbit/s|Gbit/s)$", "A bitrate with its unit", "2 Mbit/s"),
]
"""Bits per second."""

Rate = Annotated[
    float,
    BeforeValidator(parse_rate),
    Field(gt=0),
    _json_text(format_rate),
    _schema(r"^\d+(\.\d+)?\s*(/s|/min|/h)$", "A rate with its unit", "20/s"),
]
"""Events per second."""

Ports = Annotated[
    PortRange,
    BeforeValidator(parse_port_range),
    _json_text(str),
    _schema(r"^\d{1,5}\s*-\s*\d{1,5}$", "A range of ports, both ends included", "20000-29999"),
]

Bind = Annotated[
    SocketAddress,
    BeforeValidator(parse_socket_address),
    _json_text(str),
    _schema(r"^(\d+\.\d+\.\d+\.\d+|\[[0-9A-Fa-f:.]+\]):\d{1,5}$", "An IP address and a port", "127.0.0.1:8080"),
]

Address = Annotated[
    IPv4Address | IPv6Address,
    BeforeValidator(parse_address),
    _json_text(str),
    WithJsonSchema({"type": "string", "description": "An IP address", "examples": ["192.0.2.10"]}),
]

Cidr = Annotated[
    IPv4Network | IPv6Network,
    BeforeValidator(parse_network),
    _json_text(str),
    WithJsonSchema({"type": "string", "description": "An address or a CIDR", "examples": ["192.0.2.0/24"]}),
]

Origin = Annotated[
    str,
    BeforeValidator(parse_origin),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": r"^(self|\*|[Hh][Tt][Tt][Pp][Ss]?://[^/?#@\s]+/?)$",
            "description": "self, *, an origin like https://www.example.org, or https://*.example.org",
            "examples": ["self", "https://www.example.org"],
        }
    ),
]
"""A web origin (RFC 6454) or one of the words and patterns that stand for several, in lower case."""

BaseUrl = Annotated[
    str,
    BeforeValidator(parse_base_url),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": r"^[Hh][Tt][Tt][Pp][Ss]?://[^/?#@\s*]+/?$",
            "description": "Scheme and host, and a port where it is not the usual one",
            "examples": ["https://video.example.org"],
        }
    ),
]
"""One web origin (RFC 6454), in lower case."""

Port = Annotated[int, Field(ge=0, le=65535)]
"""A UDP or TCP port; 0 takes any free one."""
