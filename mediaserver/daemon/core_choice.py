"""Which of several Cores an Edge brings a visitor to, by what an Edge can see: the source, and the name asked for."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from ipaddress import ip_address, ip_network
from typing import Final

from mediaserver.runtime.sources import unmapped

REMEMBERED_S: Final = 3600.0
"""As long as a visitor who had to go elsewhere is brought there again, after the last time."""
MOST_REMEMBERED: Final = 65_536


@dataclass(frozen=True, slots=True)
class KnownCore:
    """A Core of the configuration."""

    name: str
    weight: int = 1
    """Its share of visitors in relation to others; 0 takes those alone who find no other Core."""
    server_names: frozenset[str] = frozenset()
    """Names that lead to this Core alone."""


class CoreChoice:
    """Weighted, and the same for one source as long as its Core is there: on every Edge, and after a restart of one.

    Each source ranks the Cores by a hash of both (rendezvous hashing), so a Core that goes or comes moves only its own
    share. Who had to go elsewhere is remembered, for there is the call then. A Core that drains takes those alone who find
    no other one, and whoever was brought to it before: its calls open new connections as long as they last. Where that
    is wrong, since people share an address, a Core says so (`forget`, `point`), and the last word counts.
    """

    def __init__(
        self, cores: Iterable[KnownCore], *, clock: Callable[[], float], most_remembered: int = MOST_REMEMBERED
    ) -> None:
        self._cores = tuple(cores)
        self._most = most_remembered
        self._clock = clock
        self._elsewhere: OrderedDict[str, tuple[str, float]] = OrderedDict()
        """By network, the Core and until when; the one used least recently is first."""
        self._brought: OrderedDict[str, tuple[str, float]] = OrderedDict()
        """The same by address, of everybody: a network has new visitors beside those who are in a call."""
        self._pointed: OrderedDict[str, tuple[str, float]] = OrderedDict()
        """The same for those whose session is at another Core than they would be brought to."""

    def choose(
        self, source: str, server_name: str, present: Collection[str], draining: Collection[str] = ()
    ) -> str | None:
        """The name of a Core among those that are there, some of which may drain; None when the visitor has to wait."""
        wanted = next((core for core in self._cores if server_name.lower() in core.server_names), None)
        if wanted is not None:
            return wanted.name if wanted.name in present else None
        address = _address(source)
        pointed, brought = self._recall(self._pointed, address), self._recall(self._brought, address)
        if pointed is not None and pointed in present:
            found: str | None = pointed
            self._remember(self._pointed, address, pointed)
        elif brought in draining and brought in present:
            found = brought
        else:
            found = self._choose_new(_network(address), present, draining)
        if found is not None and len(self._cores) > 1:
            self._remember(self._brought, address, found)
        return found

    def point(self, source: str, core: str) -> None:
        """Somebody from this address has a session at this Core."""
        self._remember(self._pointed, _address(source), core)

    def forget(self, source: str, core: str) -> None:
        """Somebody new came from this address to this Core, which takes nobody new."""
        address = _address(source)
        for table in (self._pointed, self._brought):
            if self._recall(table, address) == core:
                del table[address]

    def _choose_new(self, network: str, present: Collection[str], draining: Collection[str]) -> str | None:
        ranked = sorted(self._cores, key=lambda core: _rank(network, core), reverse=True)
        there = [core.name for core in ranked if core.name in present]
        takers = [name for name in there if name not in draining] or there
        if not takers:
            return None
        remembered = self._recall(self._elsewhere, network)
        found = remembered if remembered in takers else takers[0]
        if found == ranked[0].name:
            self._elsewhere.pop(network, None)
        else:
            self._remember(self._elsewhere, network, found)
        return found

    def _recall(self, table: Mapping[str, tuple[str, float]], who: str) -> str | None:
        name, until = table.get(who, ("", 0.0))
        return name if until > self._clock() else None

    def _remember(self, table: OrderedDict[str, tuple[str, float]], who: str, name: str) -> None:
        table[who] = (name, self._clock() + REMEMBERED_S)
        table.move_to_end(who)
        if len(table) > self._most:
            table.popitem(last=False)


def _address(source: str) -> str:
    """As a Core writes it."""
    try:
        return str(unmapped(ip_address(source.partition("%")[0])))
    except ValueError:
        return source


def _network(address: str) -> str:
    """A provider's visitors change their addresses within a network, from one connection to the next."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    return str(ip_network((found, 24 if found.version == 4 else 56), strict=False))


def _rank(network: str, core: KnownCore) -> float:
    digest = blake2b(f"{network} {core.name}".encode(), digest_size=8).digest()
    # Between 0 and 1, both excluded: with it, the highest of weight / -ln(x) is each Core's in proportion to its weight.
    even = (int.from_bytes(digest) + 0.5) / 2**64
    return core.weight / -math.log(even) if core.weight else even - 1.0
