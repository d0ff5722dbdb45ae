"""The keys by which a Core signs visitors' tokens: one in use, and the one before it, which counts on."""

from __future__ import annotations

import hashlib

from mediaserver.link.messages import TokenKey


def named(secret: bytes) -> TokenKey:
    """A key under an id that follows from it, so that a restart changes nothing."""
    return TokenKey(id=hashlib.sha256(b"token key id" + secret).digest()[0], secret=secret)


class TokenKeys:
    """See the module."""

    def __init__(self, secret: bytes) -> None:
        self.current = named(secret)
        """Signs."""
        self._before: TokenKey | None = None

    @property
    def all(self) -> tuple[TokenKey, ...]:
        """Those that count, the one that signs first."""
        return (self.current,) if self._before is None else (self.current, self._before)

    def replace(self, secret: bytes) -> bool:
        """Signs by another key from now on; what the one before the last has signed counts no more. Whether it is another.

        Raises ValueError for a key that has the id of the current one by chance: take another.
        """
        if secret == self.current.secret:
            return False
        fresh = named(secret)
        if fresh.id == self.current.id:
            raise ValueError("the new key has the id of the current one; take another")
        self._before, self.current = self.current, fresh
        return True
