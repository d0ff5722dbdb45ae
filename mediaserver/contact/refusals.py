"""Why something that was asked of a call is not done."""

from __future__ import annotations

from mediaserver.errors import MediaServerError


class NotFound(MediaServerError):
    """There is no such call or leg."""


class NotNow(MediaServerError):
    """The call is not in a state in which this is possible."""


class Undeliverable(MediaServerError):
    """The routing table takes such a call nowhere; `code` is what it would be refused with."""

    def __init__(self, message: str, *, code: int) -> None:
        super().__init__(message)
        self.code = code
