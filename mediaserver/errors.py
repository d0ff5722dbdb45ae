"""The few families of errors that cross package borders."""

from __future__ import annotations


class MediaServerError(Exception):
    """Base of every error that mediaserver raises on purpose; its text is a sentence for an operator."""


class ConfigError(MediaServerError):
    """The configuration cannot be used; the text lists every problem with file, line and key."""


class ProtocolError(MediaServerError):
    """A protocol rule was broken. `status` is what to answer (SIP or HTTP code), if anything can be answered."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class RemoteProtocolError(ProtocolError):
    """The peer broke the rule."""


class LocalProtocolError(ProtocolError):
    """We were about to break the rule: a mistake of the caller inside the daemon."""


class LimitExceeded(MediaServerError):
    """A configured bound was reached; `limit` is its name in the configuration."""

    def __init__(self, message: str, *, limit: str) -> None:
        super().__init__(message)
        self.limit = limit


class InsufficientBandwidth(LimitExceeded):
    """A line on the way of the media has no room; `limit` is the budget or cap in the configuration.

    Over SIP it is 488 with Warning 370 (RFC 3261 §20.43), over HTTP 503 with Retry-After.
    """


class NegotiationError(MediaServerError):
    """Two sides have no media in common.

    `warning_code` is one of RFC 3261 §20.43: 304 media type, 305 format, 399 anything else.
    """

    def __init__(self, message: str, *, warning_code: int = 399) -> None:
        super().__init__(message)
        self.warning_code = warning_code
