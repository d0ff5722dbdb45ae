"""What every part of an INVITE session stands on: its state, its tables, and the way to send; sans-IO."""

from __future__ import annotations

import secrets
from collections import deque
from typing import TYPE_CHECKING, Final, Literal, Protocol, cast

from mediaserver.errors import LimitExceeded, LocalProtocolError
from mediaserver.runtime.token_bucket import TokenBucket
from mediaserver.sip.attempt import Attempt
from mediaserver.sip.config import Counters, SipConfig
from mediaserver.sip.dialog import Dialog, dialog_of_response
from mediaserver.sip.events import (
    Cancelled,
    Ended,
    PartyTold,
    Rejected,
    SessionEvent,
)
from mediaserver.sip.flow import Destination, Flow
from mediaserver.sip.headers import NameAddr
from mediaserver.sip.identity import identity_of_message
from mediaserver.sip.message import Request, Response
from mediaserver.sip.reliable import ReliableReceived, ReliableSent
from mediaserver.sip.server_transaction import ServerTransaction
from mediaserver.sip.session_id import SessionId
from mediaserver.sip.session_states import (
    OFFER_TRANSITIONS,
    SESSION_TRANSITIONS,
    OfferInput,
    OfferState,
    SessionInput,
    SessionState,
)
from mediaserver.sip.session_timer import SessionTimer
from mediaserver.sip.timers import TimerEntry
from mediaserver.sip.uri import SipUri

if TYPE_CHECKING:
    from mediaserver.sip.invite_session import InviteMachine

Extra = tuple[tuple[str, str], ...]
SDP: Final = "application/sdp"
IN_DIALOG: Final = "from-change, timer"
"""What we support in a call that the peer has to be told of (RFC 4028 §7.1, RFC 4916 §4.2)."""
_S, _I, _O, _J = SessionState, SessionInput, OfferState, OfferInput


class Port(Protocol):
    """What a session needs from the core."""

    config: SipConfig
    counters: Counters

    def notice(self, kind: str, ip: str, now: float) -> None:
        """Somebody at this address does what nobody should."""

    def send(self, attempt: Attempt, now: float) -> None:
        """Send a request of ours; responses come to `handle_response`. Raises LimitExceeded."""

    def cancel(self, attempt: Attempt, headers: Extra, now: float) -> None:
        """Send a CANCEL for an INVITE of ours that is under way."""

    def send_ack(self, request: Request, destination: Destination) -> None:
        """Send an ACK to a 2xx; the first call gives it its Via."""

    def respond(
        self,
        transaction: ServerTransaction,
        code: int,
        *,
        reason: str | None,
        headers: Extra,
        body: bytes | None,
        now: float,
    ) -> Response:
        """Send a response with our Contact where it belongs."""

    def repeat(self, transaction: ServerTransaction, response: Response, now: float) -> None:
        """Send a 2xx again."""


class Reply:
    """A 2xx of ours that is repeated until its ACK comes (§13.3.1.4)."""

    __slots__ = ("cseq", "give_up_at", "interval", "next_at", "response", "transaction")

    def __init__(self, transaction: ServerTransaction, response: Response, port: Port, now: float) -> None:
        timers = port.config.timers
        self.transaction = transaction
        self.response = response
        self.cseq = response.cseq[0]
        self.interval = timers.t1
        self.next_at = now + timers.t1
        self.give_up_at = now + timers.t64


class SessionBase:
    """State of one call and the steps of its tables. Its parts are `Reinvites` and `InviteMachine`."""

    def __init__(
        self, port: Port, *, direction: Literal["incoming", "outgoing"], call_id: str, local: NameAddr, remote: NameAddr
    ) -> None:
        self.id = secrets.token_hex(16)
        self.direction: Literal["incoming", "outgoing"] = direction
        self.call_id = call_id
        self.local_party = local
        self.remote_party = remote
        self.session_id = SessionId()
        """What the RFC 7989 header field of every message in the dialog says."""
        self.identity: Extra = ()
        """Who is at our end, as header fields of every message that may say so (RFC 3325 §9.1)."""
        self._identity_heard: Extra = ()
        self._party: NameAddr | None = None
        """The same as our From, for peers that know of such a change."""
        self.first_offer: bytes | None = None
        self.state = _S.CALLING if direction == "outgoing" else _S.INCOMING
        self.offer_state = _O.IDLE
        self.dialog: Dialog | None = None
        self.timer: TimerEntry | None = None
        self.aor: str | None = None
        """The registered user whose phone is the peer."""
        self.is_stranded = False
        """The connection of that phone has ended, and it has not come back on another one yet."""
        self.focus: str | None = None
        """User part of the conference URI, where we are a focus to the peer (RFC 4579 §4)."""
        self._port = port
        self._events: deque[SessionEvent] = deque()
        self._told = False  # a final event was emitted
        self._ring_until: float | None = None
        # outgoing
        self._invite: Attempt | None = None
        self._early: dict[str, Dialog] = {}
        self._acks: dict[tuple[str, int], tuple[Request, Destination]] = {}
        self._cancel_sent = False
        self._cancel_cause: Extra = ()
        self._cancel_give_up_at: float | None = None
        self._late_offer = False
        self._provisionals = 0
        self._reliable_received = ReliableReceived()
        self._agreed_early: set[str] = set()
        """Remote tags of dialogs whose offer has its answer before the INVITE has its final response (RFC 3262 §5)."""
        self._changed_early = False
        """A later offer was answered since: a 2xx that repeated the first answer would be wrong."""
        # incoming
        self._reliable_sent = ReliableSent(secrets.randbelow(0x7FFFFFFF))
        self._answer_waits: tuple[bytes | None, Extra] | None = None
        self._invite_transaction: ServerTransaction | None = None
        self._reply: Reply | None = None
        # in the dialog
        self._session_timer = SessionTimer(wanted_s=port.config.session_expires_s, least_s=port.config.min_se_s)
        self._peer_updates = False
        """The peer's Allow names UPDATE."""
        self._peer_knows_change = False
        """Its Supported names from-change (RFC 4916)."""
        self.peer_takes_info = False
        """It names INFO."""
        self._reinvite: Attempt | None = None
        self._reinvite_transaction: ServerTransaction | None = None
        self._glare_at: float | None = None
        self._glares = 0
        self._pending: set[Attempt] = set()
        self._bye_after_ack: Extra | None = None
        rate = port.config.limits.texts_per_s
        self._texts_in, self._texts_out = (TokenBucket(per_second=rate, burst=4 * rate) for _ in range(2))

    @property
    def flow(self) -> Flow | None:
        """The flow on which the peer was last heard."""
        return self.dialog.flow if self.dialog is not None else None

    @property
    def remote_target(self) -> SipUri | None:
        """The peer's Contact."""
        return self.dialog.remote_target if self.dialog is not None else None

    @property
    def local_tag(self) -> str:
        """Our tag: how requests in the dialog find this session."""
        return self.local_party.tag or ""

    @property
    def peer_tag(self) -> str:
        """The peer's tag, of several early dialogs that of the first; "" before there is one."""
        return self.dialog.remote_tag if self.dialog is not None else next(iter(self._early), "")

    @property
    def over(self) -> bool:
        """True when nothing more is to be sent or expected."""
        return self.state is _S.ENDED and not self._pending and self._reply is None

    def has_peer(self, tag: str) -> bool:
        """Whether a dialog of this session has this tag at the peer's end; of a forked call the early ones do, too."""
        if self.dialog is None:
            return tag in self._early
        # RFC 3891 §6.1, RFC 3911 §7.1: zero stands for a peer of RFC 2543, which has no tag.
        return tag == self.dialog.remote_tag or (tag == "0" and not self.dialog.remote_tag)

    def is_elsewhere(self, flow: Flow) -> bool:
        """Whether the peer, a user's phone, was never where this comes from. Trunks may have many addresses."""
        return self.aor is not None and self.dialog is not None and not self.dialog.knows(flow.remote_ip)

    def _step(self, what: SessionInput) -> None:
        state = SESSION_TRANSITIONS.get((self.state, what))
        if state is None:
            raise LocalProtocolError(f"{what.name} is not possible in state {self.state.name}")
        self.state = state
        if state not in (_S.CALLING, _S.EARLY, _S.INCOMING, _S.RINGING):
            self._ring_until = None

    def _can(self, what: SessionInput) -> bool:
        return (self.state, what) in SESSION_TRANSITIONS

    def _offer_step(self, what: OfferInput) -> None:
        state = OFFER_TRANSITIONS.get((self.offer_state, what))
        if state is None:
            raise LocalProtocolError(f"{what.name} is not possible in offer state {self.offer_state.name}")
        self.offer_state = state

    def _tell(self, event: SessionEvent) -> None:
        if not self._told:
            self._events.append(event)

    def _tell_last(self, event: Rejected | Cancelled | Ended) -> None:
        if not self._told:
            self._events.append(event)
            self._told = True

    def poll_event(self) -> SessionEvent | None:
        """The next thing that the owner must know."""
        return self._events.popleft() if self._events else None

    def _hear_identity(self, message: Request | Response) -> None:
        """Who is at their end, where it is somebody else than before."""
        renamed = isinstance(message, Request) and self._hear_from(message)
        told = identity_of_message(message.headers)
        if told:
            if told != self._identity_heard:
                self._identity_heard = told
                self._tell(PartyTold(told))
        elif renamed:
            self._tell(PartyTold((("From", str(NameAddr(self.remote_party.uri, self.remote_party.display_name))),)))

    def _hear_from(self, request: Request) -> bool:
        """Take over a From that has changed (RFC 4916 §4.5); whether it says who is there.

        Of a user's phone it does not: that is whose password it has, whatever it writes. And of a peer that does not know
        of such a change it means nothing: some write their From in several ways.
        """
        dialog, said = self.dialog, request.from_
        if dialog is None or not self._peer_knows_change or said.uri == dialog.remote.uri:
            return False
        dialog.remote = NameAddr(said.uri, said.display_name).with_tag(dialog.remote_tag)
        if self.aor is None:
            self.remote_party = dialog.remote
        return self.aor is None

    def _established(self) -> Dialog:
        if self.dialog is None:
            raise LocalProtocolError("there is no dialog yet")
        return self.dialog

    def _send(self, attempt: Attempt, now: float) -> None:
        self._pending.add(attempt)
        try:
            self._port.send(attempt, now)
        except LimitExceeded:
            self._pending.discard(attempt)
            raise

    def _attempt(self, request: Request, dialog: Dialog) -> Attempt:
        """A request inside the dialog, with the credentials of the call."""
        credentials = self._invite.credentials if self._invite is not None else None
        machine = cast("InviteMachine", self)  # the only class made of the parts
        return Attempt(machine, request, dialog.destinations(), credentials=credentials, cseq=dialog)

    def _send_ack(self, attempt: Attempt, dialog: Dialog, body: bytes | None) -> None:
        cseq = attempt.request.cseq[0]
        ack = dialog.make_request("ACK", cseq=cseq)
        for name in ("Authorization", "Proxy-Authorization"):
            value = attempt.request.headers.get(name)
            if value is not None:
                ack.headers.add(name, value)  # §13.2.2.4
        if self.session_id.known:
            ack.headers.add("Session-ID", str(self.session_id))
        if body is not None:
            ack.headers.add("Content-Type", SDP)
            ack.body = body
        destination = dialog.destinations()[0]
        self._acks[(dialog.remote_tag, cseq)] = (ack, destination)
        while len(self._acks) > 8:
            del self._acks[next(iter(self._acks))]
        self._port.send_ack(ack, destination)

    def _send_bye(self, dialog: Dialog, headers: Extra, now: float) -> None:
        request = dialog.make_request("BYE")
        for name, value in headers:
            request.headers.add(name, value)
        try:
            self._send(self._attempt(request, dialog), now)
        except LimitExceeded:
            return  # counted by the layer; the peer learns it from its own timers

    def _respond(
        self,
        transaction: ServerTransaction,
        code: int,
        now: float,
        *,
        reason: str | None = None,
        headers: Extra = (),
    ) -> None:
        self._port.respond(transaction, code, reason=reason, headers=headers, body=None, now=now)

    def _new_dialog(self, attempt: Attempt, response: Response, flow: Flow | None) -> Dialog:
        via_flow = isinstance(attempt.destination, Flow)
        return dialog_of_response(attempt.request, response, flow, via_flow=via_flow)
