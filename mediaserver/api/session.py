"""`/v1/session`: the WebSocket over which pages of callers, agents and members of rooms talk to the daemon."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog
from aiohttp import WSMsgType, web
from pydantic import BaseModel, ConfigDict

from mediaserver.api.agents import AgentDirectory
from mediaserver.api.auth import DaemonTokens, SiteTokens, TokenRefused
from mediaserver.api.context import Admission, EntryAccess
from mediaserver.api.limits import Occupancy, RateLimit
from mediaserver.api.member_door import MemberDoor
from mediaserver.api.metrics import ApiMetrics
from mediaserver.api.operation import Operation
from mediaserver.api.origins import Origins
from mediaserver.api.other_cores import OtherCores
from mediaserver.api.page_servers import PageServers
from mediaserver.api.problem import Problem, too_many
from mediaserver.api.session_channel import (
    CLOSE_INTERNAL,
    CLOSE_MOVED,
    CLOSE_POLICY,
    CLOSE_TOO_BIG,
    CLOSE_TRY_AGAIN,
    Envelope,
    SessionChannel,
    envelope,
    token_digest,
)
from mediaserver.api.session_refused import Refused, over
from mediaserver.api.source import SourceResolver
from mediaserver.call.signaling import AttributesRefused, Contacts, Identity, UnknownEntry, UnknownLink
from mediaserver.errors import LimitExceeded, RemoteProtocolError
from mediaserver.runtime.sources import source_prefix
from mediaserver.webrtc.messages import (
    Error,
    Hello,
    IceServer,
    Ping,
    Pong,
    Servers,
    Welcome,
)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """Bounds of the WebSocket resource."""

    sockets: int = 5000
    """Open sockets in total."""
    sockets_per_source: int = 50
    sessions: int = 4000
    """Sessions in total, those whose browser is away for the moment included."""
    sessions_per_source: int = 20
    sessions_per_second_per_source: float = 1.0
    session_burst_per_source: float = 20.0
    hello_timeout_s: float = 5.0
    heartbeat_s: float = 15.0
    """A socket that answers no ping for this long is taken for lost."""
    resume_window_s: float = 30.0
    max_message_bytes: int = 65_536
    messages_per_second: float = 50.0
    message_burst: float = 100.0
    kept_messages: int = 512
    """Messages kept per session until the browser acknowledges them."""
    kept_bytes: int = 2_000_000


class SessionQuery(BaseModel):
    """What the address of a session says before the first message; values do not matter."""

    model_config = ConfigDict(use_attribute_docstrings=True)
    resume: str | None = None
    """The session is taken up again: allowed while the server drains."""
    room: str | None = None
    """A member of a room comes; its token stands for its origin."""


class SessionResource:
    """Opens, resumes and ends sessions; what is said in them goes to the contact layer."""

    def __init__(
        self,
        *,
        contacts: Contacts,
        entries: Mapping[str, EntryAccess],
        site_tokens: SiteTokens,
        daemon_tokens: DaemonTokens,
        agents: AgentDirectory,
        admission: Admission,
        source_of: SourceResolver,
        metrics: ApiMetrics,
        members: MemberDoor | None = None,
        limits: SessionLimits | None = None,
        agent_origins: Origins | None = None,
        ice_servers: Callable[[], tuple[IceServer, ...]] = tuple,
        servers: PageServers | None = None,
        others: OtherCores | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`agent_origins` are origins of pages that agents may sign in from; none given: pages served from here.

        Without `members` there are no members of rooms.
        """
        self._contacts = contacts
        self._members = members
        self._entries = entries
        self._site_tokens = site_tokens
        self._daemon_tokens = daemon_tokens
        self._agents = agents
        self._admission = admission
        self._source_of = source_of
        self._metrics = metrics
        self._limits = limits or SessionLimits()
        self._servers = servers or PageServers()
        self._others = others or OtherCores()
        self._servers.listen(self._tell_servers)
        self._servers.on_leave = self._leave
        self._agent_origins = agent_origins or Origins(("self", *self._servers.origins))
        self._ice_servers = ice_servers
        self._clock = clock
        limit = self._limits
        self._sockets = Occupancy("web_sockets", per_source=limit.sockets_per_source, total=limit.sockets)
        self._occupancy = Occupancy("limits.sessions", per_source=limit.sessions_per_source, total=limit.sessions)
        self._rate = RateLimit(per_second=limit.sessions_per_second_per_source, burst=limit.session_burst_per_source)
        self._channels: dict[SessionChannel, Welcome] = {}
        self._agent_channels: dict[str, SessionChannel] = {}

    def routes(self) -> list[web.AbstractRouteDef]:
        """What to add to the public application."""
        return [web.get("/v1/session", self.connect, allow_head=False)]

    def operations(self) -> list[Operation]:
        """The one there is; its messages are those of `webrtc.messages`."""
        return [
            Operation(
                method="GET",
                path="/v1/session",
                handler=self.connect,
                summary="The WebSocket session (RFC 6455) of a caller, an agent or a member of a room; begins with `hello`.",
                scope=None,
                status=101,
                query=SessionQuery,
                problems={
                    403: "Pages of this origin may not connect here.",
                    426: "This is not a WebSocket handshake.",
                    503: "The server drains.",
                },
            )
        ]

    @property
    def count(self) -> int:
        """Sessions there are now."""
        return len(self._channels)

    async def stop(self) -> None:
        """End every session, telling each participant."""
        async with asyncio.TaskGroup() as group:
            for channel in list(self._channels):
                group.create_task(channel.stop("shutdown"), name=f"stop-session-{channel.id}")

    async def connect(self, request: web.Request) -> web.StreamResponse:
        """Upgrade to a WebSocket and serve it until it is lost."""
        self._check_upgrade(request)
        source = self._source_of(request)
        try:
            with self._sockets.held(source):
                return await self._serve(request, source)
        except LimitExceeded as error:
            self._metrics.session_refused("sockets")
            raise too_many(str(error), code="limit-reached", retry_after_s=10) from error

    def _check_upgrade(self, request: web.Request) -> None:
        if request.headers.get("Upgrade", "").lower() != "websocket":
            raise Problem(
                426,
                "upgrade-required",
                "This is a WebSocket resource (RFC 6455); connect with the `WebSocket` of a browser.",
                headers={"Upgrade": "websocket", "Connection": "Upgrade"},
            )
        # A page that takes up a session again says so in the query, so that draining keeps only new ones away; its token
        # is what counts, by whatever name it comes. `hello` decides, which for a new session looks at the origin.
        if "resume" in request.query:
            return
        self._admission.require_open(request)
        origin = request.headers.get("Origin")
        if origin is None or self._agent_origins.allow_request(request):
            return
        # A member's token is all that counts; `hello` decides, which for others looks at the origin once more.
        if self._members is not None and "room" in request.query:
            return
        if not any(entry.origins.allow_request(request) for entry in self._entries.values()):
            self._metrics.session_refused("origin")
            raise Problem(
                403,
                "origin-refused",
                f"Pages of {origin[:256]} may not connect here; list the origin under `entries.NAME.allowed_origins`.",
            )

    async def _serve(self, request: web.Request, source: str) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(
            heartbeat=self._limits.heartbeat_s, max_msg_size=self._limits.max_message_bytes, compress=False, timeout=5.0
        )
        await socket.prepare(request)
        try:
            hello, ack = await self._hello(socket)
            if hello.resume is not None:
                channel = await self._resume(socket, request, hello.resume, ack)
            else:
                channel = await self._open(socket, request, hello, source)
        except Refused as refused:
            self._metrics.session_refused(refused.reason)
            await _farewell(socket, refused.code, str(refused), refused.close)
            return socket
        except Exception:
            log.exception("session_open_failed", source=source)
            self._metrics.session_refused("internal")
            await _farewell(socket, "internal", "The server made a mistake; it has been logged.", CLOSE_INTERNAL)
            return socket
        if channel is not None:
            channel.link = 0 if request.transport is None else request.transport.get_extra_info("link", 0)
            await self._run(socket, channel)
        return socket

    async def _hello(self, socket: web.WebSocketResponse) -> tuple[Hello, int | None]:
        try:
            async with asyncio.timeout(self._limits.hello_timeout_s):
                message = await socket.receive()
        except TimeoutError:
            raise Refused("hello_timeout", "The first message, `hello`, did not come in time.") from None
        if message.type is not WSMsgType.TEXT:
            raise Refused("bad_hello", "The first message must be `hello`, as text.")
        try:
            first = Envelope.parse(message.data)
        except RemoteProtocolError as error:
            raise Refused("bad_hello", str(error)) from None
        if not isinstance(first.message, Hello):
            raise Refused("bad_hello", f"The first message must be `hello`, not `{first.message.type}`.")
        return first.message, first.ack

    async def _resume(
        self, socket: web.WebSocketResponse, request: web.Request, token: str, ack: int | None
    ) -> SessionChannel | None:
        digest = token_digest(token)
        channel = next((found for found in self._channels if digest in found.tokens and not found.closed), None)
        if channel is None and self._others.send_back(request, token):
            raise Refused("elsewhere", "This session is at another server; please come again at once.", CLOSE_MOVED)
        if channel is None:
            raise Refused("resume", "This session is over; it can only be taken up again within a short time.")
        update = {"resume": channel.new_resume_token(), "servers": self._servers.current}
        welcome = self._channels[channel].model_copy(update=update)
        if not await channel.attach(socket, welcome, after=ack or 0):
            raise Refused("resume", "Messages of this session were lost; please start a new one.")
        self._metrics.sessions_resumed.inc()
        return channel

    async def _open(
        self, socket: web.WebSocketResponse, request: web.Request, hello: Hello, source: str
    ) -> SessionChannel:
        if self._admission.draining:
            self._admission.greet(request)
            raise Refused("draining", "The server takes no new calls for the moment.", CLOSE_TRY_AGAIN)
        if self._rate.take(source_prefix(source), self._clock()):
            text = "Too many calls were begun from your network; please wait."
            raise Refused("limit", text, CLOSE_TRY_AGAIN, reason="session_rate")
        channel = SessionChannel(
            role=hello.role,
            source=source,
            voices=hello.voices,
            new_token=self._others.new_token,
            window_s=self._limits.resume_window_s,
            max_messages=self._limits.kept_messages,
            max_bytes=self._limits.kept_bytes,
            on_closed=self._closed,
        )
        try:
            self._occupancy.enter(source)
        except LimitExceeded as error:
            raise over(error) from error
        try:
            if hello.role == "agent":
                welcome = await self._start_agent(channel, request, hello)
            elif hello.role == "member":
                if self._members is None:
                    raise Refused("bad_hello", "There are no rooms to be a member of here.")
                welcome = await self._members.start(channel, hello)
            else:
                welcome = await self._start_caller(channel, request, hello)
        except BaseException:
            self._occupancy.leave(source)
            raise
        self._channels[channel] = welcome = welcome.model_copy(update={"servers": self._servers.current})
        self._metrics.sessions.labels(role=channel.role).inc()
        await channel.attach(socket, welcome, after=None)
        return channel

    async def _start_caller(self, channel: SessionChannel, request: web.Request, hello: Hello) -> Welcome:
        identity = self._identity(hello.token)
        entry = self._entries.get(hello.entry) if hello.entry is not None else None
        if entry is None:
            raise Refused("entry", "There is no such entry; `entry` names one of the configuration's `entries`.")
        origin = request.headers.get("Origin")
        # Only browsers send an origin, and always do; an app without one has to bring a token of the house.
        if not (entry.origins.allow_request(request) or (origin is None and (identity or hello.link))):
            raise Refused("origin", "This page may not use this entry.")
        # A link was made by the house for one person, whom it knows.
        if entry.identity_required and identity is None and hello.link is None:
            raise Refused("token", "This entry needs a `token` signed by the house's site.")
        try:
            if hello.link is not None:
                caller = await self._contacts.follow_link(link=hello.link, entry=entry.name, signaling=channel)
            else:
                caller = await self._contacts.start_caller(
                    entry=entry.name,
                    signaling=channel,
                    source=channel.source,
                    page=hello.page,
                    attributes=hello.attributes,
                    identity=identity,
                )
        except UnknownLink as error:
            raise Refused("link", str(error)) from error
        except UnknownEntry as error:
            raise Refused("entry", str(error)) from error
        except AttributesRefused as error:
            raise Refused("bad_hello", f"The page's {error}.") from error
        except LimitExceeded as error:
            raise over(error) from error
        channel.start(caller)
        video = entry.video != "none"
        audio = hello.link is None
        return channel.welcome(entry.title, self._ice_servers(), audio=audio, video=video, contact_id=caller.contact_id)

    def _identity(self, token: str | None) -> Identity | None:
        if token is None:
            return None
        try:
            return self._site_tokens.verify(token)
        except TokenRefused as error:
            # Never silently anonymous: the site believes that its customer is recognised.
            raise Refused("token", str(error)) from error

    async def _start_agent(self, channel: SessionChannel, request: web.Request, hello: Hello) -> Welcome:
        origin = request.headers.get("Origin")
        if not (origin is None or self._agent_origins.allow_request(request)):
            raise Refused("origin", "This page may not sign in agents.")
        if hello.token is None:
            raise Refused("token", "An agent needs the `token` that signing in gave.")
        try:
            scope = self._daemon_tokens.verify_agent(hello.token)
        except TokenRefused as error:
            raise Refused("token", str(error)) from error
        profile = self._agents.profile(scope.user)
        if profile is None:
            raise Refused("token", "This user no longer exists; please sign in again.")
        previous = self._agent_channels.get(scope.user)
        if previous is not None:
            await previous.send(Error(code="replaced", message="You signed in somewhere else."))
            await previous.stop("signed_in_elsewhere")
        try:
            agent = await self._contacts.sign_in_agent(scope.user, channel)
        except LimitExceeded as error:
            raise over(error) from error
        self._agent_channels[scope.user] = channel
        channel.start(agent)
        return channel.welcome(profile.name, self._ice_servers())

    def _tell_servers(self, servers: tuple[str, ...]) -> None:
        for channel in self._channels:
            channel.tell(Servers(servers=servers))

    def _leave(self, link: int) -> None:
        for channel in self._channels:
            if channel.link == link:
                channel.move()

    def _closed(self, channel: SessionChannel) -> None:
        if self._channels.pop(channel, None) is None:
            return
        self._occupancy.leave(channel.source)
        self._metrics.sessions.labels(role=channel.role).dec()
        for user, current in list(self._agent_channels.items()):
            if current is channel:
                del self._agent_channels[user]

    async def _run(self, socket: web.WebSocketResponse, channel: SessionChannel) -> None:
        writer = asyncio.create_task(channel.write(socket), name=f"session-{channel.id}-writer")
        try:
            await self._read(socket, channel)
        finally:
            writer.cancel()
            # 1000 is what our pages send when they are closed; everything else may be the network's doing.
            channel.detach(socket, for_good=socket.close_code == 1000)

    async def _read(self, socket: web.WebSocketResponse, channel: SessionChannel) -> None:
        rate = RateLimit(per_second=self._limits.messages_per_second, burst=self._limits.message_burst, max_keys=1)
        async for frame in socket:
            if frame.type is WSMsgType.BINARY:
                await _farewell(socket, "bad_message", "Messages are text.", CLOSE_POLICY)
                return
            if frame.type is not WSMsgType.TEXT:
                return
            self._metrics.session_messages.inc()
            if rate.take("", self._clock()):
                channel.leave("too_many_messages")
                await _farewell(socket, "limit", "Too many messages came at once.", CLOSE_POLICY)
                return
            try:
                received = Envelope.parse(frame.data)
            except RemoteProtocolError as error:
                self._metrics.session_errors.inc()
                if error.status == 413:
                    await _farewell(socket, "bad_message", str(error), CLOSE_TOO_BIG)
                    return
                await socket.send_str(envelope(Error(code="bad_message", message=str(error))))
                continue
            if not await self._take(socket, channel, received):
                return

    async def _take(self, socket: web.WebSocketResponse, channel: SessionChannel, received: Envelope) -> bool:
        match received.message:
            case Hello():
                await socket.send_str(envelope(Error(code="bad_message", message="`hello` comes once, first.")))
                return True
            case Ping():
                channel.heard(received.ack)
                await socket.send_str(envelope(Pong(), ack=channel.received))
                return True
            case _:
                if await channel.take(received):
                    return True
                await _farewell(socket, "lost", "A message before this one did not arrive.", CLOSE_TRY_AGAIN)
                return False


async def _farewell(socket: web.WebSocketResponse, code: str, text: str, close: int) -> None:
    try:
        await socket.send_str(envelope(Error(code=code, message=text)))
    except (ConnectionError, RuntimeError):
        return
    await socket.close(code=close, message=code.encode())
