"""Errors of this package: what was wrong with a message, and what to answer."""

from __future__ import annotations

from mediaserver.errors import RemoteProtocolError


class SipParseError(RemoteProtocolError):
    """A message or one of its fields breaks the grammar. `status` is the code to answer (400, 413, 416, 505...)."""

    def __init__(self, message: str, *, status: int = 400) -> None:
        super().__init__(message, status=status)
