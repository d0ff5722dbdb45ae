"""Which of several Cores an Edge brings a visitor to, by what an Edge can see: the source, and the name asked for."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
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
    share. Who had to go elsewhere is remembered, for there is the call then.
    """

    def __init__(
        self, cores: Iterable[KnownCore], *, clock: Callable[[], float], most_remembered: int = MOST_REMEMBERED
    ) -> None:
        self._cores = tuple(cores)
        self._most = most_remembered
        self._clock = clock
        self._elsewhere: OrderedDict[str, tuple[str, float]] = OrderedDict()
        """By network, the Core and until when; the one used least recently is first."""

    def choose(self, source: str, server_name: str, present: Collection[str]) -> str | None:
        """The name of a Core among those that are there; None when the visitor has to wait."""
        wanted = next((core for core in self._cores if server_name.lower() in core.server_names), None)
        if wanted is not None:
            return wanted.name if wanted.name in present else None
        network = _network(source)
        ranked = sorted(self._cores, key=lambda core: _rank(network, core), reverse=True)
        found = next((core.name for core in ranked if core.name in present), None)
        if found is None:
            return None
        remembered = self._recall(network)
        if remembered is not None and remembered in present:
            found = remembered
        if found == ranked[0].name:
            self._elsewhere.pop(network, None)
        else:
            self._remember(network, found)
        return found

    def _recall(self, network: str) -> str | None:
        name, until = self._elsewhere.get(network, ("", 0.0))
        return name if until > self._clock() else None

    def _remember(self, network: str, name: str) -> None:
        self._elsewhere[network] = (name, self._clock() + REMEMBERED_S)
        self._elsewhere.move_to_end(network)
        if len(self._elsewhere) > self._most:
            self._elsewhere.popitem(last=False)


def _network(source: str) -> str:
    """A provider's visitors change their addresses within a network, from one connection to the next."""
    try:
        address = unmapped(ip_address(source.partition("%")[0]))
    except ValueError:
        return source
    return str(ip_network((address, 24 if address.version == 4 else 56), strict=False))


def _rank(network: str, core: KnownCore) -> float:
    digest = blake2b(f"{network} {core.name}".encode(), digest_size=8).digest()
    # Between 0 and 1, both excluded: with it, the highest of weight / -ln(x) is each Core's in proportion to its weight.
    even = (int.from_bytes(digest) + 0.5) / 2**64
    return core.weight / -math.log(even) if core.weight else even - 1.0
