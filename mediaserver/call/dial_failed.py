"""A call that nobody took: its SIP status, and what else is known of why."""

from __future__ import annotations

from mediaserver.errors import MediaServerError
from mediaserver.sip.uri import SipUri


class DialFailed(MediaServerError):
    """The phone did not take the call; `code` is its SIP status."""

    def __init__(
        self,
        code: int,
        reason: str,
        *,
        warning: str | None = None,
        warning_code: int | None = None,
        elsewhere: bool = False,
        redirect: tuple[SipUri, ...] = (),
    ) -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason
        self.warning = warning
        """The phone's own Warning header."""
        self.warning_code = warning_code
        """Code of RFC 3261 §20.43 where we are the ones who found that nothing meets."""
        self.redirect = redirect
        """Whom to call in its place, best first (3xx)."""
        self.elsewhere = elsewhere
        """Nobody there was asked: the next route that matches may be."""

    @property
    def lacks_bandwidth(self) -> bool:
        """Whether a line was full, ours or one behind a call manager that says so (RFC 3261 §20.43, code 370)."""
        return self.code == 488 and (self.warning_code == 370 or (self.warning or "").startswith("370 "))


def warning_value(code: int, agent: str, text: str) -> str:
    """A Warning header value (RFC 3261 §20.43)."""
    quoted = text.replace("\\", "\\\\").replace('"', '\\"').replace("\r", " ").replace("\n", " ")[:256]
    return f'{code} {agent} "{quoted}"'
