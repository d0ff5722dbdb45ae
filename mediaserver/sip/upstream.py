"""One registration of ours at somebody else's registrar: when to come, what to ask, what came of it (RFC 3261 §10.2).

With an instance it asks the registrar to send calls over the very flow that it registers on (RFC 5626), and works like any
other where the registrar does not know that.
"""

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
LONG_BASE_WAIT_S: Final = 90.0
"""The base where another flow to the same registrar lives."""
LONGEST_WAIT_S: Final = 1_800.0
_MIN_WAIT_S: Final = 5.0
_MAX_TOO_BRIEF: Final = 3
"""Times in a row that a registrar may ask for a longer life and be obeyed at once."""
_GREATEST_EXPIRES: Final = 7 * 86_400
_LASTING_S: Final = 30.0
"""A flow without keep-alives that lived for so long was no failure."""
_MUTE_FLOWS: Final = 2
"""Flows in a row on which no keep-alive was answered, after which silence says nothing about the next one."""
_LONGEST_FLOW_TIMER_S: Final = 3_600


@dataclass(slots=True)
class Upstream:
    """State of a registration. `spread()` gives numbers from 0 to 1; time is an argument."""

    expires_s: int
    spread: Callable[[], float]
    instance: str | None = None
    """URN of this daemon; None does not ask for flows."""
    reg_id: int = 1
    """Which of the daemon's flows to this registrar it is (RFC 5626 §4.2)."""
    state: State = "unregistered"
    next_at: float = 0.0
    """When to send the next REGISTER."""
    registered_until: float | None = None
    last_code: int = 0
    failures: int = 0
    """Times in a row without a flow that lasted."""
    service_routes: tuple[NameAddr, ...] = ()
    """RFC 3608: the route that the registrar wants our calls to take."""
    cseq: int = 0
    call_id: str = field(default_factory=new_call_id)
    """One for all REGISTERs of a client to a registrar (§10.2.4)."""
    outbound: bool = False
    """The registrar sends calls over our flow: it said `Require: outbound` (RFC 5626 §4.2.1)."""
    flow_timer_s: float | None = None
    """Longest pause between keep-alives that the registrar allows; None where it does not say."""
    _asked_s: int = 0
    _too_brief_row: int = 0
    _lacking: bool = False
    """The first hop cannot do outbound (439)."""
    _formed_at: float | None = None
    """When the flow in use was registered first; None without one."""
    _proven: bool = False
    _mute_row: int = 0

    def begin(self) -> tuple[int, int]:
        """CSeq and Expires of the REGISTER that is due. Two numbers are taken: one is for the answer to a challenge."""
        self.cseq += 2
        self._asked_s = self.expires_s
        return self.cseq - 1, self.expires_s

    @property
    def asks_for_outbound(self) -> bool:
        """Whether the REGISTER that is due names instance and flow."""
        return self.instance is not None and not self._lacking

    @property
    def contact_params(self) -> str:
        """Parameters of our Contact (RFC 5626 §4.2); empty without outbound."""
        return f';+sip.instance="<{self.instance}>";reg-id={self.reg_id}' if self.asks_for_outbound else ""

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """Further header fields of the REGISTER."""
        # RFC 5626 §4.2.1: path, too, because the flow may end at a proxy in between.
        return (("Supported", "path, outbound"),) if self.asks_for_outbound else ()

    @property
    def judges_silence(self) -> bool:
        """Whether a first keep-alive without an answer is a failure: not where several flows have had none."""
        return self._mute_row < _MUTE_FLOWS

    def answered(self, response: Response | None, code: int, now: float, *, others_live: bool = False) -> bool:
        """Take the outcome; `response` is None without one. True when the state changed.

        `others_live`: another flow to the registrar is registered, so this one has more time.
        """
        before, self.last_code = self.state, code
        if response is not None and 200 <= code < 300:
            self._granted(response, now)
        elif response is not None and code == 423:
            self._too_brief(response, now, others_live)
        elif code == 439 and self.asks_for_outbound:
            # RFC 5626 §4.2.1: First Hop Lacks Outbound Support; register without it.
            self._lacking, self.next_at = True, now
        else:
            self._failed(response, code, now, others_live)
        return self.state != before

    def flow_proven(self) -> None:
        """The first keep-alive on the flow was answered: it was formed well (§4.5)."""
        self._proven, self._mute_row, self.failures = True, 0, 0

    def flow_failed(self, now: float, *, others_live: bool = False) -> bool:
        """The flow is lost: form a new one, at once after one that lasted, else after a wait. True when the state is new."""
        before = self.state
        if self.outbound:
            self._mute_row = 0 if self._proven else self._mute_row + 1
            # The registrar has no other way to us; without outbound our Contact still leads here.
            self.state, self.registered_until = "unregistered", None
        if self._lasted(now):
            self.failures, self.next_at = 0, now
        else:
            self.failures += 1
            self.next_at = now + self._wait_s(others_live)
        self._formed_at, self._proven, self._lacking = None, False, False
        return self.state != before

    def expired(self, now: float) -> bool:
        """Whether the time that was granted is over without a refresh. True when the state changed."""
        if self.registered_until is None or now < self.registered_until:
            return False
        self.registered_until, self.state = None, "unregistered"
        return True

    def _granted(self, response: Response, now: float) -> None:
        granted = min(self._granted_s(response), _GREATEST_EXPIRES)
        self._too_brief_row, self.state = 0, "registered"
        self.outbound = self.asks_for_outbound and "outbound" in _options(response)
        self.flow_timer_s = _flow_timer_s(response) if self.outbound else None
        if self._formed_at is None:
            self._formed_at = now
        elif self._lasted(now):
            self.failures = 0
        self.registered_until = now + granted
        # At half of its life, so that failures and their waits still find it alive.
        self.next_at = now + max(_MIN_WAIT_S, granted * 0.5)
        self.service_routes = _service_routes(response)

    def _lasted(self, now: float) -> bool:
        return self._proven or (
            not self.outbound and self._formed_at is not None and now - self._formed_at >= _LASTING_S
        )

    def _too_brief(self, response: Response, now: float, others_live: bool) -> None:
        # §10.2.8: the registrar names the least; one that asks for no more than we asked has no say.
        try:
            least = parse_number((response.headers.get("Min-Expires") or "").strip(), "Min-Expires", _GREATEST_EXPIRES)
        except SipParseError:
            least = 0
        self._too_brief_row += 1
        if least <= self.expires_s or self._too_brief_row > _MAX_TOO_BRIEF:
            self._failed(response, 423, now, others_live)
            return
        self.expires_s, self.next_at = least, now

    def _failed(self, response: Response | None, code: int, now: float, others_live: bool) -> None:
        if self._lasted(now):
            self.failures = 0
        self.failures += 1
        wait = self._wait_s(others_live)
        asked = retry_after(response) if response is not None else None
        if asked is not None:
            wait = min(max(asked, _MIN_WAIT_S), LONGEST_WAIT_S)
        self.next_at = now + wait
        if code in (401, 403, 404, 407):
            self.state, self.registered_until = "refused", None
        elif self.registered_until is None or now >= self.registered_until:
            self.state, self.registered_until = "unregistered", None

    def _wait_s(self, others_live: bool) -> float:
        base = LONG_BASE_WAIT_S if others_live else BASE_WAIT_S
        return min(base * 2.0 ** min(self.failures, 16), LONGEST_WAIT_S) * (0.5 + 0.5 * self.spread())

    def _granted_s(self, response: Response) -> int:
        """Life of our binding: its expires parameter, else Expires, else what was asked (§10.2.4)."""
        found = [(_is_of(contact, self), _seconds(contact.param("expires"))) for contact in response.contacts]
        lives = [life for ours, life in found if ours and life is not None]
        lives = lives or [life for _, life in found if life is not None]
        expires = _seconds((response.headers.get("Expires") or "").strip())
        if not lives and expires is not None:
            lives.append(expires)
        # Several bindings (other machines under the same account): the shortest is safe, none may be longer than asked.
        return max(1, min([*lives, self._asked_s]))


def _is_of(contact: NameAddr, upstream: Upstream) -> bool:
    instance = (contact.param("+sip.instance") or "").strip('"').strip("<>")
    return instance == upstream.instance and contact.param("reg-id") == str(upstream.reg_id)


def _seconds(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) <= 10 else None


def _options(response: Response) -> set[str]:
    return {word.strip().lower() for line in response.headers.all("Require") for word in line.split(",")}


def _flow_timer_s(response: Response) -> float | None:
    seconds = _seconds((response.headers.get("Flow-Timer") or "").strip())
    return float(min(seconds, _LONGEST_FLOW_TIMER_S)) if seconds else None


def _service_routes(response: Response) -> tuple[NameAddr, ...]:
    try:
        routes = parse_name_addrs(response.headers.all("Service-Route"))
    except SipParseError:
        return ()
    return tuple(route for route in routes if isinstance(route.uri, SipUri) and route.uri.loose)[:8]
