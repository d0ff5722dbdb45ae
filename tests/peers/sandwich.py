"""A demilitarised zone between two real firewalls: `internet | outer | one or two Edges | inner | inside`.

Every place is a network namespace; the firewalls forward by rules of the kernel (nftables) and drop by default. The inner
one lets nobody begin anything inwards. Making it needs root.
"""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.peers.firewall import Firewall, Openings, Rules, StaticNat
from tests.peers.namespace import Namespace, ip

VISITOR = "203.0.113.10"
CORE = "10.3.0.10"
HOSTS = Path("/etc/netns")
"""`ip netns exec` puts the files of a namespace's folder here over those of /etc (ip-netns(8))."""

USUAL = Openings(udp=(443, 3478), tcp=(443, 3478, 5349))
"""What the outer firewall opens where a test does not say otherwise."""


class EdgePlace(Namespace):
    """A machine in the zone, with one interface towards each firewall. It forwards nothing."""

    def __init__(self, name: str, number: int, *, static_nat: bool) -> None:
        network = f"10.1.{number}" if static_nat else f"198.51.100.{number * 4}".rpartition(".")[0]
        offset = 0 if static_nat else number * 4
        super().__init__(name, f"{network}.{offset + 2}", None)
        self.outer_gateway = f"{network}.{offset + 1}"
        self.public = f"198.51.100.{200 + number}" if static_nat else self.address
        """Where visitors reach it; `address` is its own towards the outer firewall."""
        self.inner = f"10.2.{number}.2"
        """Its address towards the inner firewall: where the Core reaches it."""
        self.inner_gateway = f"10.2.{number}.1"

    async def down(self) -> None:
        """Take both interfaces down, as if both cables were pulled out of the machine."""
        for interface in ("outer", "inner"):
            await ip("-n", self.name, "link", "set", interface, "down")

    async def up(self) -> None:
        """Put both back, with the routes that the kernel took with them."""
        for interface in ("outer", "inner"):
            await ip("-n", self.name, "link", "set", interface, "up")
        await ip("-n", self.name, "route", "replace", "default", "via", self.outer_gateway)
        await ip("-n", self.name, "route", "replace", "10.3.0.0/24", "via", self.inner_gateway)


@dataclass(frozen=True, slots=True)
class Sandwich:
    """The places, from the outside in. A program runs in one with its `exec_prefix`."""

    internet: Namespace
    outer: Firewall
    edges: Sequence[EdgePlace]
    inner: Firewall
    inside: Namespace

    def wires(self) -> list[tuple[Namespace, str]]:
        """Every wire once, as a place and the interface there that is its end."""
        edges: list[tuple[Namespace, str]] = [(edge, end) for edge in self.edges for end in ("outer", "inner")]
        return [(self.internet, "wan"), *edges, (self.inside, "lan")]

    async def admit_visitors(self, openings: Openings) -> None:
        """Change what the outer firewall lets in from now on."""
        self.outer.rules.inwards = openings
        await self.outer.apply()

    async def block_inner_udp(self, blocked: bool = True) -> None:
        """Whether UDP between inside and zone is dropped, in both directions."""
        self.inner.rules.udp_blocked = blocked
        await self.inner.apply()

    async def cut(self) -> None:
        """Nothing passes between inside and zone any more, and nobody is told."""
        self.inner.rules.cut = True
        await self.inner.apply()

    async def restore(self) -> None:
        """End `cut`; the inner firewall still knows its connections."""
        self.inner.rules.cut = False
        await self.inner.apply()


@contextlib.asynccontextmanager
async def sandwich(
    *,
    edges: int = 1,
    static_nat: bool = False,
    inner_nat: bool = False,
    admitted: Openings = USUAL,
    edges_may_call_out: bool = False,
    names: Mapping[str, str] | None = None,
) -> AsyncIterator[Sandwich]:
    """Make it, and destroy it with everything in it.

    With `static_nat` the Edges have private addresses, and public ones on the outer firewall alone; with `inner_nat` the
    Core appears in the zone under the inner firewall's address. `names` are host names that resolve to an address in every
    place; others are asked of a name server on 127.0.0.1 of each place, and where none is there is no such name.
    """
    mark = f"sw{os.getpid() % 100000}x{random.randrange(1 << 14)}"
    places = [EdgePlace(f"{mark}-edge{number}", number, static_nat=static_nat) for number in range(edges)]
    internet, inside = Namespace(f"{mark}-internet", VISITOR, None), Namespace(f"{mark}-inside", CORE, None)
    front, back = Namespace(f"{mark}-outer", "203.0.113.1", None), Namespace(f"{mark}-inner", "10.3.0.1", None)
    zone = [f"dmz{number}" for number in range(edges)]
    outer = Firewall(
        front,
        Rules(
            front=["wan"],
            back=zone,
            inwards=admitted,
            any_outwards=edges_may_call_out,
            static_nat=tuple(StaticNat(edge.public, edge.address) for edge in places if static_nat),
        ),
    )
    inner = Firewall(back, Rules(front=zone, back=["lan"], any_outwards=True, hides_back=inner_nat))
    everywhere: list[Namespace] = [internet, front, *places, back, inside]
    async with contextlib.AsyncExitStack() as stack:
        for place in everywhere:
            await _make(place, stack, names or {})
        for firewall in (outer, inner):
            await firewall.apply()
            # Only now: nothing passes a firewall that has no rules yet.
            await _forward(firewall.place)
        await _wire(internet, "wan", f"{VISITOR}/24", front, "wan", "203.0.113.1/24")
        await ip("-n", internet.name, "route", "add", "default", "via", "203.0.113.1")
        await _wire(inside, "lan", f"{CORE}/24", back, "lan", "10.3.0.1/24")
        await ip("-n", inside.name, "route", "add", "default", "via", "10.3.0.1")
        for number, edge in enumerate(places):
            await _wire(edge, "outer", f"{edge.address}/30", front, f"dmz{number}", f"{edge.outer_gateway}/30")
            await _wire(edge, "inner", f"{edge.inner}/30", back, f"dmz{number}", f"{edge.inner_gateway}/30")
            await edge.up()
        yield Sandwich(internet, outer, places, inner, inside)


async def _make(place: Namespace, stack: contextlib.AsyncExitStack, names: Mapping[str, str]) -> None:
    await ip("netns", "add", place.name)
    stack.push_async_callback(ip, "netns", "del", place.name)
    await ip("-n", place.name, "link", "set", "lo", "up")
    # A new namespace may take the host's word for these; no place forwards unless it is a firewall.
    await _set(place, "ip_forward", "0")
    # Who comes back says so at once; without that its neighbours may look for it for another second.
    await _set(place, "conf/default/arp_notify", "1")
    if names:
        folder = HOSTS / place.name
        folder.mkdir(parents=True)
        stack.callback(_forget_names, folder)
        lines = ["127.0.0.1 localhost", *(f"{address} {name}" for name, address in names.items())]
        (folder / "hosts").write_text("\n".join(lines) + "\n")
        # Not the machine's own, which is not to be reached: browsers would wait for it whenever they ask for both families.
        (folder / "resolv.conf").write_text("nameserver 127.0.0.1\n")


def _forget_names(folder: Path) -> None:
    for file in ("hosts", "resolv.conf"):
        (folder / file).unlink(missing_ok=True)
    folder.rmdir()
    with contextlib.suppress(OSError):  # other namespaces may have names too
        HOSTS.rmdir()


async def _forward(place: Namespace) -> None:
    await _set(place, "ip_forward", "1")
    for interface in ("all", "default"):
        await _set(place, f"conf/{interface}/rp_filter", "0")


async def _set(place: Namespace, key: str, value: str) -> None:
    # A socket's thread cannot do this: the file shows the network of whoever opens it.
    await ip("netns", "exec", place.name, "sh", "-c", f"echo {value} > /proc/sys/net/ipv4/{key}")


async def _wire(near: Namespace, one: str, address: str, far: Namespace, other: str, gateway: str) -> None:
    await ip("-n", near.name, "link", "add", one, "type", "veth", "peer", "name", other, "netns", far.name)
    for place, interface, own in ((near, one, address), (far, other, gateway)):
        await ip("-n", place.name, "addr", "add", own, "dev", interface)
        await ip("-n", place.name, "link", "set", interface, "up")
