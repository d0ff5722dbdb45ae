"""A key that is replaced while it is in use: the one before it counts on until the next change."""

from __future__ import annotations

from typing import Generic, TypeVar

_Key = TypeVar("_Key")


class Rotating(Generic[_Key]):
    """See the module."""

    def __init__(self, key: _Key) -> None:
        self.current = key
        """Signs."""
        self._before: _Key | None = None

    @property
    def all(self) -> tuple[_Key, ...]:
        """Those that count, the one that signs first."""
        return (self.current,) if self._before is None else (self.current, self._before)

    def adopt(self, fresh: _Key) -> bool:
        """Signs by another key from now on; what the one before the last has signed counts no more. Whether it is
        another."""
        if fresh == self.current:
            return False
        self._before, self.current = self.current, fresh
        return True
