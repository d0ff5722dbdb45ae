"""An ACD as third-party call control does it (RFC 3725 flow I): it takes a call, holds it, and hands it to an agent.

Its signalling is this project's own stack, because no package here has such a program; the media at both ends are of
peers that are not.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections.abc import AsyncIterator

from mediaserver.sip.config import Bind, SipConfig, TrunkRule
from mediaserver.sip.credentials import StoredCredential
from mediaserver.sip.events import Answered, Confirmed, ReofferAnswered, SessionEvent
from mediaserver.sip.headers import NameAddr
from mediaserver.sip.session import InviteSession
from mediaserver.sip.uri import SipUri, parse_sip_uri
from mediaserver.sip.user_agent import IncomingInvite, UserAgent
from tests.peers.namespace import LOOPBACK
from tests.peers.process import PeerError


class _Nobody:
    def lookup(self, username: str, realm: str) -> StoredCredential | None:
        return None


class Acd:
    """One call at a time. ``offers`` holds the descriptions that the caller's side gave, in order."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self.offers: list[str] = []
        self._version = 0
        self._waiting: asyncio.Queue[SessionEvent] = asyncio.Queue()
        self._legs: list[asyncio.Task[None]] = []
        self._caller: asyncio.Future[InviteSession] = asyncio.get_running_loop().create_future()
        self.agent = UserAgent(
            config=SipConfig(
                binds=(Bind("udp", host, port),),
                domains=frozenset({host}),
                realm=host,
                trunks=(TrunkRule("any", (ipaddress.ip_network("127.0.0.0/8"),)),),
                server_name="acd",
            ),
            users=_Nobody(),
        )
        self.agent.on_invite = self._on_invite

    async def answered(self) -> None:
        """The caller's side has been answered, by sound alone."""
        await self._expect(Confirmed)

    async def hold(self, direction: str) -> str:
        """A re-INVITE with this direction; returns the answer."""
        session = await self._caller
        session.reoffer(self._sound(direction))
        return (await self._expect(ReofferAnswered)).decode()

    async def hand_over(self, agent: str) -> None:
        """A re-INVITE without SDP; the offer goes to the agent, and the agent's answer into the ACK."""
        session = await self._caller
        session.reoffer(None)
        offer = await self._expect(ReofferAnswered)
        self.offers.append(offer.decode())
        leg = await self.agent.invite(
            parse_sip_uri(agent), from_=NameAddr(SipUri(self.host, "acd", self.port)), body=offer
        )
        self._listen(leg)
        session.acknowledge(await self._expect(Answered))

    def _sound(self, direction: str = "sendrecv") -> bytes:
        self._version += 1
        head = f"v=0\r\no=acd 4711 {self._version} IN IP4 {self.host}\r\ns=-\r\nc=IN IP4 {self.host}\r\nt=0 0\r\n"
        video = "m=video 0 RTP/AVP 97\r\n"
        return f"{head}m=audio 9 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na={direction}\r\n{video}".encode()

    async def _on_invite(self, incoming: IncomingInvite) -> None:
        self.offers.append((incoming.body or b"").decode())
        incoming.session.answer(self._sound())
        self._listen(incoming.session)
        self._caller.set_result(incoming.session)

    def _listen(self, session: InviteSession) -> None:
        self._legs.append(asyncio.create_task(self._read(session), name="acd-leg"))

    async def _read(self, session: InviteSession) -> None:
        async for event in session.events():
            self._waiting.put_nowait(event)
        for other in self.agent.sessions:
            other.hangup()  # where one leg goes, the other goes

    async def _expect(self, kind: type[SessionEvent]) -> bytes:
        """The body of the next event of a kind; raises PeerError."""
        seen = []
        try:
            async with asyncio.timeout(40):
                while not isinstance(event := await self._waiting.get(), kind):
                    seen.append(event)
        except TimeoutError:
            raise PeerError(f"the ACD saw {seen}, no {kind}") from None
        return getattr(event, "body", None) or b""

    async def stop(self) -> None:
        await self.agent.stop(1.0)
        for task in self._legs:
            task.cancel()
        await asyncio.gather(*self._legs, return_exceptions=True)


@contextlib.asynccontextmanager
async def acd() -> AsyncIterator[Acd]:
    """Runs on loopback, on a free port."""
    running = Acd("127.0.0.1", LOOPBACK.free_port())
    await running.agent.start()
    try:
        yield running
    finally:
        await running.stop()
