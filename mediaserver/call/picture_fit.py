"""Whether a phone's decoder takes the picture that is there for it, and what is said when it never does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from mediaserver.engine.events import DownTrackLayerChanged

FIT_S: Final = 6.0
"""How long a publisher has to send less before its picture counts as withheld. A browser needs a second for it."""

TOO_LARGE: Final = "too_large"
"""No layer of the source is small enough for the decoder."""


class PictureFit:
    """Follows what flows to one phone. While a picture is too large the engine forwards nothing; this says so in time.

    `on_change` gets the reason when the publisher had its time to send less, and "" when the picture flows after all.
    """

    def __init__(self, on_change: Callable[[str], None], *, fit_s: float = FIT_S) -> None:
        self._on_change = on_change
        self._fit_s = fit_s
        self._timer: asyncio.TimerHandle | None = None
        self.withheld = ""
        """Why there is no picture now."""

    def on_layer(self, event: DownTrackLayerChanged) -> None:
        """Takes what the engine says of the down track."""
        if event.state == TOO_LARGE:
            if self._timer is None and not self.withheld:
                self._timer = asyncio.get_running_loop().call_later(self._fit_s, self._give_up)
            return
        self._stop_timer()
        if event.state == "forwarding" and self.withheld:
            self._tell("")

    def close(self) -> None:
        """Says nothing any more, and forgets whom: two that hold each other wait for the collector."""
        self._stop_timer()
        self._on_change = _nobody

    def _give_up(self) -> None:
        self._timer = None
        self._tell(TOO_LARGE)

    def _tell(self, reason: str) -> None:
        self.withheld = reason
        self._on_change(reason)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _nobody(reason: str) -> None:
    """Hears what comes after `close`."""
