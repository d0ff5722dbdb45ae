"""`/v1/contacts`: contacts that are open, for software of the house; those that are over are at `/v1/records`."""

from __future__ import annotations

from aiohttp import web

from mediaserver.api.auth import AdminAuth
from mediaserver.api.call_messages import ContactPage, PageQuery
from mediaserver.api.calls import part
from mediaserver.api.operation import Operation, json_answer, read_query, routes
from mediaserver.api.problem import Problem
from mediaserver.contact.call_control import CallControl
from mediaserver.contact.call_view import ContactView


class ContactsResource:
    """Reads need `contacts:read`."""

    def __init__(self, *, control: CallControl, admin: AdminAuth) -> None:
        self._control = control
        self._admin = admin

    def operations(self) -> list[Operation]:
        """Everything about contacts."""
        return [
            Operation(
                method="GET",
                path="/v1/contacts",
                handler=self.read_all,
                summary="Contacts that are open.",
                scope="contacts:read",
                answer=ContactPage,
                query=PageQuery,
            ),
            Operation(
                method="GET",
                path="/v1/contacts/{contact}",
                handler=self.read_one,
                summary="One contact that is open.",
                scope="contacts:read",
                answer=ContactView,
                problems={404: "It is over, or was never here."},
            ),
        ]

    def routes(self) -> list[web.AbstractRouteDef]:
        """What to add to the admin application."""
        return routes(self.operations())

    async def read_all(self, request: web.Request) -> web.Response:
        """A part of the list."""
        self._admin.require(request, "contacts:read")
        items, following = part(self._control.contacts(), read_query(request, PageQuery))
        return json_answer(ContactPage, ContactPage.model_construct(items=items, next=following))

    async def read_one(self, request: web.Request) -> web.Response:
        """One."""
        self._admin.require(request, "contacts:read")
        found = self._control.contact(request.match_info["contact"])
        if found is None:
            raise Problem(404, "not-found", "There is no such contact; what is kept of one that is over is a record.")
        return json_answer(ContactView, found)
