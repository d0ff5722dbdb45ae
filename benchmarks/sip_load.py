"""Calls over UDP, TCP or TLS at a steady rate: what SIPp does, for transports that a given SIPp was built without.

    python -m benchmarks.sip_load sip:service@127.0.0.1:5061 --transport tls --ca certificate.pem --calls 500 --rate 50

Prints `name: value unit` lines; exit code 1 when a call failed.
"""

from __future__ import annotations

import argparse
import asyncio
import ssl
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from mediaserver.errors import MediaServerError
from mediaserver.sip.config import Bind, SipConfig
from mediaserver.sip.credentials import StoredCredential
from mediaserver.sip.events import Answered, Ended, Rejected
from mediaserver.sip.flow import DEFAULT_PORTS, Target, Transport
from mediaserver.sip.headers import NameAddr
from mediaserver.sip.session import InviteSession
from mediaserver.sip.uri import SipUri, parse_sip_uri
from mediaserver.sip.user_agent import UserAgent

_OFFER = (
    "v=0\r\no=load 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n"
    "m=audio {port} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=sendrecv\r\n"
)
_MEDIA_PORT = 9  # discard: nobody listens to the sound of these calls


@dataclass(slots=True)
class LoadResult:
    """What became of the calls; `setup_s` holds the seconds from INVITE to 200 of each that was answered."""

    answered: int = 0
    completed: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    setup_s: list[float] = field(default_factory=list)

    def lines(self) -> list[str]:
        """The figures as `name: value unit`."""
        ordered = sorted(self.setup_s)
        lines = [f"sip_load_completed: {self.completed} calls", f"sip_load_failed: {self.failures.total()} calls"]
        if ordered:
            lines.append(f"sip_load_setup_median: {ordered[len(ordered) // 2] * 1000:.1f} ms")
            lines.append(f"sip_load_setup_p99: {ordered[int(len(ordered) * 0.99)] * 1000:.1f} ms")
        return lines + [f"sip_load_failed_{reason}: {count} calls" for reason, count in self.failures.items()]


class _Nobody:
    """No user registers at a load generator."""

    def lookup(self, username: str, realm: str) -> StoredCredential | None:
        """Nobody."""


async def place_calls(
    target: SipUri,
    *,
    transport: Transport,
    arrivals: Sequence[float],
    hold_s: float,
    tls: ssl.SSLContext | None = None,
    local_ip: str = "127.0.0.1",
    progress: bool = False,
    result: LoadResult | None = None,
) -> LoadResult:
    """Places a call at each of `arrivals`, in seconds from now; each is held for `hold_s` seconds. Waits until all are over.

    `result` is filled while the calls go on, for whoever watches.
    """
    agent = UserAgent(
        config=SipConfig(binds=(Bind("udp", local_ip, 0),), domains=frozenset(), realm="load"),
        users=_Nobody(),
        tls_client=tls,
    )
    await agent.start()
    result = result or LoadResult()
    route = Target(transport, target.host, target.port or DEFAULT_PORTS[transport])
    loop = asyncio.get_running_loop()
    began = loop.time()
    running: set[asyncio.Task[None]] = set()
    try:
        for number, at in enumerate(arrivals):
            await asyncio.sleep(max(0.0, began + at - loop.time()))
            task = asyncio.ensure_future(_call(agent, target, route, hold_s, local_ip, result))
            running.add(task)
            task.add_done_callback(running.discard)
            if progress and number % 10 == 0:
                print(
                    f"\r{number} of {len(arrivals)} begun, {result.completed} over", end="", file=sys.stderr, flush=True
                )
        if running:
            await asyncio.wait(running)
    finally:
        if progress:
            print(file=sys.stderr)
        await agent.stop(2.0)
    return result


def steady(calls: int, rate: float) -> list[float]:
    """Arrivals at a steady rate per second."""
    return [number / rate for number in range(calls)]


async def _call(
    agent: UserAgent, target: SipUri, route: Target, hold_s: float, local_ip: str, result: LoadResult
) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    offer = _OFFER.format(ip=local_ip, port=_MEDIA_PORT).encode()
    try:
        session = await agent.invite(
            target, from_=NameAddr(SipUri(host=local_ip, user="load")), body=offer, route_to=route
        )
    except MediaServerError as error:
        result.failures[type(error).__name__] += 1
        return
    hang_up: asyncio.TimerHandle | None = None
    async for event in session.events():
        match event:
            case Answered():
                result.answered += 1
                result.setup_s.append(loop.time() - began)
                hang_up = loop.call_later(hold_s, _hang_up, session)
            case Rejected(code=code):
                result.failures[str(code)] += 1
            case Ended(by=by):
                if by == "local":
                    result.completed += 1
                else:
                    result.failures[f"ended_by_{by}"] += 1
            case _:
                continue
    if hang_up is not None:
        hang_up.cancel()


def _hang_up(session: InviteSession) -> None:
    session.hangup()


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", help="SIP URI to call, with host and port of the daemon")
    parser.add_argument("--transport", choices=get_args(Transport), default="udp")
    parser.add_argument("--ca", type=Path, help="PEM file with the authority that signed the daemon's certificate")
    parser.add_argument("--calls", type=int, default=100)
    parser.add_argument("--rate", type=float, default=10.0, help="calls per second")
    parser.add_argument("--hold", type=float, default=1.0, help="seconds from answer to BYE")
    options = parser.parse_args()
    result = asyncio.run(
        place_calls(
            parse_sip_uri(options.target),
            transport=options.transport,
            arrivals=steady(options.calls, options.rate),
            hold_s=options.hold,
            tls=ssl.create_default_context(cafile=options.ca) if options.transport == "tls" else None,
            progress=sys.stderr.isatty(),
        )
    )
    print("\n".join(result.lines()))
    return 0 if result.completed == options.calls else 1


if __name__ == "__main__":
    sys.exit(main())
