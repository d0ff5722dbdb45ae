"""One packet filter of the kernel (nftables) between network namespaces: drops by default, passes what a test opens."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tests.peers.namespace import Namespace
from tests.peers.process import PeerError

TABLE = "inet firewall"
NETLINK_NETFILTER = 12
CTNETLINK_DELETE = 0x0102
NLM_F_REQUEST, NLM_F_ACK = 1, 4

Ports = Sequence[int | str]
"""Numbers, or ranges as `30000-30999`."""


@dataclass(frozen=True, slots=True)
class Openings:
    """What may be begun in one direction."""

    udp: Ports = ()
    tcp: Ports = ()

    def rules(self, head: str) -> list[str]:
        return [
            f"{head} {protocol} dport {{ {', '.join(map(str, ports))} }} counter name passed accept"
            for protocol, ports in (("udp", self.udp), ("tcp", self.tcp))
            if ports
        ]


@dataclass(frozen=True, slots=True)
class StaticNat:
    """One address in front stands for one behind, ports as they are."""

    public: str
    private: str


@dataclass(slots=True)
class Rules:
    """What one firewall lets pass. From `front` to `back` and the other way; answers to what was begun pass."""

    front: Sequence[str]
    """Interfaces towards those who are kept out."""
    back: Sequence[str]
    inwards: Openings = Openings()
    """What may be begun from the front. A change ends what was begun and may no longer be."""
    outwards: Openings = Openings()
    any_outwards: bool = False
    udp_blocked: bool = False
    """No UDP in any direction, whoever began."""
    cut: bool = False
    """Nothing passes, as if the cable were pulled, while both ends still have their interface up."""
    static_nat: tuple[StaticNat, ...] = ()
    hides_back: bool = False
    """Who is behind appears with the firewall's own address and a port chosen at random."""

    def text(self) -> str:
        """As `nft -f` reads it. Chains and counters stay, so that counts go on when rules change."""
        front, back = _names(self.front), _names(self.back)
        inwards = f"iifname {front} oifname {back}"
        outwards = f"iifname {back} oifname {front}"
        forward = [f"{inwards} ct state new counter name asked_inwards"]
        if self.cut:
            forward.append("counter name refused drop")
        if self.udp_blocked:
            forward.append("meta l4proto udp counter name refused drop")
        # In the direction it was begun every packet is looked at, also of what was begun before the rules changed.
        forward += self.inwards.rules(f"{inwards} ct direction original")
        forward.append(f"{inwards} ct direction original ct state != related counter name refused drop")
        forward.append("ct state established,related counter name passed accept")
        forward += self.outwards.rules(outwards)
        if self.any_outwards:
            forward.append(f"{outwards} counter name passed accept")
        forward.append("counter name refused")
        before = [f"iifname {front} ip daddr {nat.public} dnat ip to {nat.private}" for nat in self.static_nat]
        after = [f"oifname {front} ip saddr {nat.private} snat ip to {nat.public}" for nat in self.static_nat]
        if self.hides_back:
            after.append(f"oifname {front} masquerade fully-random")
        chains = {
            "guard": ("filter hook input priority 0; policy drop", ['iifname "lo" accept']),
            "pass": ("filter hook forward priority 0; policy drop", forward),
            "before": ("nat hook prerouting priority -100; policy accept", before),
            "after": ("nat hook postrouting priority 100; policy accept", after),
        }
        lines = [f"table {TABLE} {{ counter passed {{ }}; counter refused {{ }}; counter asked_inwards {{ }}; }}"]
        lines += [f"add chain {TABLE} {name} {{ type {kind}; }}" for name, (kind, _) in chains.items()]
        lines.append(f"flush table {TABLE}")
        lines += [f"add rule {TABLE} {name} {rule}" for name, (_, rules) in chains.items() for rule in rules]
        return "\n".join(lines) + "\n"


@dataclass(slots=True)
class Firewall:
    """A namespace that forwards between its interfaces, by rules."""

    place: Namespace
    rules: Rules
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def apply(self) -> None:
        """Put `rules` into force, all at once. Raises PeerError where the kernel refuses them."""
        async with self._turn:
            await self._nft("-f", "-", given=self.rules.text())

    async def packets(self, counter: str) -> int:
        """How many were `passed`, `refused`, or asked to begin something from the front (`asked_inwards`)."""
        said = json.loads(await self._nft("-j", "list", "counters", "table", *TABLE.split()))
        for item in said["nftables"]:
            if item.get("counter", {}).get("name") == counter:
                return int(item["counter"]["packets"])
        raise PeerError(f"the firewall has no counter {counter}")

    async def listing(self) -> str:
        """The rules that are in force, as the kernel has them."""
        return await self._nft("list", "table", *TABLE.split())

    def forget_connections(self) -> None:
        """As after a restart of the firewall: what goes on is new to it, and one that hides addresses picks new ports."""
        message = struct.pack("=IHHIIBBH", 20, CTNETLINK_DELETE, NLM_F_REQUEST | NLM_F_ACK, 1, 0, 0, 0, 0)
        with self.place.open_socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as netlink:
            netlink.settimeout(10)
            netlink.send(message)
            _, _, _, _, _, error = struct.unpack_from("=IHHIIi", netlink.recv(4096))
        if error:
            raise OSError(-error, os.strerror(-error))

    async def _nft(self, *arguments: str, given: str = "") -> str:
        process = await asyncio.create_subprocess_exec(
            *self.place.exec_prefix,
            "nft",
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate(given.encode())
        if process.returncode != 0:
            raise PeerError(f"nft {' '.join(arguments)}: {err.decode(errors='replace')}\n{given}")
        return out.decode()


def _names(interfaces: Iterable[str]) -> str:
    return "{ " + ", ".join(f'"{name}"' for name in interfaces) + " }"
