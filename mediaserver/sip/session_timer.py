"""The session timer of one dialog (RFC 4028): who refreshes, when, and when silence means that the call is gone."""

from __future__ import annotations

from typing import Final

from mediaserver.errors import RemoteProtocolError
from mediaserver.sip.headers import find_param, parse_number, parse_params, split_list
from mediaserver.sip.message import Message, Request, Response

_MOST: Final = 0xFFFFFFFF
_RETRY_S: Final = 5.0
_LAST_CALL_S: Final = 32.0
"""RFC 4028 §10: whoever waits for a refresh hangs up so long before the end, or a third of the interval."""

Extra = tuple[tuple[str, str], ...]


def session_expires(message: Message) -> tuple[int, str] | None:
    """The interval in seconds and the refresher ("uac", "uas" or ""); None when absent.

    Raises RemoteProtocolError (400) where it is broken.
    """
    value = message.headers.get("Session-Expires")
    if value is None:
        return None
    number, *rest = split_list(value, ";")
    refresher = (find_param(parse_params(rest), "refresher") or "").lower()
    return parse_number(number.strip(), "Session-Expires", _MOST), refresher if refresher in ("uac", "uas") else ""


def min_se(message: Message) -> int:
    """The least interval that the sender stands; 0 when absent. Raises RemoteProtocolError (400) where it is broken."""
    value = message.headers.get("Min-SE")
    return 0 if value is None else parse_number(value.partition(";")[0].strip(), "Min-SE", _MOST)


def supports_timer(message: Message) -> bool:
    """Whether the sender knows this extension."""
    return "timer" in {token.lower() for token in (*message.tokens("Supported"), *message.tokens("Require"))}


class SessionTimer:
    """Off until a 2xx turns it on. Times are those of the caller's clock, intervals seconds."""

    __slots__ = ("_least", "_wanted", "expires_at", "interval_s", "refresh_at", "refreshing")

    def __init__(self, *, wanted_s: int, least_s: int) -> None:
        self._wanted = wanted_s
        self._least = least_s
        self.interval_s = 0
        """What was agreed; 0 is no timer."""
        self.refreshing = False
        """Whether the refreshes are ours to send."""
        self.refresh_at: float | None = None
        self.expires_at: float | None = None

    def request_headers(self) -> Extra:
        """Fields of an INVITE or UPDATE of ours."""
        if not self._wanted:
            return ()
        value = str(self.interval_s or max(self._wanted, self._least))
        if self.interval_s:
            value += f";refresher={'uac' if self.refreshing else 'uas'}"
        return (("Session-Expires", value), ("Min-SE", str(self._least)))

    def too_small(self, request: Request) -> bool:
        """Whether a request is to be answered 422 (§9). Raises RemoteProtocolError (400)."""
        asked, _ = session_expires(request), min_se(request)
        return bool(self._wanted) and asked is not None and asked[0] < self._least and supports_timer(request)

    def on_too_small(self, response: Response) -> bool:
        """Takes the longer interval that a 422 asks for; False where it asks for none that is new (§7.4)."""
        least = min_se(response)
        if least <= max(self._least, self.interval_s):
            return False
        self._least = least
        if self.interval_s:
            self.interval_s = max(self.interval_s, least)
        return True

    @property
    def least_s(self) -> int:
        """The least interval that both sides stand, as far as we know."""
        return self._least

    def accept(self, request: Request, now: float) -> Extra:
        """Fields of our 2xx to a request that may refresh; the timer runs from now on (§9, table 2)."""
        asked, knows = session_expires(request), supports_timer(request)
        if not self._wanted or (asked is None and not knows):
            self.stop()
            return ()
        least = max(min_se(request), self._least)
        interval = max(min(asked[0], self._wanted) if asked is not None else self._wanted, least)
        # Whoever does not know the timer cannot refresh; where the choice is ours, we do it: we never forget.
        by_peer = knows and asked is not None and asked[1] == "uac"
        self._start(interval, refreshing=not by_peer, now=now)
        expires = ("Session-Expires", f"{interval};refresher={'uac' if by_peer else 'uas'}")
        return (expires, ("Require", "timer")) if by_peer else (expires,)

    def on_success(self, response: Response, now: float) -> None:
        """A 2xx to a request of ours: the timer runs as it says, and not at all where it says nothing (§7.2)."""
        try:
            said = session_expires(response)
        except RemoteProtocolError:
            said = None
        if said is None or not self._wanted:
            self.stop()
        else:
            self._start(max(said[0], self._least), refreshing=said[1] != "uas", now=now)

    def put_off(self, now: float) -> None:
        """A refresh came to nothing that lasts: once more in a moment."""
        self.refresh_at = now + _RETRY_S

    def stop(self) -> None:
        """No timer from now on."""
        self.interval_s = 0
        self.refresh_at = self.expires_at = None

    def poll_timeout(self) -> float | None:
        """When there is something to do."""
        times = [at for at in (self.refresh_at, self.expires_at) if at is not None]
        return min(times, default=None)

    def _start(self, interval: int, *, refreshing: bool, now: float) -> None:
        self.interval_s = interval
        self.refreshing = refreshing
        self.refresh_at = now + interval / 2 if refreshing else None
        self.expires_at = now + interval - min(_LAST_CALL_S, interval / 3)
