"""`/v1/line-tests`: a page finds out, before anybody calls, what its line is good for."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Final, Literal, Protocol

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from mediaserver.api.agents import AgentDirectory
from mediaserver.api.auth import MAX_TOKEN_CHARS, DaemonTokens, SiteTokens, TokenRefused, bearer_token, unauthorized
from mediaserver.api.body import read_json
from mediaserver.api.context import Admission, EntryAccess
from mediaserver.api.limits import Occupancy, RateLimit
from mediaserver.api.metrics import ApiMetrics
from mediaserver.api.operation import Operation, json_answer, routes
from mediaserver.api.origins import is_same_origin
from mediaserver.api.problem import Problem, problem_of, too_many
from mediaserver.api.source import SourceResolver
from mediaserver.call.line_test import DURATION_S, MESSAGE_BYTES, MESSAGES_PER_SECOND
from mediaserver.errors import MediaServerError
from mediaserver.runtime.sources import source_prefix
from mediaserver.webrtc.messages import IceServer

Direct = Literal["udp", "tcp"]

PER_SOURCE: Final = 4
"""Tests at a time from one address."""
_PER_SECOND, _BURST = 0.2, 6.0


class Test(Protocol):
    """One test."""

    @property
    def id(self) -> str:
        """Its name, which nobody can guess."""
        ...

    async def connect(self, sdp: str) -> str:
        """Answers an offer of data channels."""

    def close(self) -> None:
        """Ends it."""


class Tests(Protocol):
    """Where tests are made and found again."""

    def __len__(self) -> int: ...

    def begin(self, on_closed: Callable[[], None] = ...) -> Test:
        """A new one. Raises LimitExceeded."""
        ...

    def find(self, test_id: str) -> Test | None:
        """The one of this name, while it is open."""

    def close_all(self) -> None:
        """Ends every one."""


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", use_attribute_docstrings=True)


class BeginLineTest(_Body):
    """Who tests: an agent by the bearer token alone, or a page by what it would call with."""

    entry: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = None
    """The entry that the page calls by."""
    token: Annotated[str, StringConstraints(max_length=MAX_TOKEN_CHARS)] | None = None
    """A token of the house's site, where the entry asks for one; it is not used up."""


class LineOffer(_Body):
    """A description with data channels alone."""

    sdp: Annotated[str, StringConstraints(min_length=1, max_length=12_288)]


class LineAnswer(BaseModel):
    """The server's description."""

    sdp: str


class Way(BaseModel):
    """One way through the network, to be tried by itself."""

    model_config = ConfigDict(use_attribute_docstrings=True)
    name: str
    """`udp` and `tcp` lead to the server's own candidates of that protocol, `turn-udp`, `turn-tcp` and `turn-tls` by
    the relay in `ice_servers`."""
    ice_servers: list[IceServer] = Field(default_factory=list)


class LineTestBegun(BaseModel):
    """A test that waits for offers."""

    model_config = ConfigDict(use_attribute_docstrings=True)
    id: str
    ways: list[Way]
    """Those to try, the best first."""
    seconds: float
    """After that it is over."""
    messages_per_second: int
    message_bytes: int
    """What is sent on the channel `up` comes back on the channel `down`, up to this; the rest is dropped."""


class LineTestsResource:
    """Begin a test, answer its offers, end it."""

    def __init__(
        self,
        *,
        tests: Tests,
        entries: Mapping[str, EntryAccess],
        site_tokens: SiteTokens,
        daemon_tokens: DaemonTokens,
        agents: AgentDirectory,
        admission: Admission,
        source_of: SourceResolver,
        metrics: ApiMetrics,
        most: int,
        direct: Sequence[Direct] = ("udp",),
        ice_servers: Callable[[], tuple[IceServer, ...]] = tuple,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`direct`: protocols of the server's own candidates. `most` tests at a time, whoever asks."""
        self._tests = tests
        self._entries = entries
        self._site_tokens = site_tokens
        self._daemon_tokens = daemon_tokens
        self._agents = agents
        self._admission = admission
        self._source_of = source_of
        self._direct = tuple(direct)
        self._ice_servers = ice_servers
        self._clock = clock
        self._occupancy = Occupancy("limits.line_tests", per_source=PER_SOURCE, total=most)
        self._rate = RateLimit(per_second=_PER_SECOND, burst=_BURST)
        self._begun = metrics.line_tests
        metrics.line_tests_open.set_function(lambda: len(tests))

    def routes(self) -> list[web.AbstractRouteDef]:
        """What to add to the public application."""
        return routes(self.operations())

    def operations(self) -> list[Operation]:
        """Begin, connect, end."""
        gone = {404: "There is no such test, or it is over."}
        return [
            Operation(
                method="POST",
                path="/v1/line-tests",
                handler=self.begin,
                summary="Begin to test a line; the answer says which ways to try.",
                scope=None,
                status=201,
                answer=LineTestBegun,
                body=BeginLineTest,
                headers={"Authorization": "Bearer token of an agent; pages of callers name an entry instead."},
                problems={
                    401: "The agent is not signed in.",
                    403: "The page may not use the entry.",
                    404: "There is no such entry.",
                    503: "The server drains.",
                },
            ),
            Operation(
                method="POST",
                path="/v1/line-tests/{id}",
                handler=self.connect,
                summary="Offer data channels over one way; the transport before is closed.",
                scope=None,
                answer=LineAnswer,
                body=LineOffer,
                problems={**gone, 422: "The offer has no data channels."},
            ),
            Operation(
                method="DELETE",
                path="/v1/line-tests/{id}",
                handler=self.end,
                summary="End a test.",
                scope=None,
                status=204,
                problems=gone,
            ),
        ]

    async def stop(self) -> None:
        """End every test."""
        self._tests.close_all()

    async def begin(self, request: web.Request) -> web.Response:
        """201 with the ways to try."""
        form = await read_json(request, BeginLineTest)
        try:
            self._check_who(request, form)
            self._admission.require_open(request)
            test = self._new(self._source_of(request))
        except Problem as problem:
            self._begun.labels(result=problem.code).inc()
            raise
        self._begun.labels(result="begun").inc()
        begun = LineTestBegun(
            id=test.id,
            ways=[*(Way(name=name) for name in self._direct), *_relays(self._ice_servers())],
            seconds=DURATION_S,
            messages_per_second=MESSAGES_PER_SECOND,
            message_bytes=MESSAGE_BYTES,
        )
        return json_answer(LineTestBegun, begun, status=201)

    async def connect(self, request: web.Request) -> web.Response:
        """200 with the answer to the page's offer."""
        test = self._find(request)
        offer = await read_json(request, LineOffer)
        try:
            answer = await test.connect(offer.sdp)
        except MediaServerError as error:
            raise problem_of(error) from error
        return json_answer(LineAnswer, LineAnswer(sdp=answer))

    async def end(self, request: web.Request) -> web.Response:
        """204; nothing of the test is left."""
        self._find(request).close()
        return web.Response(status=204)

    def _new(self, source: str) -> Test:
        wait_s = self._rate.take(source_prefix(source), self._clock())
        if wait_s:
            raise too_many("Too many line tests were begun from your network; please wait.", retry_after_s=wait_s)
        try:
            self._occupancy.enter(source)
        except MediaServerError as error:
            raise problem_of(error) from error
        try:
            return self._tests.begin(lambda: self._occupancy.leave(source))
        except BaseException as error:
            self._occupancy.leave(source)
            if isinstance(error, MediaServerError):
                raise problem_of(error) from error
            raise

    def _find(self, request: web.Request) -> Test:
        test = self._tests.find(request.match_info["id"])
        if test is None:
            raise Problem(404, "not-found", "There is no such test, or it is over.")
        return test

    def _check_who(self, request: web.Request, form: BeginLineTest) -> None:
        if form.entry is None:
            self._check_agent(request)
            return
        entry = self._entries.get(form.entry)
        if entry is None:
            raise Problem(404, "unknown-entry", "There is no such entry; `entries` in the configuration names them.")
        identified = form.token is not None
        try:
            if form.token is not None:
                # Seen, and not used up: the call comes later.
                self._site_tokens.verify(form.token, use_up=False)
        except TokenRefused as error:
            raise Problem(403, "token-refused", str(error)) from error
        if not (entry.origins.allow_request(request) or ("Origin" not in request.headers and identified)):
            raise Problem(403, "origin-refused", "This page may not use this entry.")
        if entry.identity_required and not identified:
            raise Problem(403, "token-refused", "This entry needs a `token` signed by the house's site.")

    def _check_agent(self, request: web.Request) -> None:
        if "Origin" in request.headers and not is_same_origin(request):
            raise Problem(403, "origin-refused", "Pages of this origin may not test an agent's line.")
        try:
            scope = self._daemon_tokens.verify_agent(bearer_token(request))
        except TokenRefused as error:
            raise unauthorized(str(error), error="invalid_token") from error
        if self._agents.profile(scope.user) is None:
            raise unauthorized("There is no such agent any more.", error="invalid_token")


def _relays(servers: tuple[IceServer, ...]) -> list[Way]:
    """A way for each protocol by which the TURN addresses (RFC 7065) are reached, in their order."""
    found: dict[str, list[IceServer]] = {}
    for server in servers:
        urls: dict[str, list[str]] = {}
        for url in server.urls:
            scheme, _, rest = url.partition(":")
            if scheme in ("turn", "turns"):
                transport = rest.partition("?transport=")[2] or "udp"
                urls.setdefault("turn-tls" if scheme == "turns" else f"turn-{transport}", []).append(url)
        for name, same in urls.items():
            found.setdefault(name, []).append(server.model_copy(update={"urls": tuple(same)}))
    return [Way(name=name, ice_servers=same) for name, same in found.items()]
