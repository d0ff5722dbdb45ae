"""Two user agents on loopback, and what they share."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest
import trustme

from mediaserver.sip.capture import Capture
from mediaserver.sip.config import Bind, SipConfig, Timers, TrunkRule
from mediaserver.sip.counters import COUNTERS
from mediaserver.sip.credentials import StoredCredential
from mediaserver.sip.digest import ha1
from mediaserver.sip.events import SessionEvent
from mediaserver.sip.flow import Target, Transport
from mediaserver.sip.headers import NameAddr
from mediaserver.sip.session import InviteSession
from mediaserver.sip.uri import SipUri
from mediaserver.sip.user_agent import IncomingInvite, UserAgent

REALM = "example.org"
LOOPBACK_TRUNK = TrunkRule("loopback", (ipaddress.ip_network("127.0.0.0/8"),))
AGENT, KEY = 77, "open sesame"
"""What captures here say of themselves."""
PASSWORDS = {"alice": "wonderland", "bob": "builder"}


class Users:
    """Users with a password each."""

    def lookup(self, username: str, realm: str) -> StoredCredential | None:
        password = PASSWORDS.get(username)
        if password is None or realm != REALM:
            return None
        return StoredCredential(ha1(username, realm, password, "MD5"), ha1(username, realm, password, "SHA-256"))


@dataclass
class Counts:
    """Counters as a table."""

    table: Counter[str] = field(default_factory=Counter)

    def inc(self, name: str, **labels: str) -> None:
        assert COUNTERS[name] == tuple(labels)
        self.table[".".join((name, *labels.values()))] += 1


@dataclass
class Endpoint:
    """A user agent with what it received."""

    agent: UserAgent
    counts: Counts
    incoming: asyncio.Queue[IncomingInvite] = field(default_factory=asyncio.Queue)

    def target(self, transport: Transport) -> Target:
        ip, port = next((ip, port) for kind, ip, port in self.agent.listening if kind == transport)
        return Target(transport, ip, port, "sip.example.org" if transport == "tls" else None)

    def uri(self, user: str, transport: Transport = "udp") -> SipUri:
        target = self.target(transport)
        params = () if transport == "udp" else (("transport", transport),)
        return SipUri(target.host, user, target.port, params=params)


class Reader:
    """Reads a session's events one by one, with a deadline."""

    def __init__(self, session: InviteSession) -> None:
        self.session = session
        self._events = session.events()

    async def next(self) -> SessionEvent:
        async with asyncio.timeout(40):
            return await anext(self._events)

    async def rest(self) -> list[SessionEvent]:
        async with asyncio.timeout(40):
            return [event async for event in self._events]


@pytest.fixture(scope="session")
def tls_contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("sip.example.org").configure_cert(server)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(client)
    return server, client


MakeEndpoint = Callable[..., Awaitable[Endpoint]]


@pytest.fixture
async def make_endpoint(tls_contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> AsyncIterator[MakeEndpoint]:
    """Builds endpoints with UDP, TCP and TLS on free ports; stops them at the end."""
    made: list[Endpoint] = []
    captures: list[Capture] = []

    async def make(
        *,
        tls_server: ssl.SSLContext = tls_contexts[0],
        capture_to: tuple[str, int] | None = None,
        **changes: object,
    ) -> Endpoint:
        settings: dict[str, object] = {
            "binds": tuple(Bind(kind, "127.0.0.1", 0) for kind in ("udp", "tcp", "tls")),
            "domains": frozenset({"example.org"}),
            "realm": REALM,
            "timers": Timers(t1=0.05, t2=0.4, t4=0.5),
        }
        counts = Counts()
        capture = None
        if capture_to is not None:
            capture = Capture(capture_to, agent=AGENT, key=KEY, counters=counts)
            captures.append(capture)
        agent = UserAgent(
            config=SipConfig(**(settings | changes)),  # type: ignore[arg-type]
            users=Users(),
            counters=counts,
            tls_server=tls_server,
            tls_client=tls_contexts[1],
            capture=capture,
        )
        endpoint = Endpoint(agent, counts)

        async def on_invite(incoming: IncomingInvite) -> None:
            endpoint.incoming.put_nowait(incoming)

        agent.on_invite = on_invite
        await agent.start()
        made.append(endpoint)
        return endpoint

    yield make
    for endpoint in made:
        await endpoint.agent.stop(0.5)
    for capture in captures:
        capture.close()


def party(user: str) -> NameAddr:
    """A From value."""
    return NameAddr(SipUri("example.org", user), user.capitalize())
