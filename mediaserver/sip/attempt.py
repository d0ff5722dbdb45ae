"""A request of ours on its way through next hops and password challenges until it has a final response."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mediaserver.sip.credentials import Credentials
from mediaserver.sip.flow import Destination
from mediaserver.sip.message import Request

if TYPE_CHECKING:
    from mediaserver.sip.client_transaction import ClientTransaction
    from mediaserver.sip.dialog import Dialog
    from mediaserver.sip.invite_session import InviteMachine
    from mediaserver.sip.standalone import Standalone


class Attempt:
    """One request as its session sees it: however often it is sent, it has one outcome."""

    __slots__ = (
        "challenges",
        "contact_params",
        "credentials",
        "cseq",
        "destination",
        "machine",
        "method",
        "patience_s",
        "provisional",
        "remaining",
        "request",
        "transaction",
        "udp_fallback",
        "uris",
    )

    def __init__(
        self,
        machine: InviteMachine | Standalone,
        request: Request,
        destinations: list[Destination],
        *,
        credentials: Credentials | None,
        cseq: Dialog | None,
        patience_s: float | None = None,
        contact_params: str = "",
    ) -> None:
        self.machine = machine
        self.request = request
        """Without Via until it is sent."""
        self.method = request.method
        self.remaining = list(destinations)
        """Next hops not tried yet, best first."""
        self.destination: Destination | None = None
        """The next hop in use."""
        self.udp_fallback: Destination | None = None
        """Where to send it when TCP, chosen for its size, did not work (RFC 3261 §18.1.1)."""
        self.credentials = credentials
        self.cseq = cseq
        """The dialog whose CSeq a repetition with credentials takes; None outside dialogs."""
        self.patience_s = patience_s
        """How long one next hop may be silent, where that is less than the timers of a transaction."""
        self.contact_params = contact_params
        """What follows our Contact."""
        self.uris: Mapping[Destination, str] = {}
        """Request-URIs of next hops that want another than the request has."""
        self.challenges = 0
        self.provisional = False
        """A provisional response came: it may be cancelled, and no other next hop is tried."""
        self.transaction: ClientTransaction | None = None
