"""User-to-User (RFC 7433): what one end of a call tells the other, carried as text."""

from __future__ import annotations

from typing import Final

from mediaserver.sip.errors import SipParseError
from mediaserver.sip.headers import Headers, find_param, parse_params, split_list, unquote_string

MOST_BYTES: Final = 512
"""What is read and written at most; RFC 7434 §7 promises 128 on the way through an ISDN."""
_MOST_VALUES: Final = 4
_DISCRIMINATORS: Final = (0x00, 0x04)
"""ITU-T Q.931 table 4-26: user-specific and IA5 text, the first byte of what an ISDN carries."""
_ISDN: Final = "isdn-uui"


def read_user_to_user(headers: Headers) -> str | None:
    """The text of the first value that can be read; None without one.

    Hexadecimal data that are no UTF-8 text stay hexadecimal. The discriminator that ISDN data begin with is left out.
    """
    for value in headers.all("User-to-User")[:_MOST_VALUES]:
        try:
            for item in split_list(value)[:_MOST_VALUES]:
                text = _text_of(item)
                if text:
                    return text
        except SipParseError:
            continue
    return None


def user_to_user(text: str) -> str | None:
    """A field value for `text` as the ISDN package writes it (RFC 7434 §6); None for a text that is too long."""
    data = text.encode("utf-8", "replace")
    if not data or len(data) >= MOST_BYTES:
        return None
    discriminator = 0x04 if text.isascii() else 0x00
    return f"{bytes((discriminator,)).hex()}{data.hex()};purpose={_ISDN};content={_ISDN};encoding=hex"


def _text_of(item: str) -> str | None:
    data, *rest = split_list(item, ";")
    params = parse_params(rest)
    encoding = (find_param(params, "encoding") or "").strip('"').lower()
    if len(data) > 2 * MOST_BYTES + 2 or encoding not in ("", "hex"):
        return None
    raw = _bytes(data)
    if raw is None:
        plain = unquote_string(data)
        return _printable(plain) if encoding == "" and len(plain.encode("utf-8", "replace")) <= MOST_BYTES else None
    # RFC 7433 §4.1: without a purpose it is the ISDN package.
    purpose = (find_param(params, "purpose") or _ISDN).strip('"').lower()
    if purpose == _ISDN and raw and raw[0] in _DISCRIMINATORS:
        raw = raw[1:]
    try:
        return _printable(raw.decode())
    except UnicodeDecodeError:
        return raw.hex()


def _bytes(data: str) -> bytes | None:
    try:
        return bytes.fromhex(data) if data.isascii() and data.isalnum() else None
    except ValueError:
        return None


def _printable(text: str) -> str:
    return "".join(char for char in text if char.isprintable()).strip()
