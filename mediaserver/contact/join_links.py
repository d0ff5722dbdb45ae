"""Links by which a party of a call that is up comes in with a browser, too: made by the house, of use once."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from mediaserver.errors import LimitExceeded

MOST_PER_CALL: Final = 8
"""Links of one call that are open at a time; the oldest gives way to another one."""
MOST: Final = 20_000


@dataclass(frozen=True, slots=True)
class JoinLink:
    """Where a token leads."""

    call_id: str
    leg_id: str
    """Whom the browser accompanies."""
    entry: str
    """The entry whose page, consent text and origins count."""
    expires_at: float
    """POSIX seconds."""


class JoinLinks:
    """Kept in memory, as digests of their tokens: a link leads into a call, and ends with it. `clock` is POSIX time."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._by_call: dict[str, OrderedDict[bytes, JoinLink]] = {}
        self._call_of: dict[bytes, str] = {}

    def __len__(self) -> int:
        return len(self._call_of)

    def make(self, *, call_id: str, leg_id: str, entry: str, lifetime_s: float) -> tuple[str, JoinLink]:
        """A token, and what it leads to. Raises LimitExceeded."""
        known = self._by_call.setdefault(call_id, OrderedDict())
        if len(known) >= MOST_PER_CALL:
            digest, _ = known.popitem(last=False)
            del self._call_of[digest]
        if len(self._call_of) >= MOST:
            raise LimitExceeded(f"{MOST} links are open", limit="join_links")
        token = secrets.token_urlsafe(32)
        digest = _digest(token)
        link = known[digest] = JoinLink(call_id, leg_id, entry, self._clock() + lifetime_s)
        self._call_of[digest] = call_id
        return token, link

    def find(self, token: str) -> JoinLink | None:
        """Where it leads; None where it was used, is too old, or never was. Looking uses nothing up."""
        digest = _digest(token)
        call_id = self._call_of.get(digest)
        link = self._by_call[call_id][digest] if call_id is not None else None
        return link if link is not None and self._clock() < link.expires_at else None

    def use(self, token: str) -> None:
        """It leads nowhere any more."""
        digest = _digest(token)
        call_id = self._call_of.pop(digest, None)
        if call_id is not None:
            del self._by_call[call_id][digest]

    def forget(self, call_id: str) -> None:
        """A call is over."""
        for digest in self._by_call.pop(call_id, ()):
            del self._call_of[digest]


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
