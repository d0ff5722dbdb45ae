"""`/v1/registrations` on the administration's listener: which devices are registered, and signing them off."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

from aiohttp import web
from pydantic import BaseModel, ConfigDict, StringConstraints

from mediaserver.api.auth import AdminAuth
from mediaserver.api.operation import Operation, json_answer, read_query, routes
from mediaserver.api.problem import Problem
from mediaserver.sip.flow import Flow, bracketed
from mediaserver.sip.location import Binding

MAX_PAGE = 1_000


class Registration(BaseModel):
    """One device of an address of record."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)
    aor: str
    contact: str
    source: str
    transport: str
    expires_in_s: int
    q: float
    instance: str | None
    path: list[str]
    user_agent: str | None
    certificate: str | None
    """SHA-256 of the client certificate that its connection has shown; `/v1/revoked-certificates` takes it."""


class RegistrationList(BaseModel):
    """The first thousand that were asked for."""

    model_config = ConfigDict(use_attribute_docstrings=True)
    items: list[Registration]
    total: int
    """How many there are."""


class RegistrationQuery(BaseModel):
    """Whose."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)
    user: Annotated[str, StringConstraints(max_length=256)] | None = None
    """A user name, or an address of record."""


class RegistrationsResource:
    """`bindings` gives every live one, `remove` signs all devices of an address of record off; `now` is their clock."""

    def __init__(
        self,
        *,
        bindings: Callable[[], Sequence[Binding]],
        remove: Callable[[str], bool],
        now: Callable[[], float],
        admin: AdminAuth,
        certificate_of: Callable[[Flow], str | None] = lambda _: None,
    ) -> None:
        self._bindings = bindings
        self._remove = remove
        self._now = now
        self._certificate_of = certificate_of
        self._admin = admin

    def operations(self) -> list[Operation]:
        """Everything about registrations."""
        return [
            Operation(
                method="GET",
                path="/v1/registrations",
                handler=self.read_all,
                summary="Devices that are registered.",
                scope="registrations:read",
                answer=RegistrationList,
                query=RegistrationQuery,
            ),
            Operation(
                method="DELETE",
                path="/v1/registrations/{aor}",
                handler=self.delete,
                summary="Sign all devices of an address of record off, until they register again.",
                scope="registrations:write",
                status=204,
                problems={404: "Nobody is registered there."},
            ),
        ]

    def routes(self) -> list[web.AbstractRouteDef]:
        """What to add to the admin application."""
        return routes(self.operations())

    async def read_all(self, request: web.Request) -> web.Response:
        """`{items, total}`; `?user=` is a user name or an address of record."""
        self._admin.require(request, "registrations:read")
        wanted = read_query(request, RegistrationQuery).user
        found = [
            binding
            for binding in self._bindings()
            if wanted is None or wanted in (binding.aor, binding.aor.partition("@")[0])
        ]
        items = [_shown(binding, self._now(), self._certificate_of(binding.flow)) for binding in found[:MAX_PAGE]]
        return json_answer(RegistrationList, RegistrationList(items=items, total=len(found)))

    async def delete(self, request: web.Request) -> web.Response:
        """Forget every device of an address of record; they come back with their next registration."""
        self._admin.require(request, "registrations:write")
        if not self._remove(request.match_info["aor"]):
            raise Problem(404, "not-found", "Nobody is registered under this address of record.")
        return web.Response(status=204)


def _shown(binding: Binding, now: float, certificate: str | None) -> Registration:
    flow = binding.flow
    return Registration(
        aor=binding.aor,
        contact=str(binding.contact),
        source=f"{bracketed(flow.remote_ip)}:{flow.remote_port}",
        transport=flow.transport,
        expires_in_s=max(0, round(binding.expires_at - now)),
        q=binding.q,
        instance=binding.instance,
        path=[str(route) for route in binding.path],
        user_agent=binding.user_agent,
        certificate=certificate,
    )
