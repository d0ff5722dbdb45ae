"""Data channels in SDP (RFC 8841): what an `m=application` section says about its SCTP association."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mediaserver.sdp.description import Attribute, MediaDescription

PROTOCOLS: Final = ("UDP/DTLS/SCTP", "TCP/DTLS/SCTP")
FORMAT: Final = "webrtc-datachannel"
DEFAULT_MESSAGE_BYTES: Final = 64 * 1024
"""What a peer takes that does not say (RFC 8841 §6.1)."""
LOCAL_PORT: Final = 5000
LOCAL_MESSAGE_BYTES: Final = 64 * 1024
"""What we take."""


@dataclass(frozen=True, slots=True)
class DataParameters:
    """One side's `a=sctp-port` and `a=max-message-size` in bytes; 0 bytes means any size."""

    port: int = LOCAL_PORT
    message_bytes: int = LOCAL_MESSAGE_BYTES


def data_parameters(media: MediaDescription) -> DataParameters | None:
    """What the section says; None when it is no data channel section or its port cannot be used (RFC 8841 §5)."""
    if media.kind != "application" or media.protocol not in PROTOCOLS or FORMAT not in media.formats:
        return None
    port = _number(media.attribute("sctp-port"), most=65535)
    if not port:
        return None
    size = media.attribute("max-message-size")
    message_bytes = DEFAULT_MESSAGE_BYTES if size is None else _number(size, most=2**63 - 1)
    return None if message_bytes is None else DataParameters(port, message_bytes)


def data_attributes(parameters: DataParameters) -> tuple[Attribute, ...]:
    """The lines of our own section."""
    return (
        Attribute("sctp-port", str(parameters.port)),
        Attribute("max-message-size", str(parameters.message_bytes)),
    )


def _number(text: str | None, *, most: int) -> int | None:
    """A decimal number of RFC 8866's syntax up to `most`, else None."""
    if text is None or not text.isascii() or not text.isdigit() or len(text) > 19 or int(text) > most:
        return None
    return int(text)
