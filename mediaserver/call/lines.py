"""What a leg's booking asks of whoever knows the lines that its media take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, Protocol

from mediaserver.config.bandwidth import MediaKind
from mediaserver.core.ledger import Grant, Shortage
from mediaserver.core.sites import Hop

if TYPE_CHECKING:
    from mediaserver.call.booking import Booking
    from mediaserver.call.decision import Decision


class Lines(Protocol):
    """See the module; `call.admission.Admission` implements it."""

    def budget(self, hop: Hop, kind: MediaKind) -> int | None:
        """Bits per second that all legs share; None without a bound."""

    def cap(self, way: Sequence[Hop], kind: MediaKind) -> tuple[int, str] | None:
        """The least cap of one leg, and its key in the configuration; None without one."""

    def limit_key(self, hop: Hop, what: Literal["budget", "per_call"], kind: MediaKind) -> str:
        """The key of the configuration that bounds a hop."""
        ...

    def lowest(self, kind: MediaKind) -> int:
        """The floor of a picture."""
        ...

    def reserve(self, booking: Booking, kind: MediaKind, *, floor: int, wanted: int) -> Grant | Shortage:
        """Reserves on the booking's way."""
        ...

    def granted(self, booking: Booking, kind: MediaKind) -> int | None:
        """What the leg has reserved."""

    def release(self, booking: Booking, kind: MediaKind | None = None) -> None:
        """Gives back one kind, or all."""

    def decided(self, booking: Booking, decision: Decision) -> None:
        """Counts and logs."""
