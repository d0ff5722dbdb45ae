"""Answers SUBSCRIBE and sends NOTIFY (RFC 6665): who may subscribe to what, how many, for how long; sans-IO."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container
from typing import TYPE_CHECKING, Final

from mediaserver.errors import LimitExceeded, RemoteProtocolError
from mediaserver.sip.attempt import Attempt
from mediaserver.sip.dialog import dialog_of_request
from mediaserver.sip.event_packages import CONTENT_TYPES, Package
from mediaserver.sip.flow import Flow
from mediaserver.sip.headers import parse_number, split_list
from mediaserver.sip.message import Request
from mediaserver.sip.server_transaction import ServerTransaction
from mediaserver.sip.standalone import Standalone
from mediaserver.sip.subscription import End, Subscription
from mediaserver.sip.timers import TimerHeap

if TYPE_CHECKING:
    from mediaserver.sip.core import Core

ALLOW_EVENTS: Final = ", ".join(sorted(CONTENT_TYPES))
_DEFAULT_S: Final = 3_600
"""RFC 3856 §6.4, RFC 4235 §3.4, RFC 4575 §3.4."""


class Notification(Standalone):
    """A NOTIFY under way."""

    def __init__(self, subscription: Subscription) -> None:
        super().__init__(subscription.dialog.call_id)
        self.subscription = subscription


class Notifier:
    """All subscriptions. Authentication stands before it; what there is to tell, the core says."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._table: dict[tuple[str, str], Subscription] = {}
        self._by_aor: dict[str, list[Subscription]] = {}
        self._per_user: Counter[str] = Counter()
        self._heap: TimerHeap[Subscription] = TimerHeap()

    def __len__(self) -> int:
        return len(self._table)

    # -- SUBSCRIBE ---------------------------------------------------------------------------------------------------

    def subscribe(self, transaction: ServerTransaction, *, aor: str, subscriber: str, flow: Flow, now: float) -> None:
        """Begin a subscription of an authenticated user, who may; it gets its answer here. Raises RemoteProtocolError."""
        request = transaction.request
        package = package_of(request)
        if not _accepts(request, package):
            raise RemoteProtocolError("no format that we have", status=406)
        expires_s = self._expires(request)
        limits = self._core.config.limits
        if self._per_user[subscriber] >= limits.subscriptions_per_user:
            self._core.counters.inc("sip.dropped", reason="subscriptions_user")
            raise RemoteProtocolError("too many subscriptions of one user", status=403)
        if len(self._table) >= limits.subscriptions:
            self._core.counters.inc("sip.dropped", reason="subscriptions_full")
            raise RemoteProtocolError("too many subscriptions", status=503)
        subscription = Subscription(
            package=package,
            event=(request.headers.get("Event") or "").strip(),
            aor=aor,
            entity=f"sip:{aor}",
            subscriber=subscriber,
            dialog=dialog_of_request(request, flow, to_tag=transaction.to_tag),
            expires_at=now + expires_s,
        )
        self._keep(subscription)
        self._core.counters.inc("sip.subscriptions", package=package)
        self._accepted(transaction, subscription, expires_s, now)

    def find(self, request: Request) -> Subscription | None:
        """The subscription whose dialog a request names; None where there is none."""
        found = self._table.get((request.call_id, request.to.tag or ""))
        return found if found is not None and found.dialog.remote_tag == (request.from_.tag or "") else None

    def refresh(self, transaction: ServerTransaction, subscription: Subscription, flow: Flow, now: float) -> None:
        """A SUBSCRIBE in its dialog (RFC 6665 §4.2.1.2). Raises RemoteProtocolError."""
        request = transaction.request
        subscription.dialog.check_order(request)
        if package_of(request) != subscription.package:
            raise RemoteProtocolError("another package in this dialog", status=489)
        expires_s = self._expires(request)
        subscription.dialog.refresh_target(request)
        subscription.dialog.flow = flow
        subscription.refresh(now + expires_s)
        self._accepted(transaction, subscription, expires_s, now)

    def _accepted(self, transaction: ServerTransaction, subscription: Subscription, expires_s: int, now: float) -> None:
        headers = (("Expires", str(expires_s)), ("Allow-Events", ALLOW_EVENTS))
        self._core.respond(transaction, 200, headers=headers, now=now)
        # §4.2.1.2: what holds is told at once, also to who only asked once (Expires 0).
        self._tell(subscription, now)

    def _expires(self, request: Request) -> int:
        text = request.headers.get("Expires")
        if text is None:
            return min(_DEFAULT_S, self._core.config.max_expires_s)
        expires_s = parse_number(text, "Expires", 2**32 - 1)
        if 0 < expires_s < self._core.config.min_expires_s:
            raise RemoteProtocolError("subscription is too brief", status=423)
        return min(expires_s, self._core.config.max_expires_s)

    # -- NOTIFY ------------------------------------------------------------------------------------------------------

    def changed(self, aor: str) -> None:
        """Something about a user may have changed; its subscribers are told in the next turn."""
        for subscription in self._by_aor.get(aor, ()):
            subscription.changed()
            self._heap.schedule(subscription)

    def outcome(self, notification: Notification) -> None:
        """A NOTIFY has its answer, or none came."""
        subscription = notification.subscription
        if subscription.answered(notification.code) and not subscription.over:
            self._heap.schedule(subscription)  # what has changed meanwhile
        else:
            self._drop(subscription)

    def keep_users(self, known: Callable[[str], bool], now: float) -> None:
        """Ends the subscriptions to users who are not `known` any more, and theirs to others (RFC 6665 §4.1.3)."""
        for subscription in list(self._table.values()):
            if subscription.package != "conference" and not known(subscription.aor.rpartition("@")[0]):
                self._tell(subscription, now, "noresource")
            elif not known(subscription.subscriber):
                self._tell(subscription, now, "rejected")

    def keep_watchers(self, aor: str, watchers: Container[str], end: End, now: float) -> None:
        """Ends the subscriptions to a conference of those who are not among its `watchers` any more, for this reason."""
        for subscription in list(self._by_aor.get(aor, ())):
            if subscription.subscriber not in watchers:
                self._tell(subscription, now, end)

    def end_all(self, now: float) -> None:
        """Ends every subscription: those who want more come again, to whoever is here then."""
        for subscription in list(self._table.values()):
            self._tell(subscription, now, "deactivated")

    def handle_timeout(self, now: float) -> None:
        """Time has passed."""
        for subscription in self._heap.due(now):
            self._tell(subscription, now)

    def poll_timeout(self) -> float | None:
        """When `handle_timeout` wants to be called."""
        return self._heap.poll_timeout()

    def _tell(self, subscription: Subscription, now: float, end: End | None = None) -> None:
        state = self._core.watched.told(subscription.package, subscription.aor, now)
        names = self._core.watched.may_name(subscription.subscriber, subscription.aor.rpartition("@")[0])
        request = subscription.take(state, now, end, names=names)
        if request is not None:
            dialog = subscription.dialog
            attempt = Attempt(Notification(subscription), request, dialog.destinations(), credentials=None, cseq=dialog)
            try:
                self._core.send(attempt, now)
            except LimitExceeded:
                self._drop(subscription)
                return
        self._heap.schedule(subscription)

    # -- table -------------------------------------------------------------------------------------------------------

    def _keep(self, subscription: Subscription) -> None:
        self._table[subscription.key] = subscription
        self._by_aor.setdefault(subscription.aor, []).append(subscription)
        self._per_user[subscription.subscriber] += 1

    def _drop(self, subscription: Subscription) -> None:
        if self._table.pop(subscription.key, None) is None:
            return
        subscription.over = True
        self._heap.forget(subscription)
        others = self._by_aor[subscription.aor]
        others.remove(subscription)
        if not others:
            del self._by_aor[subscription.aor]
        self._per_user[subscription.subscriber] -= 1
        if self._per_user[subscription.subscriber] <= 0:
            del self._per_user[subscription.subscriber]


def package_of(request: Request) -> Package:
    """The package of a SUBSCRIBE. Raises RemoteProtocolError with 489 for one that we have not (RFC 6665 §4.2.1.1)."""
    name = (request.headers.get("Event") or "").partition(";")[0].strip().lower()
    if name == "presence":
        return "presence"
    if name == "dialog":
        return "dialog"
    if name == "conference":
        return "conference"
    raise RemoteProtocolError("no such event package", status=489)


def _accepts(request: Request, package: Package) -> bool:
    values = request.headers.all("Accept")
    kinds = {item.partition(";")[0].strip().lower() for value in values for item in split_list(value)}
    return not values or bool(kinds & {CONTENT_TYPES[package], "application/*", "*/*"})
