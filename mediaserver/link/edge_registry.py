"""Which Edges a Core has: who is up, where visitors reach them, who drains; and the news when that changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import structlog

from mediaserver.link.core_end import CoreEnd
from mediaserver.link.messages import EdgeAddress, Revocation, TokenKey

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class EdgeReady:
    """An Edge takes visitors from now on, or is back."""

    edge: str


@dataclass(frozen=True, slots=True)
class EdgeLost:
    """An Edge that was ready is gone: what went over it goes over another one, by an ICE restart."""

    edge: str
    reason: str
    others: tuple[str, ...]
    """Edges that take new sessions, the ones to go to."""


@dataclass(frozen=True, slots=True)
class EdgeDraining:
    """An Edge takes no new sessions, and what it has shall go elsewhere within the deadline."""

    edge: str
    deadline_s: float
    others: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EdgeMoved:
    """An Edge that is ready is reached by other addresses."""

    edge: str


EdgeEvent = EdgeReady | EdgeLost | EdgeDraining | EdgeMoved


@dataclass(slots=True)
class _Known:
    end: CoreEnd
    was_ready: bool = False
    was_draining: bool = False
    left_within_s: float | None = None
    """The time in which our own operator wants it to be left."""
    addresses: tuple[EdgeAddress, ...] = ()

    @property
    def deadline_s(self) -> float | None:
        """The time in which it is to be left; None where it is not."""
        return self.end.drain_deadline_s if self.left_within_s is None else self.left_within_s

    @property
    def is_draining(self) -> bool:
        """It takes no new sessions."""
        return self.deadline_s is not None


class EdgeRegistry:
    """All Edges of the configuration, in its order."""

    def __init__(self) -> None:
        self._edges: dict[str, _Known] = {}
        self._listeners: list[Callable[[EdgeEvent], None]] = []

    def add(self, end: CoreEnd) -> None:
        """Keep an Edge; its `changed` is to call `handle_change`."""
        if end.name in self._edges:
            raise ValueError(f"there is an Edge {end.name} already")
        self._edges[end.name] = _Known(end)

    def remove(self, name: str) -> None:
        """Forget an Edge that is no longer in the configuration; listeners are told when it was ready."""
        known = self._edges.pop(name, None)
        if known is not None and known.was_ready:
            self._tell(EdgeLost(name, "no longer in the configuration", self.open_edges()))

    def listen(self, callback: Callable[[EdgeEvent], None]) -> Callable[[], None]:
        """Call `callback` with every event; the returned function ends that."""
        self._listeners.append(callback)
        return lambda: self._listeners.remove(callback)

    def edges(self) -> tuple[CoreEnd, ...]:
        """All of them."""
        return tuple(known.end for known in self._edges.values())

    def edge(self, name: str) -> CoreEnd:
        """That of this name. Raises KeyError."""
        return self._edges[name].end

    def open_edges(self) -> tuple[str, ...]:
        """Names of those that take new sessions."""
        return tuple(name for name, known in self._edges.items() if known.end.is_ready and not known.is_draining)

    def is_draining(self, name: str) -> bool:
        """Whether an Edge takes no new sessions."""
        return self._edges[name].is_draining

    def leave(self, name: str, deadline_s: float | None) -> None:
        """Our operator wants an Edge to be left within a time, also when it is away now; None uses it again.

        Raises KeyError for one that is not known.
        """
        known = self._edges[name]
        known.left_within_s = deadline_s
        # Another deadline is news, too.
        known.was_draining = known.was_draining and deadline_s is None
        self.handle_change(known.end)

    def addresses(self, purpose: str, *, for_new: bool = True) -> tuple[EdgeAddress, ...]:
        """Where visitors reach the Edges that are ready; `for_new` leaves out those that drain."""
        return tuple(
            address
            for known in self._edges.values()
            if known.end.is_ready and not (for_new and known.is_draining)
            for address in known.end.addresses
            if address.purpose == purpose
        )

    def set_keys(self, keys: Iterable[TokenKey], turn_secrets: Iterable[bytes]) -> None:
        """Hand the Core's keys to every Edge, now or when it comes."""
        keys, turn_secrets = tuple(keys), tuple(turn_secrets)
        for known in self._edges.values():
            known.end.set_keys(keys, turn_secrets)

    def revoke(self, sessions: Iterable[Revocation]) -> None:
        """Tell every Edge that sessions have ended."""
        sessions = tuple(sessions)
        for known in self._edges.values():
            known.end.revoke(sessions)

    def handle_change(self, end: CoreEnd) -> None:
        """Compare an Edge with what was known of it, and tell what is new."""
        known = self._edges.get(end.name)
        if known is None or known.end is not end:
            return
        was_ready, was_draining, addresses = known.was_ready, known.was_draining, known.addresses
        known.was_ready, known.was_draining, known.addresses = end.is_ready, known.is_draining, end.addresses
        if end.is_ready and not was_ready:
            _log.info("edge_ready", edge=end.name)
            self._tell(EdgeReady(end.name))
        elif was_ready and not end.is_ready:
            _log.warning("edge_lost", edge=end.name, reason=end.reason)
            self._tell(EdgeLost(end.name, end.reason, self.open_edges()))
        elif end.is_ready and end.addresses != addresses:
            self._tell(EdgeMoved(end.name))
        if not end.is_ready or (was_ready and was_draining == known.is_draining):
            return
        if known.is_draining:
            self._tell(EdgeDraining(end.name, known.deadline_s or 0.0, self.open_edges()))
        elif was_ready:
            self._tell(EdgeReady(end.name))

    def _tell(self, event: EdgeEvent) -> None:
        for listener in tuple(self._listeners):
            try:
                listener(event)
            except Exception:  # noqa: BLE001
                # One listener's mistake must not keep the others from their news.
                _log.exception("edge_event_callback_failed", edge=event.edge)
