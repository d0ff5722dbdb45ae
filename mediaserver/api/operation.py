"""One operation of the API: its route, and everything that the OpenAPI document says of it, in one place."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, Literal, TypeVar

from aiohttp import web
from pydantic import BaseModel, TypeAdapter, ValidationError

from mediaserver.api.auth import Scope
from mediaserver.api.problem import Problem

JSON: Final = "application/json"
MERGE_PATCH: Final = "application/merge-patch+json"
_Q = TypeVar("_Q", bound=BaseModel)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """`scope` None is open to everybody, `admin` to the admin token alone; whoever handles it holds to that."""

    method: Literal["GET", "POST", "PATCH", "DELETE"]
    path: str
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    summary: str
    scope: Scope | Literal["admin"] | None
    status: int = 200
    answer: Any = None
    """Type of the body of the good answer: a pydantic model, a dataclass or a msgspec struct; None is no body."""
    media_type: str = JSON
    """Of the good answer."""
    answer_headers: Mapping[str, str] = field(default_factory=dict)
    """Header fields of the good answer, with what they say."""
    also: Mapping[int, str] = field(default_factory=dict)
    """Other good answers, which have no body, by status."""
    bearer: Literal["agent", "room"] | None = None
    """Another bearer token than those with scopes: an agent's of sign-in, or one for a room."""
    body: type[BaseModel | str] | None = None
    body_types: tuple[str, ...] = (JSON,)
    query: type[BaseModel] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    """Header fields that may be sent, with what they are for."""
    problems: Mapping[int, str] = field(default_factory=dict)
    """What can go wrong beside the usual, by status."""

    def route(self) -> web.RouteDef:
        """What to add to an application."""
        return web.route(self.method, self.path, self.handler)


def routes(operations: list[Operation]) -> list[web.AbstractRouteDef]:
    """The routes of several."""
    return [operation.route() for operation in operations]


@lru_cache(maxsize=64)
def adapter(type_: Any) -> TypeAdapter[Any]:
    """Writes values of a type as JSON, and knows its schema."""
    return TypeAdapter(type_)


def json_answer(type_: Any, value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """`value` of `type_` as the body of an answer that nobody keeps."""
    text = adapter(type_).dump_json(value).decode()
    return web.Response(
        status=status, text=text, content_type=JSON, headers={"Cache-Control": "no-store", **(headers or {})}
    )


def read_query(request: web.Request, model: type[_Q]) -> _Q:
    """The query as a model; 400 names each parameter that is wrong or unknown, and never repeats a value."""
    given = request.query
    repeated = [name for name in set(given) if len(given.getall(name)) > 1]
    if repeated:
        raise Problem(400, "invalid-query", "A parameter of the query is given twice.")
    try:
        return model.model_validate(dict(given))
    except ValidationError as error:
        found = [
            {"parameter": "/".join(str(part)[:64] for part in item["loc"]), "detail": item["msg"]}
            for item in error.errors(include_url=False, include_context=False, include_input=False)[:10]
        ]
        sentence = "; ".join(f"{item['parameter']}: {item['detail']}" for item in found)
        raise Problem(400, "invalid-query", f"The query is not as it must be: {sentence}.", errors=found) from None
