"""Dialogs of RFC 3261 §12: identity, route set, remote target and CSeq numbers as plain values."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from mediaserver.errors import RemoteProtocolError
from mediaserver.sip.flow import DEFAULT_PORTS, Destination, Flow, Target, Transport, is_ip_literal
from mediaserver.sip.headers import Headers, NameAddr
from mediaserver.sip.message import Message, Request, Response
from mediaserver.sip.uri import SipUri

MAX_ROUTES: Final = 20


@dataclass(slots=True)
class Dialog:
    """One dialog as seen from our side. All fields are plain values, so that a dialog can be exported."""

    call_id: str
    local: NameAddr
    """Our From or To with our tag."""
    remote: NameAddr
    remote_target: SipUri
    route_set: tuple[NameAddr, ...]
    local_cseq: int
    remote_cseq: int | None
    flow: Flow | None
    """The flow on which the peer was last heard."""
    behind_nat: bool
    """The peer's Via did not show the address it sent from: its Contact is not to be trusted for reaching it."""

    @property
    def local_tag(self) -> str:
        """Our tag."""
        return self.local.tag or ""

    @property
    def remote_tag(self) -> str:
        """The peer's tag; "" for an RFC 2543 peer (§12.1.1)."""
        return self.remote.tag or ""

    def check_order(self, request: Request) -> None:
        """Take over the CSeq of a request. Raises RemoteProtocolError(500) when it went backwards (§12.2.2)."""
        number = request.cseq[0]
        if self.remote_cseq is not None and number < self.remote_cseq:
            raise RemoteProtocolError("CSeq went backwards", status=500)
        self.remote_cseq = number

    def refresh_target(self, message: Message) -> None:
        """Take over the Contact of a target refresh request or its 2xx (§12.2.1.2, §12.2.2)."""
        contacts = message.contacts
        if contacts and isinstance(contacts[0].uri, SipUri):
            self.remote_target = contacts[0].uri

    def make_request(self, method: str, *, cseq: int | None = None) -> Request:
        """A request inside the dialog (§12.2.1.1) without Via and Contact. A new CSeq number unless one is given."""
        if cseq is None:
            self.local_cseq += 1
            cseq = self.local_cseq
        headers = Headers()
        uri = self.remote_target
        if self.route_set:
            first = self.route_set[0].uri
            if isinstance(first, SipUri) and first.loose:
                for route in self.route_set:
                    headers.add("Route", str(route))
            elif isinstance(first, SipUri):
                # Strict router: it becomes the Request-URI, the remote target the last Route.
                for route in self.route_set[1:]:
                    headers.add("Route", str(route))
                headers.add("Route", f"<{self.remote_target}>")
                uri = first
        headers.add("Max-Forwards", "70")
        headers.add("From", str(self.local))
        headers.add("To", str(self.remote))
        headers.add("Call-ID", self.call_id)
        headers.add("CSeq", f"{cseq} {method}")
        return Request(method, uri.without_headers(), headers)

    def knows(self, ip: str) -> bool:
        """Whether the peer may be at this address: it was heard there, or its Contact or route names it.

        A name may stand for any address; a Contact under .invalid, as browsers have, for none (RFC 7118 §5.1).
        """
        routes = (route.uri for route in self.route_set)
        hosts = [self.remote_target.host, *(uri.host for uri in routes if isinstance(uri, SipUri))]
        if self.flow is None or self.flow.remote_ip == ip:
            return True
        return any(host == ip or not (is_ip_literal(host) or host.endswith(".invalid")) for host in hosts)

    def destinations(self) -> list[Destination]:
        """Where requests go, best first."""
        hop = self.remote_target
        if self.route_set and isinstance(self.route_set[0].uri, SipUri):
            hop = self.route_set[0].uri
        target = target_of(hop)
        flow = self.flow
        if flow is None:
            return [target]
        if flow.edge:
            # Whoever came over an Edge is not reached by any other way.
            target = replace(target, at_edge=True)
        same_host = not is_ip_literal(target.host) or target.host == flow.remote_ip
        if flow.is_websocket and (same_host or not self.route_set):
            return [flow]  # RFC 7118 §5.1: a Contact of a browser names nothing that could be connected to
        if flow.reliable:
            # RFC 5923 in spirit: a connection that works is used again; a phone behind NAT has no other way in.
            if same_host or not self.route_set:
                return [flow, target] if is_ip_literal(target.host) and not _private_mismatch(target, flow) else [flow]
            return [target]
        if target.transport == "udp" and (
            (same_host and target.port == flow.remote_port)
            or (not self.route_set and (self.behind_nat or _private_mismatch(target, flow)))
        ):
            return [flow]
        return [target]


def shows_nat(request: Request, flow: Flow) -> bool:
    """True when the sender wrote another address into its Via than it has here (a name in its place proves nothing)."""
    host = request.via.host
    return host != flow.remote_ip and is_ip_literal(host)


def _private_mismatch(target: Target, flow: Flow) -> bool:
    """The target is a private address but the peer's packets come from a public one."""
    if not is_ip_literal(target.host):
        return False
    return _is_private(target.host) and not _is_private(flow.remote_ip)


@lru_cache(maxsize=4096)
def _is_private(ip: str) -> bool:
    return ipaddress.ip_address(ip).is_private


def target_of(uri: SipUri) -> Target:
    """The next hop that a URI names by itself, without DNS (RFC 3263 §4.1 with explicit or default transport)."""
    transport: Transport = "udp"
    wanted = uri.transport
    if uri.scheme == "sips" or wanted == "tls":
        transport = "tls"
    elif wanted == "tcp":
        transport = "tcp"
    return Target(transport, uri.param("maddr") or uri.host, uri.port or DEFAULT_PORTS[transport])


def _routes(message: Message) -> tuple[NameAddr, ...]:
    routes = message.record_routes
    if len(routes) > MAX_ROUTES:
        raise RemoteProtocolError("too many Record-Routes", status=400)
    return routes


def dialog_of_request(request: Request, flow: Flow, *, to_tag: str) -> Dialog:
    """The dialog that our response to this request creates (§12.1.1). Raises RemoteProtocolError without a Contact."""
    contacts = request.contacts
    if len(contacts) > 1:
        raise RemoteProtocolError("INVITE needs exactly one Contact", status=400)
    # RFC 2543 peers may leave the Contact out (RFC 4475 §3.4.1): their From is all there is.
    contact = contacts[0] if contacts else request.from_
    return Dialog(
        call_id=request.call_id,
        local=request.to.with_tag(to_tag),
        remote=request.from_,
        remote_target=contact.sip_uri,
        route_set=_routes(request),
        local_cseq=0,
        remote_cseq=request.cseq[0],
        flow=flow,
        behind_nat=shows_nat(request, flow),
    )


def dialog_of_response(request: Request, response: Response, flow: Flow | None, *, via_flow: bool) -> Dialog:
    """The dialog that a response to our request creates (§12.1.2). `via_flow`: the callee was reached over its flow."""
    contacts = response.contacts
    # Tolerant: a 1xx need not carry a Contact though §12.1.2 assumes it; the old target stays then.
    first = contacts[0].uri if contacts else None
    target = first if isinstance(first, SipUri) else request.sip_uri
    return Dialog(
        call_id=request.call_id,
        local=request.from_,
        remote=response.to,
        remote_target=target,
        route_set=tuple(reversed(_routes(response))),
        local_cseq=request.cseq[0],
        remote_cseq=None,
        flow=flow,
        behind_nat=via_flow,
    )
