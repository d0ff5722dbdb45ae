"""Text to session description: tolerant of what real peers write, bounded, and exact about the line that is wrong.

Tolerated: bare LF or CR, no final line end, missing `s=` and `t=`, an empty `s=`, lines in odd order within a level,
repeated properties, unknown lines and attributes. A malformed attribute that only informs is kept as text; one that
media depends on is an SdpError.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from mediaserver.sdp.attributes import media_attribute, session_attribute
from mediaserver.sdp.description import (
    Bandwidth,
    Origin,
    SdpError,
    SessionDescription,
    Timing,
)
from mediaserver.sdp.drafts import MediaDraft, SessionDraft

MAX_CHARS: Final = 65_536
"""Longest description read, in characters."""
MAX_LINES: Final = 4_096
MAX_LINE_CHARS: Final = 4_096
MAX_MEDIA: Final = 64
MAX_FORMATS: Final = 128
MAX_ATTRIBUTES: Final = 1_024
"""Most attributes of one level."""

_TOKEN: Final = re.compile(r"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]+\Z")
_PROTOCOL: Final = re.compile(r"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~/]+\Z")
_NUMBER: Final = re.compile(r"[0-9]{1,20}\Z")
_HOST: Final = re.compile(r"[0-9A-Za-z.:%_\-]{1,255}\Z")


def parse(text: str | bytes) -> SessionDescription:
    """Read a session description (RFC 8866).

    Raises SdpError, which names the line, for what cannot be understood or exceeds a bound.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    if len(text) > MAX_CHARS:
        raise SdpError(0, f"longer than {MAX_CHARS} characters")
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    if len(lines) > MAX_LINES:
        raise SdpError(0, f"more than {MAX_LINES} lines")
    return _Reader().read(lines)


class _Reader:
    """Collects the lines of one description; the current level is the session or the last section."""

    def __init__(self) -> None:
        self.session = SessionDraft()
        self.media: list[MediaDraft] = []

    def read(self, lines: list[str]) -> SessionDescription:
        if not lines:
            raise SdpError(0, "empty")
        if lines[0].strip() != "v=0":
            raise SdpError(1, "the first line must be v=0", text=lines[0])
        for number, line in enumerate(lines[1:], 2):
            self._line(number, line)
        return self.session.build(tuple(draft.build(self.session) for draft in self.media))

    def _line(self, number: int, line: str) -> None:
        if len(line) > MAX_LINE_CHARS:
            raise SdpError(number, f"longer than {MAX_LINE_CHARS} characters", text=line)
        if "\0" in line:
            raise SdpError(number, "a NUL character", text=line)
        if not line.strip():
            raise SdpError(number, "an empty line")
        if len(line) < 2 or line[1] != "=" or not line[0].isalpha():
            raise SdpError(number, "not of the form <letter>=<value>", text=line)
        read = _LINES.get(line[0])
        if read is None:
            # RFC 8866 §5 lets a parser ignore what it does not know; e=, p=, u=, k=, r=, z= say nothing to us.
            return
        try:
            read(self, number, line[2:].strip())
        except SdpError:
            raise
        except ValueError as error:
            raise SdpError(number, str(error), text=_shown(line)) from None

    def take_origin(self, number: int, value: str) -> None:
        parts = value.split()
        if self.media or len(parts) != 6 or not _HOST.match(parts[5]):
            raise SdpError(number, "an origin is <user> <id> <version> IN <IP4|IP6> <address>", text=value)
        # Ids beyond 64 bits and even words are seen; they are only ever compared.
        self.session.origin = Origin(parts[0], parts[1], parts[2], parts[5])

    def take_name(self, number: int, value: str) -> None:
        self.session.name = value or "-"

    def take_title(self, number: int, value: str) -> None:
        if self.media:
            self.media[-1].title = value

    def take_connection(self, number: int, value: str) -> None:
        parts = value.split()
        if len(parts) != 3 or parts[0].upper() != "IN" or parts[1].upper() not in ("IP4", "IP6"):
            raise ValueError("a connection is IN <IP4|IP6> <address>")
        address = parts[2].split("/")[0]
        if not _HOST.match(address):
            raise ValueError("the connection's address is not an address")
        (self.media[-1] if self.media else self.session).connection = address

    def take_bandwidth(self, number: int, value: str) -> None:
        kind, _, amount = value.partition(":")
        if not _TOKEN.match(kind) or not _NUMBER.match(amount.strip()):
            return  # Only informs.
        level = self.media[-1] if self.media else self.session
        if len(level.bandwidth) < 16:
            level.bandwidth.append(Bandwidth(kind, int(amount)))

    def take_timing(self, number: int, value: str) -> None:
        parts = value.split()
        if len(parts) == 2 and all(_NUMBER.match(part) for part in parts) and len(self.session.timing) < 16:
            self.session.timing.append(Timing(int(parts[0]), int(parts[1])))

    def take_section(self, number: int, value: str) -> None:
        if len(self.media) >= MAX_MEDIA:
            raise ValueError(f"more than {MAX_MEDIA} media sections")
        parts = value.split()
        if len(parts) < 3:
            raise ValueError("a media section is <kind> <port> <protocol> <format> ...")
        kind, port, protocol, *formats = parts
        number_text, _, count = port.partition("/")
        if not formats and number_text != "0":
            # A refusal without a format is a common mistake that harms nobody.
            raise ValueError("the media section names no format")
        if not _TOKEN.match(kind) or not _PROTOCOL.match(protocol):
            raise ValueError("the kind or the protocol is not a token")
        if not _NUMBER.match(number_text) or int(number_text) > 65535 or (count and not _NUMBER.match(count)):
            raise ValueError("the port is not a number from 0 to 65535")
        if len(formats) > MAX_FORMATS:
            raise ValueError(f"more than {MAX_FORMATS} formats")
        draft = MediaDraft.new(kind.lower(), int(number_text), protocol.upper(), tuple(dict.fromkeys(formats)), number)
        if draft.is_rtp and not all(_NUMBER.match(text) and int(text) < 128 for text in formats):
            raise ValueError("a payload type is not a number from 0 to 127")
        self.media.append(draft)

    def take_attribute(self, number: int, value: str) -> None:
        name, colon, text = value.partition(":")
        name = name.strip()
        if not _TOKEN.match(name):
            raise ValueError("the attribute's name is not a token")
        level = self.media[-1] if self.media else self.session
        level.attribute_count += 1
        if level.attribute_count > MAX_ATTRIBUTES:
            raise ValueError(f"more than {MAX_ATTRIBUTES} attributes")
        content = text.strip() if colon else None
        if self.media:
            media_attribute(self.media[-1], name, content)
        else:
            session_attribute(self.session, name, content)


def _shown(line: str) -> str:
    # Errors reach logs; keys and passwords must not.
    return "" if line.startswith(("a=ice-pwd", "a=crypto", "k=")) else line


_LINES: Final[dict[str, Callable[[_Reader, int, str], None]]] = {
    "o": _Reader.take_origin,
    "s": _Reader.take_name,
    "i": _Reader.take_title,
    "c": _Reader.take_connection,
    "b": _Reader.take_bandwidth,
    "t": _Reader.take_timing,
    "m": _Reader.take_section,
    "a": _Reader.take_attribute,
}
