"""The transaction layer: matches messages to transactions, keeps their timers, and bounds their number; sans-IO."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from mediaserver.errors import LimitExceeded
from mediaserver.sip.client_transaction import ClientTransaction, FailureReason
from mediaserver.sip.config import Counters, Timers
from mediaserver.sip.dialog import shows_nat
from mediaserver.sip.flow import DEFAULT_PORTS, Destination, Flow, Target
from mediaserver.sip.message import MAGIC_COOKIE, Request, Response, make_response, new_tag
from mediaserver.sip.server_transaction import ServerTransaction
from mediaserver.sip.timers import TimerHeap


@dataclass(frozen=True, slots=True)
class Transmit:
    """Bytes to send. `key` comes back to `handle_transport_failure` when the transport cannot deliver them."""

    data: bytes
    destination: Destination
    key: ClientTransaction | ServerTransaction | None = None


@dataclass(frozen=True, slots=True)
class RequestReceived:
    """A request that belongs to no transaction: accept it with `open` or answer it with `respond_statelessly`."""

    request: Request
    flow: Flow


@dataclass(frozen=True, slots=True)
class AckReceived:
    """An ACK that no server transaction took: it acknowledges a 2xx (RFC 3261 §13.3.1.4)."""

    request: Request
    flow: Flow


@dataclass(frozen=True, slots=True)
class CancelReceived:
    """The INVITE of `transaction` was cancelled; 200 has been sent for the CANCEL itself (RFC 3261 §9.2)."""

    transaction: ServerTransaction
    request: Request


@dataclass(frozen=True, slots=True)
class ResponseReceived:
    """A response to a request of ours."""

    transaction: ClientTransaction
    response: Response
    flow: Flow | None


@dataclass(frozen=True, slots=True)
class TransactionFailed:
    """A request of ours got no final response: `timeout` or `transport`."""

    transaction: ClientTransaction
    reason: FailureReason


LayerEvent = RequestReceived | AckReceived | CancelReceived | ResponseReceived | TransactionFailed


class TransactionLayer:
    """Every client and server transaction of one user agent."""

    def __init__(self, *, timers: Timers, limit: int, counters: Counters) -> None:
        self._timers = timers
        self._limit = limit
        self._counters = counters
        self._clients: dict[tuple[str, str], ClientTransaction] = {}
        self._servers: dict[tuple[str, ...], ServerTransaction] = {}
        self._merges: dict[tuple[str, ...], ServerTransaction] = {}
        self._heap: TimerHeap[ClientTransaction | ServerTransaction] = TimerHeap()
        self._out: deque[Transmit] = deque()
        self._events: deque[LayerEvent] = deque()

    def __len__(self) -> int:
        return len(self._clients) + len(self._servers)

    # -- input ------------------------------------------------------------------------------------------------------

    def handle_message(self, message: Request | Response, flow: Flow, now: float) -> None:
        """A checked message arrived on `flow`."""
        if isinstance(message, Response):
            self._handle_response(message, flow, now)
        else:
            self._handle_request(message, flow, now)

    def _handle_response(self, response: Response, flow: Flow, now: float) -> None:
        # §18.1.2 and §8.1.3.3: more than one Via means that it was not for us.
        if len(response.vias) != 1:
            self._counters.inc("sip.dropped", reason="response_vias")
            return
        transaction = self._clients.get((response.via.branch or "", response.cseq[1]))
        if transaction is None:
            self._counters.inc("sip.dropped", reason="response_unmatched")
            return
        transaction.handle_message(response, now)
        self._settle_client(transaction, flow)

    def _handle_request(self, request: Request, flow: Flow, now: float) -> None:
        stamp_via(request, flow)
        key = server_key(request)
        transaction = self._servers.get(key)
        if transaction is not None and (request.method != "ACK" or _acks(request, transaction)):
            if request.method == "ACK" and transaction.final_code is not None and transaction.final_code < 300:
                # RFC 6026 §7.1: an ACK in Accepted belongs to the transaction user.
                self._events.append(AckReceived(request, flow))
                return
            transaction.handle_message(request, now)
            self._settle_server(transaction)
            return
        if request.method == "ACK":
            self._events.append(AckReceived(request, flow))
        elif request.method == "CANCEL":
            self._handle_cancel(request, flow, key, now)
        else:
            self._events.append(RequestReceived(request, flow))

    def _handle_cancel(self, request: Request, flow: Flow, key: tuple[str, ...], now: float) -> None:
        invite = self._servers.get((*key[:-1], "INVITE"))
        if invite is None:
            response = make_response(request, 481, to_tag=new_tag())
            self.respond_statelessly(response, response_destination(request, flow)[0])
            return
        transaction = self.open(request, flow, to_tag=invite.to_tag)
        if transaction is not None:
            # §9.2: the To tag should be the one of the INVITE's responses.
            self.respond(transaction, make_response(request, 200, to_tag=invite.to_tag), now)
        self._events.append(CancelReceived(invite, request))

    def handle_timeout(self, now: float) -> None:
        """Time has passed."""
        for transaction in self._heap.due(now):
            transaction.handle_timeout(now)
            if isinstance(transaction, ClientTransaction):
                self._settle_client(transaction, None)
            else:
                self._settle_server(transaction)

    def handle_transport_failure(self, key: object, now: float) -> None:
        """What was sent with this key could not be delivered."""
        if isinstance(key, ClientTransaction):
            key.handle_transport_error(now)
            self._settle_client(key, None)
        elif isinstance(key, ServerTransaction):
            key.handle_transport_error(now)
            self._settle_server(key)

    def handle_flow_closed(self, destinations: tuple[Destination, ...], now: float) -> None:
        """A connection is gone: requests sent on it that were not answered at all will not be."""
        for transaction in list(self._clients.values()):
            if transaction.unanswered and transaction.destination in destinations:
                transaction.handle_transport_error(now)
                self._settle_client(transaction, None)

    # -- calls of the transaction user -------------------------------------------------------------------------------

    def open(self, request: Request, flow: Flow, *, to_tag: str | None = None) -> ServerTransaction | None:
        """Begin the server transaction of a request. None when there are too many (nothing is sent then)."""
        if len(self) >= self._limit:
            self._counters.inc("sip.dropped", reason="transactions_full")
            return None
        key = server_key(request)
        destination, fallback = response_destination(request, flow)
        merge = merge_key(request)
        transaction = ServerTransaction(
            request,
            key=key,
            merge_key=merge,
            flow=flow,
            destination=destination,
            fallback=fallback,
            to_tag=to_tag or new_tag(),
            timers=self._timers,
        )
        self._servers[key] = transaction
        if merge is not None and request.method != "CANCEL":
            self._merges[merge] = transaction
        return transaction

    def is_merged(self, request: Request) -> bool:
        """True when the same request came by another path and is being served (RFC 3261 §8.2.2.2)."""
        merge = merge_key(request)
        return merge is not None and merge in self._merges

    def respond(self, transaction: ServerTransaction, response: Response, now: float) -> None:
        """Send a response in a server transaction. Raises LocalProtocolError after a final one."""
        transaction.respond(response, now)
        self._counters.inc("sip.responses_sent", code_class=f"{response.code // 100}xx")
        self._settle_server(transaction)

    def respond_statelessly(self, response: Response, destination: Destination) -> None:
        """Send a response without keeping anything (RFC 3261 §8.2.7)."""
        self._counters.inc("sip.responses_sent", code_class=f"{response.code // 100}xx")
        self._out.append(Transmit(response.encode(), destination))

    def request(
        self,
        request: Request,
        destination: Destination,
        *,
        owner: object,
        now: float,
        patience_s: float | None = None,
    ) -> ClientTransaction:
        """Begin a client transaction; the request carries its Via already. Raises LimitExceeded.

        `patience_s` ends the wait for a first response sooner than timer B or F.
        """
        if len(self) >= self._limit:
            raise LimitExceeded("too many pending SIP transactions", limit="transactions")
        transaction = ClientTransaction(
            request, destination=destination, timers=self._timers, owner=owner, now=now, patience_s=patience_s
        )
        self._clients[transaction.key] = transaction
        self._counters.inc("sip.requests_sent", method=request.method)
        self._settle_client(transaction, None)
        return transaction

    def send_ack(self, request: Request, destination: Destination) -> None:
        """Send the ACK to a 2xx, which has no transaction (RFC 3261 §13.2.2.4)."""
        self._out.append(Transmit(request.encode(), destination))

    def send_raw(self, data: bytes, destination: Destination) -> None:
        """Send what is no message: a keep-alive."""
        self._out.append(Transmit(data, destination))

    # -- output -----------------------------------------------------------------------------------------------------

    def poll_transmit(self) -> Transmit | None:
        """The next bytes to send."""
        return self._out.popleft() if self._out else None

    def poll_event(self) -> LayerEvent | None:
        """The next thing that the transaction user must know."""
        return self._events.popleft() if self._events else None

    def poll_timeout(self) -> float | None:
        """When `handle_timeout` wants to be called."""
        return self._heap.poll_timeout()

    # -- inside -----------------------------------------------------------------------------------------------------

    def _settle_client(self, transaction: ClientTransaction, flow: Flow | None) -> None:
        while (data := transaction.poll_transmit()) is not None:
            self._out.append(Transmit(data, transaction.destination, transaction))
        while (event := transaction.poll_event()) is not None:
            if isinstance(event, Response):
                self._events.append(ResponseReceived(transaction, event, flow))
            else:
                self._events.append(TransactionFailed(transaction, event))
        if transaction.terminated:
            self._clients.pop(transaction.key, None)
            self._heap.forget(transaction)
        else:
            self._heap.schedule(transaction)

    def _settle_server(self, transaction: ServerTransaction) -> None:
        while (data := transaction.poll_transmit()) is not None:
            self._out.append(Transmit(data, transaction.destination, transaction))
        if transaction.terminated:
            self._servers.pop(transaction.key, None)
            self._heap.forget(transaction)
            if transaction.merge_key is not None and self._merges.get(transaction.merge_key) is transaction:
                del self._merges[transaction.merge_key]
        else:
            self._heap.schedule(transaction)


def stamp_via(request: Request, flow: Flow) -> None:
    """Note in the top Via where the request came from (RFC 3261 §18.2.1, RFC 3581 §4); `received` always."""
    via = request.via
    changes: dict[str, str | None] = {"received": flow.remote_ip}
    if via.param("rport") is not None:
        changes["rport"] = str(flow.remote_port)
    request.replace_top_via(via.with_params(**changes))


def server_key(request: Request) -> tuple[str, ...]:
    """How requests find their server transaction (RFC 3261 §17.2.3); the method stands last, ACK counts as INVITE."""
    via = request.via
    method = "INVITE" if request.method == "ACK" else request.method
    branch = via.branch
    if branch is not None and branch.startswith(MAGIC_COOKIE) and len(branch) > len(MAGIC_COOKIE):
        # Branches are case-insensitive tokens (§7.3.1); the cookie alone is no identity (RFC 4475 §3.3.4).
        return branch.lower(), via.host.lower(), str(via.port), method
    # RFC 2543 peers: Request-URI, From tag, Call-ID, CSeq number and the whole top Via (To tag: see `_acks`).
    number = str(request.cseq[0])
    return request.uri_text, request.from_.tag or "", request.call_id, number, str(via), method


def merge_key(request: Request) -> tuple[str, ...] | None:
    """Identity of a request across paths (RFC 3261 §8.2.2.2); None for a request inside a dialog."""
    if request.to.tag is not None:
        return None
    number, method = request.cseq
    return request.from_.tag or "", request.call_id, str(number), method


def _acks(request: Request, transaction: ServerTransaction) -> bool:
    branch = request.via.branch
    if branch is not None and branch.startswith(MAGIC_COOKIE) and len(branch) > len(MAGIC_COOKIE):
        return True
    return request.to.tag == transaction.to_tag


def response_destination(request: Request, flow: Flow) -> tuple[Destination, Destination | None]:
    """Where the response to a request goes, and where else when that fails (RFC 3261 §18.2.2, RFC 3581 §4)."""
    via = request.via
    port = via.port or DEFAULT_PORTS.get(via.transport, 5060)
    if flow.is_websocket:
        return flow, None
    if flow.reliable:
        return flow, Target(flow.transport, flow.remote_ip, port)
    # A peer whose sent-by is another address stands behind a NAT: only the source port reaches it, rport or not.
    if via.param("rport") is not None or port == flow.remote_port or shows_nat(request, flow):
        return flow, None
    return Flow("udp", flow.local_ip, flow.local_port, flow.remote_ip, port), None
