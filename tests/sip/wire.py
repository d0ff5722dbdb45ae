"""A core on virtual time with a wire made of lists: what goes in and out is text."""

from __future__ import annotations

import ipaddress

from mediaserver.sip.config import Bind, SipConfig, SipLimits, TrunkRule
from mediaserver.sip.core import Announced, Core, NewInvite, Noticed, SessionHappened
from mediaserver.sip.errors import SipParseError
from mediaserver.sip.events import SessionEvent
from mediaserver.sip.flow import Destination, Flow
from mediaserver.sip.headers import NameAddr
from mediaserver.sip.invite_session import InviteMachine
from mediaserver.sip.kept_flows import FlowNews
from mediaserver.sip.message import Request, Response
from mediaserver.sip.outside_referrals import OutsideReferral
from mediaserver.sip.parser import PING, PartialRequest, parse_datagram
from mediaserver.sip.removals import NewRemoval
from mediaserver.sip.uri import parse_sip_uri
from tests.sip.conftest import Counts, Users

PEER = Flow("udp", "192.0.2.1", 5060, "192.0.2.9", 5060)
TRUNK = TrunkRule("peer", (ipaddress.ip_network("192.0.2.0/24"),))


class Routes:
    """We are 192.0.2.1:5060 on every transport."""

    def announced(self, destination: Destination) -> Announced:
        return Announced(destination.transport, "192.0.2.1", 5060)

    def is_local(self, host: str, port: int | None) -> bool:
        return host == "192.0.2.1" and port in (None, 5060)

    def alias(self, flow: Flow, port: int) -> None:
        """Sockets know what to do with it."""

    def certificate_names(self, flow: Flow) -> tuple[str, ...]:
        return ("sbc.carrier.test",) if flow.id == 77 else ()


class Wire:
    """One core under test. `now` moves by `wait`."""

    def __init__(self, *, trunk: bool = True, limits: SipLimits | None = None, flow: Flow = PEER) -> None:
        self.now = 1000.0
        self.counts = Counts()
        self.flow = flow
        self.config = SipConfig(
            binds=(Bind("udp", "192.0.2.1", 5060),),
            domains=frozenset({"example.org"}),
            realm="example.org",
            trunks=(TRUNK,) if trunk else (),
            limits=limits or SipLimits(),
        )
        self.core = Core(config=self.config, users=Users(), counters=self.counts, routes=Routes())
        self.events: list[SessionEvent] = []
        self.new: list[NewInvite] = []
        self.removals: list[NewRemoval] = []
        self.referrals: list[OutsideReferral] = []
        self.changed: list[str] = []
        self.flows: list[FlowNews] = []
        """What became of flows that are kept."""
        self.noticed: list[tuple[str, str]] = []
        """Kind and source of what would be logged."""

    def receive(self, data: bytes | str, flow: Flow | None = None) -> list[Request | Response]:
        """Give a datagram in; returns what is sent because of it."""
        raw = data.replace("\n", "\r\n").encode() if isinstance(data, str) else data
        flow = flow or self.flow
        try:
            message = parse_datagram(raw, self.config.limits.message)
        except PartialRequest as error:
            self.core.handle_malformed(error, error.request, flow, self.now)
        except SipParseError as error:
            self.core.handle_malformed(error, None, flow, self.now)
        else:
            self.core.handle_message(message, flow, self.now)
        return self.sent()

    def sent(self) -> list[Request | Response]:
        """Everything that wants to be sent now, parsed back."""
        self._events()
        out: list[Request | Response] = []
        while (transmit := self.core.poll_transmit()) is not None:
            if transmit.data != PING:
                out.append(parse_datagram(transmit.data, self.config.limits.message))
        return out

    def _events(self) -> None:
        while (event := self.core.poll_event()) is not None:
            if isinstance(event, SessionHappened):
                self.events.append(event.event)
            elif isinstance(event, NewInvite):
                self.new.append(event)
            elif isinstance(event, NewRemoval):
                self.removals.append(event)
            elif isinstance(event, OutsideReferral):
                self.referrals.append(event)
            elif isinstance(event, Noticed):
                self.noticed.append((event.kind, event.source))
            elif isinstance(event, FlowNews):
                self.flows.append(event)
            else:
                self.changed.append(event)

    def wait(self, seconds: float) -> list[tuple[float, Request | Response]]:
        """Let time pass; returns what was sent, with the moment of each."""
        end = self.now + seconds
        out: list[tuple[float, Request | Response]] = []
        while (at := self.core.poll_timeout()) is not None and at <= end:
            self.now = max(self.now, at)
            self.core.handle_timeout(self.now)
            out += [(round(self.now - (end - seconds), 3), message) for message in self.sent()]
        self.now = end
        return out

    def call(self, *, body: bytes | None = b"offer", flow: Flow | None = None) -> tuple[InviteMachine, Request]:
        """Begin a call; returns the session and its INVITE."""
        machine = self.core.invite(
            parse_sip_uri("sip:bob@192.0.2.9"),
            destinations=[flow or self.flow],
            from_=NameAddr(parse_sip_uri("sip:alice@example.org")),
            to=NameAddr(parse_sip_uri("sip:bob@192.0.2.9")),
            body=body,
            headers=(),
            credentials=None,
            max_forwards=70,
            now=self.now,
        )
        (invite,) = self.sent()
        assert isinstance(invite, Request)
        return machine, invite

    def invited(self, text: str) -> InviteMachine:
        """Receive an INVITE; returns its session."""
        self.receive(text)
        return self.new[-1].machine


def answer(request: Request, code: int, *, tag: str = "their-tag", body: str = "", extra: str = "") -> str:
    """A response of the peer as text."""
    vias = "".join(f"Via: {value}\n" for value in request.headers.all("Via"))
    to = request.headers.get("To") or ""
    if code > 100 and ";tag=" not in to:
        to += f";tag={tag}"
    return (
        f"SIP/2.0 {code} Something\n{vias}From: {request.headers.get('From')}\nTo: {to}\n"
        f"Call-ID: {request.call_id}\nCSeq: {request.headers.get('CSeq')}\n"
        f"Contact: <sip:bob@192.0.2.9:5070>\n{extra}Content-Length: {len(body)}\n\n{body}"
    )


def request(
    method: str = "INVITE",
    *,
    cseq: int = 1,
    to_tag: str | None = None,
    from_tag: str = "their-tag",
    branch: str = "z9hG4bKtheirs1",
    call_id: str = "their-call",
    body: str = "v=0\n",
    extra: str = "",
    uri: str = "sip:alice@192.0.2.1",
) -> str:
    """A request of the peer as text."""
    to = f"<sip:alice@example.org>{';tag=' + to_tag if to_tag else ''}"
    kind = "Content-Type: application/sdp\n" if body else ""
    length = len(body.replace("\n", "\r\n"))
    return (
        f"{method} {uri} SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.9:5060;branch={branch};rport\nMax-Forwards: 70\n"
        f"From: <sip:bob@example.org>;tag={from_tag}\nTo: {to}\nCall-ID: {call_id}\nCSeq: {cseq} {method}\n"
        f"Contact: <sip:bob@192.0.2.9:5070>\n{extra}{kind}Content-Length: {length}\n\n{body}"
    )
