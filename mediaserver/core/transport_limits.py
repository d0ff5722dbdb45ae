"""What may be sent and received over a leg's transports, kept the same in the engine."""

from __future__ import annotations

from mediaserver.engine.commands import SetLimits
from mediaserver.engine.engine import Engine


class TransportLimits:
    """Tells the engine what has changed; repeating a limit costs nothing."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._told: dict[int, SetLimits] = {}

    def set(self, transport: int, *, send_bps: int | None, receive_bps: int | None) -> None:
        """Bounds all media of one transport together, in bits per second above UDP; None is no bound."""
        limits = SetLimits(id=transport, send_bps=send_bps, receive_bps=receive_bps)
        if limits != self._told.get(transport, SetLimits(id=transport)):
            self._told[transport] = limits
            self._engine.submit(limits)
