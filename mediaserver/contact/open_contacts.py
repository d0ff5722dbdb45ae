"""The contacts that are open, by their id and by that of their call, and what is shown of calls that ended lately."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from mediaserver.call.call import Call
from mediaserver.call.events import EndCause
from mediaserver.contact.call_view import CallView, call_view
from mediaserver.contact.contact import Contact

MAX_ENDED: Final = 1_000
"""Calls that are shown after their end; the record of their contact is kept longer."""


class Runner(Protocol):
    """Whatever runs a contact."""

    @property
    def call(self) -> Call | None:
        """Its call, once that is up."""
        ...

    async def end(self, cause: EndCause) -> None:
        """Ends it."""


@dataclass(frozen=True, slots=True)
class OpenContact:
    """One of them."""

    contact: Contact
    runner: Runner
    origin: str
    """`browser`, `sip`, `agent` or `api`."""
    to: str | None
    """What was called: a number, a user, an entry."""

    @property
    def view(self) -> CallView:
        """Its call as it is now."""
        return call_view(self.contact, self.runner.call, origin=self.origin, called=self.to)


class OpenContacts:
    """Bounded by whoever adds."""

    def __init__(self) -> None:
        self._open: dict[str, OpenContact] = {}
        self._by_call: dict[str, OpenContact] = {}
        self._ended: OrderedDict[str, CallView] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[OpenContact]:
        return iter(list(self._open.values()))

    def add(self, opened: OpenContact) -> None:
        """A contact begins."""
        self._open[opened.contact.id] = opened
        self._by_call[opened.contact.call_id] = opened

    def remove(self, contact: Contact) -> OpenContact | None:
        """It is over; None where it was not open. Its call is shown for a while."""
        opened = self._open.pop(contact.id, None)
        if opened is None:
            return None
        del self._by_call[contact.call_id]
        self._ended[contact.call_id] = opened.view
        while len(self._ended) > MAX_ENDED:
            self._ended.popitem(last=False)
        return opened

    def get(self, contact_id: str) -> OpenContact | None:
        """By the contact's id."""
        return self._open.get(contact_id)

    def of_call(self, call_id: str) -> OpenContact | None:
        """By the call's id."""
        return self._by_call.get(call_id)

    def view(self, call_id: str) -> CallView | None:
        """A call, also one that has ended lately."""
        opened = self._by_call.get(call_id)
        return opened.view if opened is not None else self._ended.get(call_id)
