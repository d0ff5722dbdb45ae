"""One registration of ours at somebody else's registrar (RFC 3261 §10.2): when to come, what to ask, what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal

from mediaserver.sip.errors import SipParseError
from mediaserver.sip.headers import NameAddr, parse_name_addrs, parse_number
from mediaserver.sip.message import Response, new_call_id
from mediaserver.sip.sender import retry_after
from mediaserver.sip.uri import SipUri

State = Literal["unregistered", "registered", "refused"]

# RFC 5626 §4.5: waits double from a base up to a most, each between half of it and the whole.
BASE_WAIT_S: Final = 30.0
LONGEST_WAIT_S: Final = 1_800.0
_MIN_WAIT_S: Final = 5.0
_MAX_TOO_BRIEF: Final = 3
"""Times in a row that a registrar may ask for a longer life and be obeyed at once."""
_GREATEST_EXPIRES: Final = 7 * 86_400


@dataclass(slots=True)
class Upstream:
    """State of a registration. `spread()` gives numbers from 0 to 1; time is an argument."""

    expires_s: int
    spread: Callable[[], float]
    state: State = "unregistered"
    next_at: float = 0.0
    """When to send the next REGISTER."""
    registered_until: float | None = None
    last_code: int = 0
    failures: int = 0
    """Times in a row without success."""
    service_routes: tuple[NameAddr, ...] = ()
    """RFC 3608: the route that the registrar wants our calls to take."""
    cseq: int = 0
    call_id: str = field(default_factory=new_call_id)
    """One for all REGISTERs of a client to a registrar (§10.2.4)."""
    _asked_s: int = 0
    _too_brief_row: int = 0

    def begin(self) -> tuple[int, int]:
        """CSeq and Expires of the REGISTER that is due. Two numbers are taken: one is for the answer to a challenge."""
        self.cseq += 2
        self._asked_s = self.expires_s
        return self.cseq - 1, self.expires_s

    def answered(self, response: Response | None, code: int, now: float) -> bool:
        """Take the outcome; `response` is None without one. True when the state changed."""
        before, self.last_code = self.state, code
        if response is not None and 200 <= code < 300:
            self._granted(response, now)
        elif response is not None and code == 423:
            self._too_brief(response, now)
        else:
            self._failed(response, code, now)
        return self.state != before

    def expired(self, now: float) -> bool:
        """Whether the time that was granted is over without a refresh. True when the state changed."""
        if self.registered_until is None or now < self.registered_until:
            return False
        self.registered_until, self.state = None, "unregistered"
        return True

    def _granted(self, response: Response, now: float) -> None:
        granted = min(_granted_s(response, self._asked_s), _GREATEST_EXPIRES)
        self.failures, self._too_brief_row, self.state = 0, 0, "registered"
        self.registered_until = now + granted
        # At half of its life, so that failures and their waits still find it alive.
        self.next_at = now + max(_MIN_WAIT_S, granted * 0.5)
        self.service_routes = _service_routes(response)

    def _too_brief(self, response: Response, now: float) -> None:
        # §10.2.8: the registrar names the least; one that asks for no more than we asked has no say.
        try:
            least = parse_number((response.headers.get("Min-Expires") or "").strip(), "Min-Expires", _GREATEST_EXPIRES)
        except SipParseError:
            least = 0
        self._too_brief_row += 1
        if least <= self.expires_s or self._too_brief_row > _MAX_TOO_BRIEF:
            self._failed(response, 423, now)
            return
        self.expires_s, self.next_at = least, now

    def _failed(self, response: Response | None, code: int, now: float) -> None:
        self.failures += 1
        wait = min(BASE_WAIT_S * 2.0 ** min(self.failures - 1, 16), LONGEST_WAIT_S)
        wait *= 0.5 + 0.5 * self.spread()
        asked = retry_after(response) if response is not None else None
        if asked is not None:
            wait = min(max(asked, _MIN_WAIT_S), LONGEST_WAIT_S)
        self.next_at = now + wait
        if code in (401, 403, 404, 407):
            self.state, self.registered_until = "refused", None
        elif self.registered_until is None or now >= self.registered_until:
            self.state, self.registered_until = "unregistered", None


def _granted_s(response: Response, asked_s: int) -> int:
    """Life of our binding: its expires parameter, else Expires, else what was asked (§10.2.4). One of ours is enough."""
    found: list[int] = []
    for contact in response.contacts:
        text = contact.param("expires")
        if text is not None and text.isascii() and text.isdigit() and len(text) <= 10:
            found.append(int(text))
    header = (response.headers.get("Expires") or "").strip()
    if not found and header.isascii() and header.isdigit() and len(header) <= 10:
        found.append(int(header))
    # Several bindings (other machines under the same account): the shortest is safe, none may be longer than asked.
    return max(1, min([*found, asked_s]))


def _service_routes(response: Response) -> tuple[NameAddr, ...]:
    try:
        routes = parse_name_addrs(response.headers.all("Service-Route"))
    except SipParseError:
        return ()
    return tuple(route for route in routes if isinstance(route.uri, SipUri) and route.uri.loose)[:8]
