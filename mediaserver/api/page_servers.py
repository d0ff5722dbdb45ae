"""Where else pages reach this server: names of single Edges, beside the one that stands for all, and beneath which path."""

from __future__ import annotations

from collections.abc import Callable, Sequence


class PageServers:
    """`known` are all origins that the configuration has, `current` base URLs that lead here now."""

    def __init__(self, known: Sequence[str] = (), *, own: str | None = None, prefix: str = "") -> None:
        """`own` is the origin that visitors open pages by; the pages are beneath `prefix` everywhere."""
        self.known = tuple(known)
        self.own = own
        self.prefix = prefix
        self.current: tuple[str, ...] = ()
        self._listeners: list[Callable[[tuple[str, ...]], None]] = []
        self.on_leave: Callable[[int], None] | None = None
        """Told of a link that pages shall leave, by its id."""

    @property
    def known_bases(self) -> tuple[str, ...]:
        """`known` as base URLs."""
        return tuple(f"{origin}{self.prefix}" for origin in self.known)

    @property
    def origins(self) -> tuple[str, ...]:
        """Origins of pages that are served from here, by whatever name."""
        return self.known if self.own is None else (self.own, *self.known)

    def listen(self, callback: Callable[[tuple[str, ...]], None]) -> None:
        """Call `callback` whenever others lead here than before."""
        self._listeners.append(callback)

    def set(self, current: Sequence[str]) -> None:
        """These origins lead here from now on."""
        fresh = tuple(f"{origin}{self.prefix}" for origin in current)
        if fresh == self.current:
            return
        self.current = fresh
        for listener in self._listeners:
            listener(fresh)

    def leave(self, link: int) -> None:
        """The Edge at the other end of a link is left; where pages know no other name, they stay until it is gone."""
        if self.current and self.on_leave is not None:
            self.on_leave(link)
