"""What both ends need of a link's transport; the engine has it, tests make one of their own."""

from __future__ import annotations

from typing import Protocol


class Wire(Protocol):
    """One link that may be up or down."""

    def send(self, payload: bytes) -> None:
        """Queue a control message; lost where the link is down, which is said by its event."""
        ...

    def set_busy(self, busy: bool) -> None:
        """Whether paths exist: then the other end is asked often for a sign of life."""
        ...
