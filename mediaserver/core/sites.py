"""Where a party is and which lines its media run over: sites by address, trunk or user, and ways between them."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address
from itertools import pairwise
from typing import Literal, NamedTuple

from mediaserver.config.bandwidth import MediaKind, Rates
from mediaserver.config.sites import Site

_NONE = Rates()


class Hop(NamedTuple):
    """Something with a budget of its own on the way of a leg's media; a key of many tables."""

    sort: Literal["site", "link", "trunk", "room", "participant", "edges"]
    name: str
    """A link's is `one/other`, in the order of the alphabet."""

    def __str__(self) -> str:
        return f"{self.sort} {self.name}"


def link_between(one: str, other: str) -> Hop:
    """The link of two sites, whichever is named first."""
    return Hop("link", "/".join(sorted((one, other))))


class SiteMap:
    """The sites of one configuration, ready to be asked. It never changes; a reload makes another."""

    def __init__(self, sites: Mapping[str, Site]) -> None:
        self._sites = sites
        self._by_trunk = {trunk: name for name, site in sites.items() for trunk in site.trunks}
        self._by_user = {user: name for name, site in sites.items() for user in site.users}
        self._prefixes = _prefixes(sites)
        self._has_prefixes = any(self._prefixes.values())
        self._links: dict[str, dict[str, int]] = {name: {} for name in sites}
        self._budgets: dict[Hop, tuple[Rates, Rates]] = {}
        self._keys: dict[Hop, str] = {}
        for name, site in sites.items():
            self._budgets[Hop("site", name)] = (site.budget, site.per_call)
            self._keys[Hop("site", name)] = f"sites.{name}"
            for other, link in site.links.items():
                self._links[name][other] = link.cost
                self._links.setdefault(other, {})[name] = link.cost
                self._budgets[link_between(name, other)] = (link.budget, link.per_call)
                self._keys[link_between(name, other)] = f"sites.{name}.links.{other}"
        self.here = next((name for name, site in sites.items() if site.here), None)
        self._routes: dict[tuple[str, str], tuple[Hop, ...] | None] = {}

    @property
    def hops(self) -> tuple[Hop, ...]:
        """Every site and link."""
        return tuple(self._budgets)

    def key(self, hop: Hop) -> str:
        """Where a site or link stands in the configuration; its own name where it no longer does."""
        return self._keys.get(hop, str(hop))

    def site_of(self, *, address: str = "", trunk: str | None = None, user: str | None = None) -> str | None:
        """The site of a party: by its trunk, else by the longest prefix of its address, else by its user name."""
        if trunk is not None and trunk in self._by_trunk:
            return self._by_trunk[trunk]
        found = self._by_address(address) if address else None
        if found is not None:
            return found
        return self._by_user.get(user) if user is not None else None

    def budget(self, hop: Hop, kind: MediaKind) -> int | None:
        """Bits per second that all legs share; None without a bound, and for a hop that is not in the map."""
        return self._budgets.get(hop, (_NONE, _NONE))[0].of(kind)

    def per_call(self, hop: Hop, kind: MediaKind) -> int | None:
        """Bits per second that one leg may have; None without a bound."""
        return self._budgets.get(hop, (_NONE, _NONE))[1].of(kind)

    def way(self, site: str | None, peer: str | None = None) -> tuple[Hop, ...]:
        """What the media of a leg at `site` pass, in order, each once; `peer` is the site of the leg that came before.

        With a site that is here, that is the leg's access, the links to here, and our access. Without one, it is the
        leg's access and the links to `peer`, so that the two legs of a call together are charged the way between them.
        """
        if self.here is not None:
            if site == self.here:
                return ()
            ends = ((Hop("site", site),) if site is not None else ()), (Hop("site", self.here),)
            links = self.route(site, self.here) or () if site is not None else ()
            return (*ends[0], *links, *ends[1])
        if site is None:
            return ()
        links = self.route(site, peer) or () if peer is not None else ()
        return (Hop("site", site), *links)

    def route(self, start: str, end: str) -> tuple[Hop, ...] | None:
        """The links of the cheapest way between two sites; None where no links lead there."""
        key = (start, end)
        if key not in self._routes:
            self._routes[key] = self._search(start, end)
        return self._routes[key]

    def _search(self, start: str, end: str) -> tuple[Hop, ...] | None:
        # Dijkstra's algorithm; among equal costs the fewest links, then the first names, so that a way never flips.
        waiting: list[tuple[int, int, tuple[str, ...]]] = [(0, 0, (start,))]
        done: set[str] = set()
        while waiting:
            cost, links, path = heapq.heappop(waiting)
            place = path[-1]
            if place == end:
                return tuple(link_between(one, other) for one, other in pairwise(path))
            if place in done:
                continue
            done.add(place)
            for other, more in self._links.get(place, {}).items():
                if other not in done:
                    heapq.heappush(waiting, (cost + more, links + 1, (*path, other)))
        return None

    def _by_address(self, text: str) -> str | None:
        if not self._has_prefixes:
            return None
        try:
            address = ip_address(text)
        except ValueError:
            return None
        if address.version == 6 and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        number = int(address)
        for length, networks in self._prefixes.get(address.version, ()):
            found = networks.get(number >> (address.max_prefixlen - length))
            if found is not None:
                return found
        return None


def _prefixes(sites: Mapping[str, Site]) -> dict[int, tuple[tuple[int, dict[int, str]], ...]]:
    """By IP version: prefix lengths from long to short, each with its networks as numbers."""
    tables: dict[int, dict[int, dict[int, str]]] = {4: {}, 6: {}}
    for name, site in sites.items():
        for network in site.cidrs:
            tables[network.version].setdefault(network.prefixlen, {})[_number(network)] = name
    return {version: tuple(sorted(table.items(), reverse=True)) for version, table in tables.items()}


def _number(network: IPv4Network | IPv6Network) -> int:
    return int(network.network_address) >> (network.max_prefixlen - network.prefixlen)
