"""`/v1/agents/sign-in`: an agent proves who they are and receives a session token for the agent's WebSocket session."""

from __future__ import annotations

import asyncio
import hmac
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Final, Protocol

import structlog
from aiohttp import web
from pydantic import BaseModel, ConfigDict, StringConstraints

from mediaserver.api.auth import DaemonTokens, TokenRefused, bearer_token, unauthorized
from mediaserver.api.body import read_json
from mediaserver.api.context import Admission
from mediaserver.api.limits import RateLimit
from mediaserver.api.metrics import ApiMetrics
from mediaserver.api.operation import Operation, json_answer, routes
from mediaserver.api.origins import Origins, allow_cors, preflight
from mediaserver.api.problem import Problem, too_many
from mediaserver.api.source import SourceResolver
from mediaserver.runtime.sources import source_prefix
from mediaserver.sip.digest import ha1
from mediaserver.sip.passwords import digest_of
from mediaserver.store.records import StoreError
from mediaserver.store.revocations import Revocations

SIGN_IN_FAILURES_AT_ONCE: Final = 10
"""Wrong passwords that are forgiven before their rate counts; SIP authentication goes by the same number."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class AgentProfile:
    """An agent as the page shows them."""

    user: str
    name: str


class AgentDirectory(Protocol):
    """Where agents and their passwords are."""

    def verify(self, user: str, password: str) -> AgentProfile | None:
        """The agent, if this is their password. Takes the same time for a wrong user as for a wrong password."""

    def profile(self, user: str) -> AgentProfile | None:
        """The agent of this name, if there still is one."""


class PlainAgentDirectory:
    """Agents out of the configuration, whose passwords come from secret files."""

    def __init__(self, agents: Mapping[str, tuple[str, str]], *, realm: str = "") -> None:
        """`agents`: user -> (password or its digests for `realm`, display name)."""
        self._salt = secrets.token_bytes(32)
        self._realm = realm
        self._nobody = secrets.token_bytes(32)
        self.replace(agents)

    def replace(self, agents: Mapping[str, tuple[str, str]]) -> None:
        """Know these agents from now on; who is signed in stays so."""
        self._agents: dict[str, tuple[bytes, str]] = {}
        self._hashed: dict[str, str] = {}
        for user, (secret, name) in agents.items():
            found = digest_of(secret)
            if found is not None:
                self._hashed[user] = found[0]
            self._agents[user] = self._digest(found[1] if found is not None else secret), name

    def verify(self, user: str, password: str) -> AgentProfile | None:
        """See `AgentDirectory.verify`."""
        expected, name = self._agents.get(user, (self._nobody, ""))
        algorithm = self._hashed.get(user)
        if algorithm is not None:
            password = ha1(user, self._realm, password, algorithm)
        if not hmac.compare_digest(self._digest(password), expected) or user not in self._agents:
            return None
        return AgentProfile(user, name or user)

    def profile(self, user: str) -> AgentProfile | None:
        """See `AgentDirectory.profile`."""
        if user not in self._agents:
            return None
        return AgentProfile(user, self._agents[user][1] or user)

    def _digest(self, password: str) -> bytes:
        # Equal lengths for the comparison; the salt keeps even these out of a memory dump's dictionary attack.
        return hmac.digest(self._salt, password.encode(), "sha256")


class SignIn(BaseModel):
    """User and password."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")
    user: Annotated[str, StringConstraints(min_length=1, max_length=128)]
    password: Annotated[str, StringConstraints(min_length=1, max_length=1024)]


class SignedIn(BaseModel):
    """An agent who may open a session."""

    token: str
    expires_at: int
    """Seconds since 1970."""
    user: str
    name: str
    """As it is shown."""


class AgentsResource:
    """Sign-in and sign-out. Guessing is slowed down by source and by user."""

    def __init__(
        self,
        *,
        agents: AgentDirectory,
        tokens: DaemonTokens,
        admission: Admission,
        source_of: SourceResolver,
        metrics: ApiMetrics,
        revocations: Revocations | None = None,
        origins: Origins | None = None,
        clock: Callable[[], float] = time.monotonic,
        lifetime_s: float = 12 * 3600.0,
        failures_per_second: float = 10 / 60,
        failure_delay_s: float = 0.25,
    ) -> None:
        """`origins`: of pages that may sign in agents. A refused sign-in is answered after `failure_delay_s`.

        `revocations` keeps sign-outs over a restart. `failures_per_second` of one source, and as many for one user,
        beyond SIGN_IN_FAILURES_AT_ONCE; `lifetime_s` of a sign-in.
        """
        self._agents = agents
        self._tokens = tokens
        self._admission = admission
        self._source_of = source_of
        self._metrics = metrics
        self._revocations = revocations
        self._origins = origins or Origins()
        self._clock = clock
        self._failure_delay_s = failure_delay_s
        self._lifetime_s = lifetime_s
        self._by_source = RateLimit(per_second=failures_per_second, burst=SIGN_IN_FAILURES_AT_ONCE)
        self._by_user = RateLimit(per_second=failures_per_second, burst=SIGN_IN_FAILURES_AT_ONCE)

    def routes(self) -> list[web.AbstractRouteDef]:
        """What to add to the public application."""
        return [
            *routes(self.operations()),
            web.options("/v1/agents/sign-in", self.preflight),
            web.options("/v1/agents/sign-out", self.preflight),
        ]

    def operations(self) -> list[Operation]:
        """Sign-in and sign-out."""
        closed = {403: "Pages of this origin may not sign in agents."}
        return [
            Operation(
                method="POST",
                path="/v1/agents/sign-in",
                handler=self.sign_in,
                summary="Sign an agent in, by the password of the SIP user.",
                scope=None,
                status=201,
                answer=SignedIn,
                body=SignIn,
                problems={**closed, 401: "User or password is not right.", 503: "The server drains."},
            ),
            Operation(
                method="POST",
                path="/v1/agents/sign-out",
                handler=self.sign_out,
                summary="Sign an agent out: the token is refused from now on.",
                scope=None,
                bearer="agent",
                status=204,
                problems=closed,
            ),
        ]

    async def sign_in(self, request: web.Request) -> web.Response:
        """201 with `{token, expires_at, user, name}`; 401 with one text, whatever was wrong."""
        self._check_origin(request)
        self._admission.require_open(request)
        source = self._source_of(request)
        form = await read_json(request, SignIn)
        now = self._clock()
        # Only failures cost tokens, so that a busy morning behind one address locks nobody out.
        for limit, key in ((self._by_source, source_prefix(source)), (self._by_user, form.user)):
            wait_s = limit.wait(key, now)
            if wait_s:
                self._metrics.sign_ins.labels(result="limited").inc()
                raise too_many("Too many failed sign-ins; please wait.", retry_after_s=wait_s)
        profile = self._agents.verify(form.user, form.password)
        if profile is None:
            self._by_source.take(source_prefix(source), now)
            self._by_user.take(form.user, now)
            self._metrics.sign_ins.labels(result="refused").inc()
            log.warning("sign_in_refused", source=source)
            await asyncio.sleep(self._failure_delay_s)
            raise Problem(401, "sign-in-refused", "User or password is not right.")
        self._metrics.sign_ins.labels(result="accepted").inc()
        token = self._tokens.mint_agent(profile.user, lifetime_s=self._lifetime_s)
        expires_at = int(self._tokens.verify_agent(token).expires_at)
        signed_in = SignedIn(token=token, expires_at=expires_at, user=profile.user, name=profile.name)
        return json_answer(SignedIn, signed_in, status=201)

    async def sign_out(self, request: web.Request) -> web.Response:
        """204; the bearer token is refused from now on, after a restart as well."""
        self._check_origin(request)
        try:
            scope = self._tokens.verify_agent(bearer_token(request))
            self._tokens.revoke(scope)
        except TokenRefused as error:
            raise unauthorized(str(error), error="invalid_token") from error
        if self._revocations is not None:
            try:
                await self._revocations.add(scope.token_id, scope.expires_at)
            except StoreError as error:
                # The agent is signed out all the same; only a restart before `expires_at` would forget it.
                log.error("sign_out_not_kept", user=scope.user, expires_at=scope.expires_at, error=str(error))
        return web.Response(status=204)

    async def preflight(self, request: web.Request) -> web.Response:
        """CORS for an agent desktop that is served elsewhere."""
        self._check_origin(request)
        return preflight(request, methods="POST", headers="content-type, authorization")

    def _check_origin(self, request: web.Request) -> None:
        origin = request.headers.get("Origin")
        if origin is None:
            return
        if not self._origins.allow_request(request):
            raise Problem(403, "origin-refused", "Pages of this origin may not sign in agents.")
        allow_cors(request, origin)
