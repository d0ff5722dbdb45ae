"""The keys by which a Core signs visitors' tokens."""

from __future__ import annotations

import hashlib

from mediaserver.link.messages import TokenKey
from mediaserver.link.rotating import Rotating


def named(secret: bytes) -> TokenKey:
    """A key under an id that follows from it, so that a restart changes nothing."""
    return TokenKey(id=hashlib.sha256(b"token key id" + secret).digest()[0], secret=secret)


class TokenKeys(Rotating[TokenKey]):
    """Two at a time, of which ids tell which one a token is signed by."""

    def __init__(self, secret: bytes) -> None:
        super().__init__(named(secret))

    def replace(self, secret: bytes) -> bool:
        """Adopt the key of this secret. Raises ValueError for one that has the id of the current one by chance: take
        another."""
        fresh = named(secret)
        if fresh != self.current and fresh.id == self.current.id:
            raise ValueError("the new key has the id of the current one; take another")
        return self.adopt(fresh)
