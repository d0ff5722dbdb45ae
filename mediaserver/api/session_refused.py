"""Why a `hello` leads to no session, and how the page is told."""

from __future__ import annotations

from mediaserver.api.session_channel import CLOSE_POLICY, CLOSE_TRY_AGAIN
from mediaserver.errors import LimitExceeded


class Refused(Exception):
    """A hello that leads to no session; `reason` is what it is counted as, by default the code."""

    def __init__(self, code: str, message: str, close: int = CLOSE_POLICY, *, reason: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.close = close
        self.reason = reason or code


def over(error: LimitExceeded) -> Refused:
    """The refusal of somebody for whom there is no room."""
    return Refused("limit", str(error), CLOSE_TRY_AGAIN, reason=error.limit)
