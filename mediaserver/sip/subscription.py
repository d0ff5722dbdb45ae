"""One subscription to a user or a conference (RFC 6665): its dialog, its life, and what the subscriber was last told."""

from __future__ import annotations

from typing import Literal

from mediaserver.sip.dialog import Dialog
from mediaserver.sip.event_packages import CONTENT_TYPES, LEAST_GAP_S, Package, Told, document
from mediaserver.sip.message import Request
from mediaserver.sip.timers import TimerEntry

End = Literal["timeout", "deactivated", "noresource", "rejected"]
"""Why a subscription is over, in the words of RFC 6665 §4.1.3."""


class Subscription:
    """Says when a NOTIFY is due and makes it. One at a time is under way; times are the caller's."""

    def __init__(
        self, *, package: Package, event: str, aor: str, entity: str, subscriber: str, dialog: Dialog, expires_at: float
    ) -> None:
        self.package: Package = package
        self.event = event
        """The Event value as the subscriber wrote it, with its id."""
        self.aor = aor
        """Whose state it is about."""
        self.entity = entity
        """The same as a URI, as the subscriber knows it."""
        self.subscriber = subscriber
        self.dialog = dialog
        self.expires_at = expires_at
        self.timer: TimerEntry | None = None
        self.over = False
        """The last NOTIFY is on its way, or there will be none."""
        self._due = True
        self._full = True
        self._waiting = False
        self._not_before = 0.0
        self._version = 0
        self._told: Told | None = None

    @property
    def key(self) -> tuple[str, str]:
        """Call-ID and our tag: how requests in the dialog find it."""
        return self.dialog.call_id, self.dialog.local_tag

    def refresh(self, expires_at: float) -> None:
        """It lives until then, and the subscriber is told the whole state (§4.2.1.2)."""
        self.expires_at, self._due, self._full, self._not_before = expires_at, True, True, 0.0

    def changed(self) -> None:
        """Something about the user may have changed."""
        self._due = True

    def poll_timeout(self) -> float | None:
        """When `take` wants to be called."""
        if self.over or self._waiting:
            return None  # the answer, or its lack, comes first
        return min(self._not_before, self.expires_at) if self._due else self.expires_at

    def take(self, state: Told, now: float, end: End | None = None, *, names: bool = False) -> Request | None:
        """The NOTIFY that is due, None where none is. With `end` it is the last one, due or not.

        `names`: the subscriber may know how calls are named (see `document`).
        """
        if self.over:
            return None
        if end is None and now >= self.expires_at:
            end = "timeout"
        if end is None and (self._waiting or not self._due or now < self._not_before):
            return None
        self._due = False
        if end is None and not self._full and state == self._told:
            return None
        full, self._waiting, self._full, self.over = self._full, True, False, end is not None
        self._not_before = now + LEAST_GAP_S[self.package]
        return self._notify(state, now, end, full=full, names=names)

    def answered(self, code: int) -> bool:
        """The subscriber answered, or 408 and 503 stand for its silence. False where it wants no more (§4.2.2)."""
        self._waiting = False
        return 200 <= code < 300

    def _notify(self, state: Told, now: float, end: End | None, *, full: bool, names: bool) -> Request:
        request = self.dialog.make_request("NOTIFY")
        left = max(0, round(self.expires_at - now))
        request.headers.add("Event", self.event)
        request.headers.add("Subscription-State", f"terminated;reason={end}" if end else f"active;expires={left}")
        request.headers.add("Content-Type", CONTENT_TYPES[self.package])
        request.body = document(
            self.package, self.entity, state, version=self._version, told=self._told, full=full, names=names
        )
        self._version += 1
        self._told = state
        return request
