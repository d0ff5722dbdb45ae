"""In-memory stand-ins for what the web resources call, and a whole public side built from them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import Any

import aiohttp

from mediaserver.api.agents import AgentsResource, PlainAgentDirectory
from mediaserver.api.app import Bind, HttpLimits, Listeners, make_app
from mediaserver.api.auth import AdminAuth, DaemonTokens, SiteKey, SiteTokens
from mediaserver.api.context import Admission, EntryAccess
from mediaserver.api.entries import EntriesAdminResource, EntriesResource
from mediaserver.api.health import HealthResource
from mediaserver.api.line_tests import LineTestsResource, Tests
from mediaserver.api.member_door import MemberDoor
from mediaserver.api.metrics import ApiMetrics, MetricsResource
from mediaserver.api.openapi import Described, OpenApiResource
from mediaserver.api.operation import Operation
from mediaserver.api.origins import Origins
from mediaserver.api.other_cores import OtherCores
from mediaserver.api.page_servers import PageServers
from mediaserver.api.pages import PagesResource
from mediaserver.api.records import RecordsResource
from mediaserver.api.room_sessions import RoomLimits, RoomSessionsResource
from mediaserver.api.session import SessionLimits, SessionResource
from mediaserver.api.source import SourceResolver
from mediaserver.api.tokens import TokensResource
from mediaserver.call.line_test import LineTests
from mediaserver.call.signaling import Identity, Signaling, StaleEtag, UnknownLink, UnknownRoom
from mediaserver.config.sections import ConsentText
from mediaserver.contact.attributes import AttributeLimits
from mediaserver.core.permissions import Publishable
from mediaserver.errors import InsufficientBandwidth, LimitExceeded, NegotiationError, RemoteProtocolError
from mediaserver.runtime.metrics import Metrics
from mediaserver.sdp.description import Fingerprint
from mediaserver.store.records import ContactRecord
from mediaserver.webrtc.messages import ClientMessage, IceServer, Page
from mediaserver.webrtc.room_messages import RoomInfo
from tests.call.fakes import FakeEngine
from tests.store.memory_records import MemoryRecords

SITE_SECRET = b"a secret of the house, 32 bytes."
ADMIN_TOKEN = "admin-token-for-tests"
ALLOWED = "https://www.example.org"
MOST_LINE_TESTS = 5


class FakeParticipant:
    """Remembers what it was told; `on_message` may act on it."""

    def __init__(self, signaling: Signaling, contact_id: str = "contact-1") -> None:
        self.contact_id = contact_id
        self.signaling = signaling
        self.messages: list[ClientMessage] = []
        self.gone_reasons: list[str] = []
        self.on_message: Any = None

    async def handle(self, message: ClientMessage) -> None:
        self.messages.append(message)
        if self.on_message is not None:
            await self.on_message(self, message)

    async def gone(self, reason: str) -> None:
        self.gone_reasons.append(reason)


@dataclass
class FakeContacts:
    """Starts `FakeParticipant`s."""

    callers: list[FakeParticipant] = field(default_factory=list)
    agents: dict[str, FakeParticipant] = field(default_factory=dict)
    started: list[dict[str, Any]] = field(default_factory=list)
    full: bool = False
    attributes: AttributeLimits = field(default_factory=AttributeLimits)
    on_message: Any = None
    on_start: Any = None

    async def start_caller(
        self,
        *,
        entry: str,
        signaling: Signaling,
        source: str,
        page: Page | None,
        attributes: Mapping[str, str],
        identity: Identity | None,
    ) -> FakeParticipant:
        if self.full:
            raise LimitExceeded("All lines are busy.", limit="contacts")
        self.attributes.bounded(attributes)
        self.started.append(
            {"entry": entry, "source": source, "page": page, "attributes": dict(attributes), "identity": identity}
        )
        caller = FakeParticipant(signaling, f"contact-{len(self.started)}")
        caller.on_message = self.on_message
        self.callers.append(caller)
        if self.on_start is not None:
            await self.on_start(caller)
        return caller

    async def follow_link(self, *, link: str, entry: str, signaling: Signaling) -> FakeParticipant:
        if link != "good":
            raise UnknownLink("This link has been used.")
        caller = FakeParticipant(signaling, "contact-1")
        self.callers.append(caller)
        return caller

    async def sign_in_agent(self, user: str, signaling: Signaling) -> FakeParticipant:
        agent = FakeParticipant(signaling)
        agent.on_message = self.on_message
        self.agents[user] = agent
        return agent


class FakeRoomSession:
    """An ICE session whose restart gives it the next entity tag."""

    def __init__(self, name: str) -> None:
        self.id = name
        self.answer_sdp = "v=0\r\ns=answer\r\n"
        self.etag = "ice-1"
        self.closed = False
        self.fragments: list[str] = []
        self.reasons: list[str] = []

    async def trickle(self, fragment: str, etag: str | None) -> str | None:
        if etag is not None and etag != self.etag:
            raise StaleEtag("This ICE session is over.")
        if "broken" in fragment:
            raise RemoteProtocolError("line 1: not a line of SDP")
        self.fragments.append(fragment)
        if etag is None:
            self.etag = "ice-2"
            return "a=ice-ufrag:new\r\na=ice-pwd:newnewnewnewnewnewnewn\r\n"
        return None

    async def close(self, reason: str) -> None:
        self.closed = True
        self.reasons.append(reason)


@dataclass
class FakeRooms:
    """Rooms that take every offer but the ones that say otherwise."""

    sessions: list[FakeRoomSession] = field(default_factory=list)
    calls: list[tuple[str, str, str]] = field(default_factory=list)
    may_publish: list[frozenset[Publishable] | None] = field(default_factory=list)

    async def publish(
        self,
        room: str,
        offer_sdp: str,
        *,
        subject: str,
        source: str,
        may_publish: frozenset[Publishable] | None = None,
    ) -> FakeRoomSession:
        self.may_publish.append(may_publish)
        return self._open("publish", room, offer_sdp, subject)

    async def view(self, room: str, offer_sdp: str, *, subject: str, source: str) -> FakeRoomSession:
        if room == "empty":
            raise UnknownRoom("Nobody publishes in this room.")
        return self._open("view", room, offer_sdp, subject)

    def _open(self, direction: str, room: str, offer_sdp: str, subject: str) -> FakeRoomSession:
        if "nothing in common" in offer_sdp:
            raise NegotiationError("The offer has no codec that is allowed here.", warning_code=305)
        if "full line" in offer_sdp:
            raise InsufficientBandwidth("There is not enough bandwidth.", limit="sites.munich.budget.audio")
        if "not sdp" in offer_sdp:
            raise RemoteProtocolError("line 1: a description begins with v=0")
        self.calls.append((direction, room, subject))
        session = FakeRoomSession(f"session-{len(self.sessions) + 1}")
        self.sessions.append(session)
        return session


class FakeMember(FakeParticipant):
    """A member that only listens."""

    def __init__(self, signaling: Signaling, info: RoomInfo) -> None:
        super().__init__(signaling)
        self.info = info


@dataclass
class FakeMembers:
    """Lets everybody in, unless it is full."""

    members: list[FakeMember] = field(default_factory=list)
    entered: list[tuple[str, str, frozenset[Publishable] | None, bool]] = field(default_factory=list)
    full: bool = False

    async def enter(
        self,
        *,
        room: str,
        name: str,
        may_publish: frozenset[Publishable] | None,
        moderate: bool,
        signaling: Signaling,
    ) -> FakeMember:
        if self.full:
            raise LimitExceeded("the room is full", limit="limits.participants_per_room")
        self.entered.append((room, name, may_publish, moderate))
        info = RoomInfo(
            name=room,
            participant=f"p{len(self.entered)}",
            audio_slots=4,
            video_slots=9,
            publish=tuple(sorted(may_publish or ())),
            moderate=moderate,
            audio_codecs=("opus",),
            video_codecs=("VP8",),
        )
        member = FakeMember(signaling, info)
        self.members.append(member)
        return member


def three_records() -> list[ContactRecord]:
    """Finished contacts c1, c2 and c3, the last one the latest."""
    begin = datetime(2026, 11, 1, 21, 0, tzinfo=UTC)
    return [
        ContactRecord(
            contact_id=f"c{number}",
            started_at=begin + timedelta(minutes=number),
            ended_at=begin + timedelta(minutes=number + 1),
            ended_by="caller",
            end_reason="hangup",
        )
        for number in (1, 2, 3)
    ]


@dataclass
class FakeRevocations:
    """Keeps revoked tokens in memory."""

    kept: dict[str, float] = field(default_factory=dict)

    async def add(self, token_id: str, expires_at: float) -> None:
        self.kept[token_id] = expires_at


class Clocks:
    """A wall clock that tests move; the real one is never asked."""

    def __init__(self) -> None:
        self.wall = 1_800_000_000.0

    def __call__(self) -> float:
        return self.wall


class Stack:
    """Public and admin listeners on free loopback ports, over fakes."""

    def __init__(
        self,
        *,
        session: SessionLimits | None = None,
        rooms: RoomLimits | None = None,
        trusted_proxies: Sequence[str] = (),
        line_tests: Tests | None = None,
        turn: Sequence[IceServer] = (),
        servers: PageServers | None = None,
        others: OtherCores | None = None,
        **http: Any,
    ) -> None:
        self.servers = servers or PageServers()
        self.contacts = FakeContacts()
        self.rooms = FakeRooms()
        self.members = FakeMembers()
        self.records = MemoryRecords()
        self.clock = Clocks()
        self.revocations = FakeRevocations()
        self.metrics = Metrics()
        api_metrics = ApiMetrics(self.metrics)
        self.admission = Admission(retry_after_s=7)
        if others is not None:
            self.admission.send_away = others.send_away
        self.problem: str | None = None
        self.sockets: list[aiohttp.ClientWebSocketResponse] = []
        self.entries = {
            entry.name: entry
            for entry in (
                EntryAccess(
                    "demo",
                    "Talk to us",
                    Origins.of(["self", ALLOWED, "https://*.shop.example", *self.servers.origins]),
                    consent=ConsentText(version="2026-11", text="We see you <only> if you agree."),
                ),
                EntryAccess("app", "App only", Origins.of([]), identity_required=True),
                EntryAccess("open", "Everybody", Origins.of(["*"]), video="none"),
            )
        }
        self.tokens = DaemonTokens(session_key=b"s" * 32, room_key=b"r" * 32, wall_clock=self.clock)
        directory = PlainAgentDirectory({"anna": ("correct horse", "Anna Agent"), "bert": ("battery staple", "")})
        source_of = SourceResolver(http=[ip_network(cidr) for cidr in trusted_proxies])
        site_tokens = SiteTokens(
            [
                SiteKey("portal", "HS256", SITE_SECRET),
                SiteKey("once", "HS256", SITE_SECRET[::-1], single_use=True),
            ],
            wall_clock=self.clock,
        )
        self.sessions = SessionResource(
            contacts=self.contacts,
            entries=self.entries,
            site_tokens=site_tokens,
            daemon_tokens=self.tokens,
            agents=directory,
            admission=self.admission,
            source_of=source_of,
            metrics=api_metrics,
            members=MemberDoor(members=self.members, tokens=self.tokens),
            limits=session,
            servers=self.servers,
            others=others,
        )
        common = {"tokens": self.tokens, "admission": self.admission, "source_of": source_of, "metrics": api_metrics}
        servers = (IceServer(urls=("turn:turn.example.org",), username="u", credential="p"),)
        self.whip = RoomSessionsResource(
            kind="whip",
            rooms=self.rooms,
            limits=rooms,
            ice_servers=lambda: servers,
            prefix=self.servers.prefix,
            **common,
        )
        self.whep = RoomSessionsResource(kind="whep", rooms=self.rooms, limits=rooms, **common)
        self.engine = FakeEngine()
        fingerprint = Fingerprint("sha-256", bytes(range(32)))
        self.line_tests: Tests = (
            LineTests(engine=self.engine, fingerprint=fingerprint, most=MOST_LINE_TESTS)
            if line_tests is None
            else line_tests
        )
        self.lines = LineTestsResource(
            tests=self.line_tests,
            entries=self.entries,
            site_tokens=site_tokens,
            daemon_tokens=self.tokens,
            agents=directory,
            admission=self.admission,
            source_of=source_of,
            metrics=api_metrics,
            most=MOST_LINE_TESTS,
            ice_servers=lambda: tuple(turn),
            clock=lambda: self.clock.wall,
        )
        self.described: list[Described] = [
            self.lines,
            EntriesResource(entries=self.entries, admission=self.admission, servers=self.servers.known_bases),
            AgentsResource(agents=directory, revocations=self.revocations, failure_delay_s=0.01, **common),
            self.sessions,
            self.whip,
            self.whep,
        ]
        checks = {"engine": lambda: self.problem}
        limits = HttpLimits(**http)
        self.public_app = make_app(
            [
                *self.described,
                OpenApiResource(self.operations, public=True, prefix=self.servers.prefix),
                HealthResource(admission=self.admission, checks=checks, detailed=False),
                PagesResource(
                    entries=self.entries.values(),
                    admission=self.admission,
                    servers=self.servers.known,
                    prefix=self.servers.prefix,
                ),
            ],
            name="http",
            metrics=api_metrics,
            source_of=source_of,
            limits=limits,
            prefix=self.servers.prefix,
        )
        self.public = Listeners(
            self.public_app,
            [Bind("127.0.0.1", 0)],
            metrics=api_metrics,
            limits=limits,
        )
        admin = AdminAuth(ADMIN_TOKEN)
        self.admin = Listeners(
            make_app(
                [
                    MetricsResource(self.metrics),
                    HealthResource(admission=self.admission, checks=checks, detailed=True),
                    TokensResource(tokens=self.tokens, admin=admin),
                    RecordsResource(store=self.records, admin=admin),
                    EntriesAdminResource(entries=self.entries, admin=admin),
                ],
                name="admin",
                metrics=api_metrics,
                source_of=source_of,
                limits=limits,
            ),
            [Bind("127.0.0.1", 0)],
            metrics=api_metrics,
            limits=limits,
        )

    async def start(self) -> None:
        await self.records.add(*three_records())
        await self.public.start()
        await self.admin.start()
        self.http = aiohttp.ClientSession(f"http://127.0.0.1:{self.public.addresses[0][1]}")
        self.admin_http = aiohttp.ClientSession(f"http://127.0.0.1:{self.admin.addresses[0][1]}")

    async def stop(self) -> None:
        await self.sessions.stop()
        await self.lines.stop()
        for socket in self.sockets:
            await socket.close()
        await self.http.close()
        await self.admin_http.close()
        await self.public.stop()
        await self.admin.stop()

    @property
    def operations(self) -> list[Operation]:
        """What the public document describes."""
        return [operation for resource in self.described for operation in resource.operations()]

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.public.addresses[0][1]}"

    async def connect(self, *, origin: str | None = ALLOWED, query: str = "") -> aiohttp.ClientWebSocketResponse:
        headers = {"Origin": origin} if origin else {}
        socket = await self.http.ws_connect("/v1/session" + query, headers=headers)
        self.sockets.append(socket)
        return socket

    async def call(self, **hello: Any) -> tuple[aiohttp.ClientWebSocketResponse, dict[str, Any]]:
        """A caller's session: the socket and its welcome."""
        socket = await self.connect()
        await socket.send_json({"type": "hello", "version": 1, "role": "caller", "entry": "demo", **hello})
        return socket, await receive(socket)


async def receive(socket: aiohttp.ClientWebSocketResponse) -> dict[str, Any]:
    """The next message, within a second or two."""
    message = await socket.receive(timeout=30)
    assert message.type is aiohttp.WSMsgType.TEXT, (message.type, message.data, message.extra)
    return json.loads(message.data)


async def closing(socket: aiohttp.ClientWebSocketResponse) -> tuple[dict[str, Any], int | None]:
    """The last message before the server closes, and the close code."""
    last = await receive(socket)
    message = await socket.receive(timeout=30)
    assert message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
    return last, socket.close_code
