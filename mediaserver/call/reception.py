"""What somebody receives in a room beyond what its own account covers: charged track by track to its lines."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mediaserver.call.booking import Booking
from mediaserver.config.bandwidth import MediaKind
from mediaserver.sdp.description import Codec


class Reception:
    """Every sound and picture that is received needs room on the lines between the site of the party and the daemon.

    A line has as much room both ways, so the first track of a kind that `own` has reserved, for what the party sends,
    covers one that it receives; `booking` is charged for the others, and never for a room's own cap, which is about
    what is sent into it.
    """

    def __init__(self, booking: Booking, own: Booking) -> None:
        self._booking = booking
        self._own = own
        self._whole: dict[MediaKind, int] = {}
        """What was asked for last and given whole."""

    @property
    def matters(self) -> bool:
        """Whether there is any line to be charged."""
        return bool(self._booking.way)

    def afford(self, kind: MediaKind, tracks: int, codecs: Sequence[Codec]) -> int:
        """Charges for so many tracks of a kind, in place of those before; for how many there is room."""
        covered = min(tracks, self._covered(kind))
        asked = tracks - covered
        if self._whole.get(kind, 0) == asked:
            return tracks
        given = self._booking.carry(kind, asked, codecs)
        if given == asked:
            self._whole[kind] = asked
        else:
            self._whole[kind] = -1  # to be asked again: there may be room by then
        return covered + given

    def listen(self, on_change: Callable[[], None]) -> None:
        """Sets who hears that lines have more or less room for what is received."""
        self._booking.on_change = lambda kind, bps: on_change()

    @property
    def bps(self) -> int:
        """Bits per second above UDP that are reserved beyond what `own` covers."""
        return self._booking.carried_bps()

    def close(self) -> None:
        """Gives everything back."""
        self._booking.close()
        self._whole.clear()

    def _covered(self, kind: MediaKind) -> int:
        decision = self._own.decision
        return int(kind in decision.verdicts and kind not in decision.denied)
