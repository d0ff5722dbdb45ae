"""A request of ours outside every dialog (OPTIONS, REGISTER) from its first next hop to its one outcome; sans-IO."""

from __future__ import annotations

from typing import Final

from mediaserver.sip.attempt import Attempt
from mediaserver.sip.flow import Flow
from mediaserver.sip.message import Response
from mediaserver.sip.timers import TimerEntry

FAILED_CODES: Final = {"timeout": 408, "transport": 503}
"""What a request without an answer counts as (RFC 3261 §8.1.3.1)."""


class Standalone:
    """Takes the place of a session for the sender. The outcome is a final response, or why there was none."""

    def __init__(self, call_id: str) -> None:
        self.call_id = call_id
        self.timer: TimerEntry | None = None
        self.response: Response | None = None
        self.failure: str | None = None
        """`timeout` or `transport`, where no final response came."""
        self._told = False

    @property
    def over(self) -> bool:
        """True once there is an outcome."""
        return self.response is not None or self.failure is not None

    @property
    def code(self) -> int:
        """Status of the outcome; 408 or 503 where nothing came, 0 before there is one."""
        if self.response is not None:
            return self.response.code
        return FAILED_CODES.get(self.failure, 503) if self.failure is not None else 0

    def handle_response(self, attempt: Attempt, response: Response, flow: Flow | None, now: float) -> None:
        """A response; provisional ones say nothing here."""
        if response.code >= 200 and not self.over:
            self.response = response

    def handle_failure(self, attempt: Attempt, reason: str, now: float) -> None:
        """No next hop answered."""
        if not self.over:
            self.failure = reason

    def gave_up(self, attempt: Attempt) -> bool:
        """False: every next hop is tried."""
        return False

    def take_outcome(self) -> bool:
        """True once, when it is over."""
        if not self.over or self._told:
            return False
        self._told = True
        return True

    def poll_timeout(self) -> float | None:
        """None: the transaction keeps the time."""
        return None
