"""Calls that nobody has answered yet: the phones that ring, for whom they do, and who waits for such a call to be up."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from mediaserver.call.call import Call
from mediaserver.call.leg import Leg
from mediaserver.call.sip_leg import SipLeg
from mediaserver.sip.session import InviteSession

Waiter = asyncio.Future[Call | None]
"""Gets the call once it is up, None where it comes to nothing."""


class Unanswered:
    """Kept by whoever makes calls: everything in here is between two events of one call, and bounded with the calls."""

    def __init__(self) -> None:
        self._calling: dict[str, Leg] = {}
        self._ringing: dict[str, tuple[SipLeg, Leg]] = {}
        self._waiters: dict[str, list[Waiter]] = {}

    @contextmanager
    def calling(self, caller: Leg) -> Iterator[None]:
        """While somebody is sought for a caller whose call is not up."""
        self._calling[caller.id] = caller
        try:
            yield
        finally:
            self._calling.pop(caller.id, None)
            self._wake(caller, None)

    @contextmanager
    def ringing(self, leg: SipLeg, caller: Leg) -> Iterator[None]:
        """While a phone rings for a caller."""
        self._ringing[leg.id] = leg, caller
        try:
            yield
        finally:
            self._ringing.pop(leg.id, None)

    def up(self, call: Call) -> None:
        """A call is up: whoever waited for it goes on."""
        self._wake(call.caller, call)

    def leg_of(self, session: InviteSession) -> SipLeg | None:
        """The leg of a session whose call is not up."""
        legs = (*self._calling.values(), *(leg for leg, _ in self._ringing.values()))
        return next((leg for leg in legs if isinstance(leg, SipLeg) and leg.holds(session)), None)

    def caller_of(self, leg: SipLeg) -> Leg | None:
        """For whom a phone rings."""
        found = self._ringing.get(leg.id)
        return found[1] if found is not None else None

    def wait(self, leg: SipLeg, *, most: int) -> Waiter | None:
        """What gets the call of a leg; None where there will be none, or `most` wait for it already."""
        caller = self.caller_of(leg) or leg
        if caller.id not in self._calling:
            return None
        # Whoever has given up leaves his place to others.
        waiters = [waiter for waiter in self._waiters.get(caller.id, ()) if not waiter.done()]
        if len(waiters) >= most:
            return None
        self._waiters[caller.id] = waiters
        waiter: Waiter = asyncio.get_running_loop().create_future()
        waiters.append(waiter)
        return waiter

    def _wake(self, caller: Leg, call: Call | None) -> None:
        for waiter in self._waiters.pop(caller.id, ()):
            if not waiter.done():
                waiter.set_result(call)
