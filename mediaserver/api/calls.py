"""`/v1/calls`: software of the house makes calls, sees them, and does with them what an agent could."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, TypeVar

from aiohttp import web
from pydantic import BaseModel, TypeAdapter

from mediaserver.api import call_messages as bodies
from mediaserver.api.auth import AdminAuth
from mediaserver.api.body import MAX_JSON_BYTES, parse_json, read_json, read_text
from mediaserver.api.context import Admission, EntryAccess
from mediaserver.api.idempotency import HEADER, KEPT_S, Idempotency
from mediaserver.api.operation import JSON, MERGE_PATCH, Operation, json_answer, read_query, routes
from mediaserver.api.problem import Problem
from mediaserver.contact.call_control import CallControl, Wish
from mediaserver.contact.call_view import CallView, ContactView
from mediaserver.store.outcomes import Outcome, Outcomes

_CALL: Final = "/v1/calls/{call}"
_NO_CALL: Final = {404: "There is no such call or leg."}
_WRONG_STATE: Final = {**_NO_CALL, 409: "The call is not in a state in which this is possible."}
_BRINGS_IN: Final = {
    **_WRONG_STATE,
    422: "The body is not as it must be, or the routing table takes such a call nowhere (`sip_status`).",
}
_V = TypeVar("_V", CallView, ContactView)
_B = TypeVar("_B", bound=BaseModel)


class CallsResource:
    """Reads need `calls:read`, everything else `calls:write`."""

    def __init__(
        self,
        *,
        control: CallControl,
        admin: AdminAuth,
        admission: Admission,
        clock: Callable[[], float] = time.monotonic,
        outcomes: Outcomes | None = None,
        known: Iterable[Outcome] = (),
        entries: Mapping[str, EntryAccess] | None = None,
        prefix: str = "",
    ) -> None:
        """`entries` are those that links may lead to, by name; their pages are beneath `prefix`.

        `outcomes` keeps the answers to keys over a restart, and `known` are those that it has kept."""
        self._control = control
        self._prefix = prefix
        self._entries = {} if entries is None else entries
        self._admin = admin
        self._admission = admission
        self._idempotency = Idempotency(TypeAdapter(CallView), clock=clock, store=outcomes)
        self._idempotency.restore(known)

    def operations(self) -> list[Operation]:
        """Everything about calls."""
        made = {
            409: "The contact is known already, or the first request with this key still runs.",
            404: "There is no such announcement.",
            422: "The body is not as it must be, the routing table takes such a call nowhere (`sip_status`), or the key "
            "was used for another body.",
            503: "The server is about to stop.",
        }
        key = {
            HEADER: f"Of the caller's choice; repeating it within {KEPT_S:.0f} s, also after a restart, repeats the answer, "
            "not the call."
        }
        return [
            Operation(
                method="POST",
                path="/v1/calls",
                handler=self.create,
                summary="Make a call.",
                scope="calls:write",
                status=201,
                answer=CallView,
                body=bodies.Originate,
                headers=key,
                problems=made,
            ),
            Operation(
                method="GET",
                path="/v1/calls",
                handler=self.read_all,
                summary="Calls that are there.",
                scope="calls:read",
                answer=bodies.CallPage,
                query=bodies.PageQuery,
            ),
            Operation(
                method="GET",
                path=_CALL,
                handler=self.read_one,
                summary="One call, also for a while after its end.",
                scope="calls:read",
                answer=CallView,
                problems=_NO_CALL,
            ),
            self._action("answer", self.answer, "Answer a phone that rings.", bodies.Answer),
            Operation(
                method="POST",
                path=f"{_CALL}/hangup",
                handler=self.hang_up,
                summary="End a call.",
                scope="calls:write",
                answer=CallView,
                problems=_WRONG_STATE,
            ),
            self._action("hold", self.hold, "Put a leg on hold, or resume it.", bodies.Hold),
            self._action("mute", self.mute, "Mute a leg, or let it be heard again.", bodies.Mute),
            self._action("dtmf", self.dtmf, "Press keys towards a leg.", bodies.Digits),
            self._action(
                "transfer", self.transfer, "Give a leg's place to somebody else.", bodies.Transfer, status=202
            ),
            self._action(
                "add", self.add, "Call a third party into a call.", bodies.Add, status=202, problems=_BRINGS_IN
            ),
            Operation(
                method="POST",
                path=f"{_CALL}/links",
                handler=self.link,
                summary="Make a link by which the browser of a party comes into a call that is up.",
                scope="calls:write",
                status=201,
                answer=bodies.LinkMade,
                body=bodies.Link,
                problems={**_WRONG_STATE, 422: "The body is not as it must be, or no such entry has pictures."},
            ),
            self._action(
                "supervise",
                self.supervise,
                "Let somebody listen to a call, or speak in it.",
                bodies.Supervise,
                status=202,
                problems=_BRINGS_IN,
            ),
            Operation(
                method="PATCH",
                path=f"{_CALL}/attributes",
                handler=self.change_attributes,
                summary="Change the trusted attributes of a call's contact (RFC 7396).",
                scope="calls:write",
                answer=bodies.Attributes,
                body=bodies.AttributeChanges,
                body_types=(MERGE_PATCH, JSON),
                problems=_WRONG_STATE,
            ),
        ]

    def routes(self) -> list[web.AbstractRouteDef]:
        """What to add to the admin application."""
        return routes(self.operations())

    def _action(
        self,
        name: str,
        handler: Callable[[web.Request], Awaitable[web.Response]],
        summary: str,
        body: type[BaseModel],
        *,
        status: int = 200,
        problems: dict[int, str] = _WRONG_STATE,
    ) -> Operation:
        return Operation(
            method="POST",
            path=f"{_CALL}/{name}",
            handler=handler,
            summary=summary,
            scope="calls:write",
            status=status,
            answer=CallView,
            body=body,
            problems=problems,
        )

    # -- looking -------------------------------------------------------------------------------------------------

    async def read_all(self, request: web.Request) -> web.Response:
        """A part of the list."""
        self._admin.require(request, "calls:read")
        items, following = part(self._control.calls(), read_query(request, bodies.PageQuery))
        return json_answer(bodies.CallPage, bodies.CallPage.model_construct(items=items, next=following))

    async def read_one(self, request: web.Request) -> web.Response:
        """One."""
        self._admin.require(request, "calls:read")
        return self._shown(request)

    # -- making --------------------------------------------------------------------------------------------------

    async def create(self, request: web.Request) -> web.Response:
        """201 with the call, which rings."""
        subject = self._admin.require(request, "calls:write")
        self._admission.require_open(request)
        text = await read_text(request, content_type=JSON, max_bytes=MAX_JSON_BYTES)
        wanted = parse_json(text, bodies.Originate)
        wish = Wish(
            from_=wanted.from_,
            to=wanted.to,
            name=wanted.name,
            attributes=wanted.attributes,
            contact_id=wanted.contact_id,
            video=wanted.video,
            waiting=wanted.announcement,
        )
        made = await self._idempotency.once(request, subject, text.encode(), lambda: self._control.originate(wish))
        return json_answer(CallView, made, status=201, headers={"Location": f"/v1/calls/{made.id}"})

    # -- acting --------------------------------------------------------------------------------------------------

    async def answer(self, request: web.Request) -> web.Response:
        """Answers a phone."""
        call, body = await self._asked(request, bodies.Answer)
        await self._control.answer(call, announcement=body.announcement)
        return self._shown(request)

    async def hang_up(self, request: web.Request) -> web.Response:
        """Ends it; a body is not needed."""
        self._admin.require(request, "calls:write")
        await self._control.hang_up(request.match_info["call"])
        return self._shown(request)

    async def hold(self, request: web.Request) -> web.Response:
        """On hold, or no longer."""
        call, body = await self._asked(request, bodies.Hold)
        self._control.hold(call, body.leg, on=body.on, announcement=body.announcement)
        return self._shown(request)

    async def mute(self, request: web.Request) -> web.Response:
        """Muted, or no longer."""
        call, body = await self._asked(request, bodies.Mute)
        self._control.mute(call, body.leg, body.media, on=body.on)
        return self._shown(request)

    async def dtmf(self, request: web.Request) -> web.Response:
        """Keys towards a leg."""
        call, body = await self._asked(request, bodies.Digits)
        self._control.send_digits(call, body.leg, body.digits, duration_ms=body.duration_ms)
        return self._shown(request)

    async def transfer(self, request: web.Request) -> web.Response:
        """202; the outcome is an event."""
        call, body = await self._asked(request, bodies.Transfer)
        if body.to is not None and body.to_leg is None:
            await self._control.transfer(call, body.leg, body.to)
        elif body.to_leg is not None and body.to is None:
            await self._control.transfer_to_leg(call, body.leg, body.to_leg)
        else:
            raise Problem(422, "invalid-body", "Give one of `to` and `to_leg`.")
        return self._shown(request, status=202)

    async def add(self, request: web.Request) -> web.Response:
        """202; the outcome is an event."""
        call, body = await self._asked(request, bodies.Add)
        await self._control.add(call, body.to)
        return self._shown(request, status=202)

    async def link(self, request: web.Request) -> web.Response:
        """201 with the token and where it leads."""
        call, body = await self._asked(request, bodies.Link)
        entry = self._entries.get(body.entry)
        if entry is None or entry.video == "none":
            raise Problem(422, "invalid-body", "`entry` names no entry that has pictures.")
        token, link = self._control.link(call, body.entry, leg_id=body.leg, lifetime_s=body.lifetime_s)
        made = bodies.LinkMade(
            token=token,
            path=f"{self._prefix}/call/{body.entry}#link={token}",
            leg=link.leg_id,
            expires_at=datetime.fromtimestamp(link.expires_at, UTC),
        )
        return json_answer(bodies.LinkMade, made, status=201, headers={"Cache-Control": "no-store"})

    async def supervise(self, request: web.Request) -> web.Response:
        """202; the outcome is an event."""
        call, body = await self._asked(request, bodies.Supervise)
        await self._control.supervise(call, body.by, body.mode, of=body.leg)
        return self._shown(request, status=202)

    async def change_attributes(self, request: web.Request) -> web.Response:
        """All attributes after the change."""
        self._admin.require(request, "calls:write")
        kind = request.content_type if request.content_type.lower() in (JSON, MERGE_PATCH) else MERGE_PATCH
        text = await read_text(request, content_type=kind, max_bytes=MAX_JSON_BYTES)
        changes = parse_json(text, bodies.AttributeChanges).root
        kept = self._control.change_attributes(request.match_info["call"], changes)
        return json_answer(bodies.Attributes, bodies.Attributes(attributes=dict(kept)))

    async def _asked(self, request: web.Request, model: type[_B]) -> tuple[str, _B]:
        self._admin.require(request, "calls:write")
        return request.match_info["call"], await read_json(request, model)

    def _shown(self, request: web.Request, *, status: int = 200) -> web.Response:
        return json_answer(CallView, self._control.call(request.match_info["call"]), status=status)


def part(found: Sequence[_V], query: bodies.PageQuery) -> tuple[list[_V], str | None]:
    """The items that a query asks for, and what asks for those behind them. Raises 400 for an `after` that is gone."""
    begin = 0
    if query.after is not None:
        ids = [item.id for item in found]
        if query.after not in ids:
            raise Problem(400, "invalid-query", "`after` names nothing that is here any more; begin anew without it.")
        begin = ids.index(query.after) + 1
    items = list(found[begin : begin + query.limit])
    return items, items[-1].id if begin + query.limit < len(found) else None
