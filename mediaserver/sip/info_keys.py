"""Keys of a phone in INFO bodies: `application/dtmf-relay` (Signal and Duration) and `application/dtmf` (the key alone).

Neither was ever a standard; this is what Cisco, Asterisk, Avaya and those after them write, and RFC 6086 calls it legacy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

RELAY: Final = "application/dtmf-relay"
PLAIN: Final = "application/dtmf"
_KEYS: Final = {
    **{key: key for key in "0123456789*#ABCD"},
    "10": "*",
    "11": "#",
    **dict(zip("abcd", "ABCD", strict=True)),
}
"""Event numbers of RFC 4733 §3.2 are written in place of the star and the hash, too. 16, a flash, is no key."""
_LETTERS: Final = {str(number): key for number, key in enumerate("ABCD", start=12)}
_USUAL_MS: Final = 160
_LEAST_MS: Final = 40
_MOST_MS: Final = 5_000
_MOST_BYTES: Final = 256


@dataclass(frozen=True, slots=True)
class Key:
    """One of `0123456789*#ABCD`, and how long it was held, in milliseconds."""

    name: str
    duration_ms: int


def read_key(content_type: str, body: bytes) -> Key | None:
    """The key of an INFO; None for other content and for what is no key."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in (RELAY, PLAIN) or len(body) > _MOST_BYTES:
        return None
    text = body.decode("ascii", "replace")
    if kind == PLAIN and "=" not in text:
        return _key(text, "")
    values: dict[str, str] = {}
    for line in text.splitlines():
        name, _, value = line.partition("=")
        values.setdefault(name.strip().lower(), value)
    return _key(values.get("signal", ""), values.get("duration", ""))


def write_key(name: str, duration_ms: int) -> tuple[str, bytes]:
    """Content type and body for a key."""
    return RELAY, f"Signal={name}\r\nDuration={duration_ms}\r\n".encode()


def _key(signal: str, duration: str) -> Key | None:
    signal, duration = signal.strip(), duration.strip()
    name = _KEYS.get(signal) or _LETTERS.get(signal)
    if name is None:
        return None
    held = int(duration) if duration.isascii() and duration.isdigit() and len(duration) < 10 else _USUAL_MS
    return Key(name, min(max(held, _LEAST_MS), _MOST_MS))
