"""Relayed G.711 calls: cost of a packet beside rtpengine, and how many calls go before the first packet is lost."""

from __future__ import annotations

import asyncio
import os
import secrets
import tempfile
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_network
from pathlib import Path
from typing import Final, Protocol

from benchmarks import rtp_generator
from benchmarks.figures import Figure, Report, median
from benchmarks.processes import cores_awake, cpu_ns
from benchmarks.rtp_generator import Sent, Streams, media_socket
from benchmarks.rtpengine import RtpEngine, missing, rtpengine
from benchmarks.sfu_face import pin
from benchmarks.sip_calls import TRUNK, announcements_loaded
from mediaserver.sdp.parser import parse
from mediaserver.sip.config import Bind, SipConfig, SipLimits, TrunkRule
from mediaserver.sip.credentials import StoredCredential
from mediaserver.sip.events import Answered, Rejected
from mediaserver.sip.flow import Target
from mediaserver.sip.headers import NameAddr
from mediaserver.sip.uri import SipUri
from mediaserver.sip.user_agent import IncomingInvite, UserAgent
from tests.peers.daemon import daemon
from tests.peers.process import PeerError

CALLER, CALLEE = "127.0.0.1", "127.0.0.2"
CASES: Final = {"rtp_to_rtp": 0.4, "rtp_to_sdes": 1 / 3}
"""What our share of rtpengine's cost may be. Packets go from the caller to the callee."""
_SUITE: Final = "AES_CM_128_HMAC_SHA1_80"
GENERATOR_CPU: Final = 1


@dataclass(frozen=True, slots=True)
class Shape:
    calls: int = 200
    measure_s: float = 4.0
    rounds: int = 3
    first: int = 250
    most: int = 3000
    search_s: float = 3.0


def description(ip: str, port: int, *, crypto: str = "") -> str:
    """G.711 at a socket; with `crypto` the line of a key."""
    protocol = "RTP/SAVP" if crypto else "RTP/AVP"
    lines = [f"v=0\r\no=bench 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} {protocol} 8"]
    return "\r\n".join([*lines, "a=rtpmap:8 PCMA/8000", *([crypto] if crypto else []), "a=ptime:20", "a=sendrecv", ""])


def crypto_line(tag: int = 1) -> str:
    """A fresh key."""
    return f"a=crypto:{tag} {_SUITE} inline:{b64encode(secrets.token_bytes(30)).decode()}"


def _media(text: str | bytes) -> tuple[str, int]:
    section = parse(text).media[0]
    return section.connection or CALLER, section.port


def _callee_answer(offer: str | bytes, port: int) -> str:
    """The callee's answer to a description of the relay's: plain, or with a key of ours for its first known one."""
    cryptos = [crypto for crypto in parse(offer).media[0].cryptos if crypto.suite == _SUITE]
    return description(CALLEE, port, crypto=crypto_line(cryptos[0].tag) if cryptos else "")


class Relay(Protocol):
    """A server that relays calls between two sockets."""

    pid: int
    sequence: int
    """Number of the next packet of every stream; a jump would be another stream."""

    async def add(self, calls: int) -> None:
        """So many calls more."""

    @property
    def sides(self) -> list[Streams]:
        """Caller's and callee's socket, and where the relay takes the packets of each call."""
        ...


class _Sides:
    def __init__(self) -> None:
        self.pid = self.sequence = 0
        self.sides = [Streams(media_socket(ip), []) for ip in (CALLER, CALLEE)]

    @property
    def ports(self) -> tuple[int, int]:
        caller, callee = (side.sock.getsockname()[1] for side in self.sides)
        return caller, callee

    def close(self) -> None:
        for side in self.sides:
            side.sock.close()


class _Nobody:
    def lookup(self, username: str, realm: str) -> StoredCredential | None:
        """Nobody registers here."""


class OwnRelay(_Sides):
    """The daemon, which the project's own user agent calls and is called by."""

    def __init__(self, caller: UserAgent, route: Target) -> None:
        super().__init__()
        self._caller, self._route = caller, route
        self._sessions: list[object] = []

    async def add(self, calls: int) -> None:
        """See `Relay`; so many at a time as need no queue."""
        for begun in range(0, calls, 10):
            await asyncio.gather(*(self._call() for _ in range(min(10, calls - begun))))

    async def _call(self) -> None:
        target = SipUri(host=self._route.host, port=self._route.port, user="relay")
        body = description(CALLER, self.ports[0]).encode()
        session = await self._caller.invite(
            target, from_=NameAddr(SipUri(host=CALLER, user="bench")), body=body, route_to=self._route
        )
        async for event in session.events():
            if isinstance(event, Answered):
                self.sides[0].relays.append(_media(event.body or b""))
                self._sessions.append(session)
                return
            if isinstance(event, Rejected):
                raise PeerError(f"a call was refused with {event.code}")

    async def take(self, incoming: IncomingInvite) -> None:
        """Answers a call of the daemon's."""
        offer = incoming.body or b""
        self.sides[1].relays.append(_media(offer))
        incoming.session.answer(_callee_answer(offer, self.ports[1]).encode())


@asynccontextmanager
async def own_relay(directory: Path, case: str) -> AsyncIterator[OwnRelay]:
    """The daemon between two trunks."""
    agents = [UserAgent(config=_agent(ip), users=_Nobody()) for ip in (CALLER, CALLEE)]
    async with AsyncExitStack() as stack:
        for agent in agents:
            await agent.start()
            stack.push_async_callback(agent.stop, 3.0)
        (_, _, port), *_ = agents[1].listening
        changes = {
            "trunks": {
                "caller": {"peers": [CALLER], "target": f"sip:{CALLER}:9", **TRUNK},
                "callee": {
                    "peers": [CALLEE],
                    "target": f"sip:{CALLEE}:{port}",
                    "transport": "udp",
                    **TRUNK,
                    "srtp": "require" if case == "rtp_to_sdes" else "never",
                },
            },
            "routes": [{"match": {"trunk": "caller"}, "to": {"trunk": "callee"}}],
            "limits": {"calls": 5000, "contacts": 5000, "contacts_per_source": 5000, "sip_transactions": 100_000},
            # One side is silent for minutes while servers take turns, which would end the calls.
            "media": {"sip_ports": "18000-32000", "rtp_timeout": "10min"},
            "log": {"level": "warning"},
        }
        server = await stack.enter_async_context(daemon(directory, changes=changes))
        await announcements_loaded(server)
        relay = OwnRelay(agents[0], Target("udp", server.host, server.ports.sip))
        stack.callback(relay.close)
        agents[1].on_invite = relay.take
        relay.pid = server.pid
        yield relay


def _agent(ip: str) -> SipConfig:
    return SipConfig(
        binds=(Bind("udp", ip, 0),),
        domains=frozenset(),
        realm="bench",
        trunks=(TrunkRule("daemon", (ip_network("127.0.0.0/8"),)),),
        limits=SipLimits(sessions=10_000),
    )


class ForeignRelay(_Sides):
    """rtpengine."""

    def __init__(self, engine: RtpEngine, case: str) -> None:
        super().__init__()
        self._engine = engine
        self.pid = engine.pid
        self._protocol = "RTP/SAVP" if case == "rtp_to_sdes" else "RTP/AVP"

    async def add(self, calls: int) -> None:
        """See `Relay`."""
        for _ in range(calls):
            caller, callee = self.ports
            number = len(self.sides[0].relays)
            to_callee, to_caller = await self._engine.relay(
                number,
                description(CALLER, caller),
                partial(_callee_answer, port=callee),
                protocol=self._protocol,
            )
            self.sides[1].relays.append(_media(to_callee))
            self.sides[0].relays.append(_media(to_caller))


@asynccontextmanager
async def foreign_relay(directory: Path, case: str) -> AsyncIterator[ForeignRelay]:
    """rtpengine, with the same sockets at its ends."""
    async with rtpengine(directory) as engine:
        relay = ForeignRelay(engine, case)
        try:
            yield relay
        finally:
            relay.close()


async def _generate(relay: Relay, seconds: float, *, both_ways: bool) -> Sent:
    caller, callee = relay.sides
    sides = [caller, callee if both_ways else Streams(callee.sock, [])]
    sent = await asyncio.to_thread(_on_its_core, sides, seconds, relay.sequence)
    relay.sequence += sent.ticks
    return sent


def _on_its_core(sides: list[Streams], seconds: float, sequence: int) -> Sent:
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {GENERATOR_CPU % (os.cpu_count() or 1)})  # of this thread alone
    try:
        return rtp_generator.run(sides, seconds, sequence)
    finally:
        os.sched_setaffinity(0, allowed)


async def _cost_us(relay: Relay, shape: Shape) -> tuple[float, Sent]:
    """CPU time of the whole process per packet that arrived at the callee."""
    before = cpu_ns(relay.pid)
    sent = await _generate(relay, shape.measure_s, both_ways=False)
    return (cpu_ns(relay.pid) - before) / max(1, sent.received) / 1e3, sent


async def measure(report: Report, shape: Shape | None = None) -> None:
    """Add the cost of a relayed packet beside rtpengine, and the calls that ours relays before the first loss.

    Servers are kept on CPU 0, the generator's thread on CPU 1.
    """
    shape = shape or Shape()
    if reason := missing():
        report.details["sip_relay_missing"] = {"rtpengine": reason}
        print(f"# without rtpengine: {reason}")
    with cores_awake():
        for case in CASES:
            await _compare(report, shape, case)
        await _first_loss(report, shape)


async def _compare(report: Report, shape: Shape, case: str) -> None:
    async with AsyncExitStack() as stack:
        relays: dict[str, Relay] = {}
        for name, start in {"mediaserver": own_relay, "rtpengine": foreign_relay}.items():
            if name == "rtpengine" and missing():
                continue
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="relay-")))
            relay = await stack.enter_async_context(start(directory, case))
            pin(relay.pid)
            await relay.add(shape.calls)
            relays[name] = relay
        costs: dict[str, list[float]] = {name: [] for name in relays}
        worst = dict.fromkeys(relays, 0.0)
        for number in range(shape.rounds + 1):
            for name, relay in relays.items():
                cost, sent = await _cost_us(relay, shape)
                if number:  # the first packets of a call set it up
                    costs[name].append(cost)
                    worst[name] = max(worst[name], sent.lost)
    for name, samples in costs.items():
        note = f"{shape.calls} calls one way, {worst[name]:.3%} lost at worst"
        report.add(median(f"relay_us_per_packet_{case}_{name}", samples, "us", note=note))
    if "rtpengine" in costs:
        ratios = [ours / theirs for ours, theirs in zip(costs["mediaserver"], costs["rtpengine"], strict=True)]
        report.add(median(f"relay_ratio_to_rtpengine_{case}", ratios, "", bound=CASES[case]))


async def _first_loss(report: Report, shape: Shape) -> None:
    """Both ways, a quarter more calls each time until a packet in a thousand is lost or the generator is late."""
    best, busy, why = 0, 0.0, "the end of the scale"
    with tempfile.TemporaryDirectory(prefix="relay-") as name:
        async with own_relay(Path(name), "rtp_to_rtp") as relay:
            pin(relay.pid)
            wanted = shape.first
            while wanted <= shape.most:
                await relay.add(wanted - len(relay.sides[0].relays))
                await _generate(relay, 0.5, both_ways=True)
                sent = await _generate(relay, shape.search_s, both_ways=True)
                if sent.late or sent.lost > 0.001:
                    why = f"{'the generator' if sent.late else f'{sent.lost:.2%} lost'} at {wanted} calls"
                    break
                best, busy, wanted = wanted, sent.busy, wanted * 5 // 4
    note = f"stopped by {why}; the generator took {busy:.0%} of its core at the figure"
    report.add(Figure("relayed_calls_before_loss", best, "calls", note=note))
