"""`/v1/openapi.json`: the API as an OpenAPI 3.1 document, made from its operations and their models."""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, Final, Protocol

import msgspec
from aiohttp import web
from pydantic import BaseModel, ConfigDict

from mediaserver.api.auth import SCOPES
from mediaserver.api.operation import JSON, Operation, adapter
from mediaserver.api.problem import PROBLEM_JSON

VERSION: Final = "1.0"
"""Of the API, not of the daemon: what is added raises its second part, what would break its users its first."""
_ABOUT: Final = (
    "Software of the house makes calls, sees them, acts in them and hears what happens. Errors are problem details "
    "(RFC 9457)."
)
_PUBLIC_ABOUT: Final = (
    "What browsers, encoders and viewers use: entries, the sign-in of agents, the WebSocket session, WHIP (RFC 9725) and "
    "WHEP. Errors are problem details (RFC 9457)."
)
_BEARERS: Final = {
    "agent": "A token of `POST /v1/agents/sign-in`.",
    "room": "A token for a room, made by the administration listener.",
}
"""Tokens that have no scopes, by the name of their security scheme."""
_REF: Final = "#/components/schemas/{model}"
_PARAMETER: Final = re.compile(r"\{(\w+)(?::((?:[^{}]|\{[^{}]*\})+))?\}")


class Described(Protocol):
    """A resource that knows its operations."""

    def operations(self) -> list[Operation]:
        """All of them."""

    def routes(self) -> list[web.AbstractRouteDef]:
        """Their routes."""


class ProblemDetails(BaseModel):
    """What went wrong (RFC 9457). `type` is stable; more members may follow."""

    model_config = ConfigDict(extra="allow", use_attribute_docstrings=True)
    type: str
    """`urn:mediaserver:problem:` and a name."""
    title: str
    status: int
    detail: str
    """A sentence for whoever made the request."""


_USUAL: Final = {
    400: "The request cannot be understood.",
    401: "There is no valid token.",
    403: "The token lacks the scope.",
    408: "The body did not come in time.",
    413: "The body is too large.",
    415: "The body is of another type.",
    422: "The body is not as it must be.",
    429: "Too many requests, or a limit is reached; `Retry-After` says when to come again.",
}


def document(operations: Iterable[Operation], *, public: bool = False, prefix: str = "") -> dict[str, Any]:
    """The document of the administration's listener, or of the `public` one; equal operations give an equal one. All paths
    are beneath `prefix`."""
    schemas = _Schemas()
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        path = _PARAMETER.sub(r"{\1}", operation.path)
        paths.setdefault(path, {})[operation.method.lower()] = _operation(operation, schemas)
    return {
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "info": {"title": "mediaserver", "version": VERSION, "description": _PUBLIC_ABOUT if public else _ABOUT},
        **({"servers": [{"url": prefix}]} if prefix else {}),
        "paths": paths,
        "components": {"schemas": schemas.components, "securitySchemes": _schemes(public=public)},
    }


def _schemes(*, public: bool) -> dict[str, Any]:
    scopes = "; ".join(f"`{name}`: {text}" for name, text in SCOPES.items())
    token = f"A token of `POST /v1/api-tokens`, or the admin token, which has every scope. Scopes: {scopes}."
    bearers = _BEARERS if public else {"token": token}
    return {name: {"type": "http", "scheme": "bearer", "description": text} for name, text in bearers.items()}


class OpenApiResource:
    """Serves the document of other resources, and of itself."""

    def __init__(self, operations: Iterable[Operation], *, public: bool = False, prefix: str = "") -> None:
        own = Operation(
            method="GET",
            path="/v1/openapi.json",
            handler=self.read,
            summary="This document.",
            scope=None,
            answer=dict[str, Any],
        )
        self._own = own
        found = document([*operations, own], public=public, prefix=prefix)
        self._text = msgspec.json.encode(found).decode()

    def routes(self) -> list[web.AbstractRouteDef]:
        """What to add to an application."""
        return [self._own.route()]

    async def read(self, _request: web.Request) -> web.Response:
        """The document."""
        return web.Response(text=self._text, content_type=JSON, headers={"Cache-Control": "no-cache"})


class _Schemas:
    """Collects what models refer to."""

    def __init__(self) -> None:
        self.components: dict[str, Any] = {}

    def of(self, type_: Any, *, answer: bool) -> dict[str, Any]:
        """Schema of a type as it is written (`answer`) or read; models of its own are referred to."""
        if isinstance(type_, type) and issubclass(type_, msgspec.Struct):
            (found,), parts = msgspec.json.schema_components([type_], ref_template=_REF.replace("{model}", "{name}"))
            self.components.update(parts)
            return dict(found)
        found = adapter(type_).json_schema(
            ref_template=_REF, mode="serialization" if answer else "validation", by_alias=True
        )
        self.components.update(found.pop("$defs", {}))
        name = found.get("title")
        if isinstance(name, str) and found.get("type") == "object" and isinstance(type_, type):
            self.components[name] = found
            return {"$ref": _REF.format(model=name)}
        return found


def _operation(operation: Operation, schemas: _Schemas) -> dict[str, Any]:
    parameters = [*_path_parameters(operation), *_query_parameters(operation, schemas)]
    parameters += [
        {"name": name, "in": "header", "required": False, "description": text, "schema": {"type": "string"}}
        for name, text in operation.headers.items()
    ]
    described: dict[str, Any] = {
        "operationId": _operation_id(operation),
        "summary": operation.summary,
        "responses": _responses(operation, schemas),
    }
    if parameters:
        described["parameters"] = parameters
    if operation.body is not None:
        schema = schemas.of(operation.body, answer=False)
        described["requestBody"] = {
            "required": True,
            "content": {media_type: {"schema": schema} for media_type in operation.body_types},
        }
    if operation.scope is not None:
        # OpenAPI 3.1 §4.8.30: for schemes other than OAuth the list may name roles, which here are scopes.
        described["security"] = [{"token": [operation.scope]}]
        described["x-scope"] = operation.scope
    elif operation.bearer is not None:
        described["security"] = [{operation.bearer: []}]
    return described


def _operation_id(operation: Operation) -> str:
    words = re.findall(r"\w+", _PARAMETER.sub(r"by_\1", operation.path))
    return "_".join([operation.method.lower(), *words[1:]])


def _path_parameters(operation: Operation) -> list[dict[str, Any]]:
    found = []
    for name, pattern in _PARAMETER.findall(operation.path):
        schema = {"type": "string", "minLength": 1} | ({"pattern": f"^{pattern}$"} if pattern else {})
        found.append({"name": name, "in": "path", "required": True, "schema": schema})
    return found


def _query_parameters(operation: Operation, schemas: _Schemas) -> list[dict[str, Any]]:
    if operation.query is None:
        return []
    schema = adapter(operation.query).json_schema(ref_template=_REF)
    required = schema.get("required", ())
    found = []
    for name, described in schema.get("properties", {}).items():
        parameter = {"name": name, "in": "query", "required": name in required, "schema": described}
        if "description" in described:
            parameter["description"] = described["description"]
        found.append(parameter)
    return found


def _responses(operation: Operation, schemas: _Schemas) -> dict[str, Any]:
    good: dict[str, Any] = {"description": HTTPStatus(operation.status).phrase}
    if operation.answer is not None:
        schema = schemas.of(operation.answer, answer=True)
        good["content"] = {operation.media_type: {"schema": schema}}
    if operation.answer_headers:
        good["headers"] = {
            name: {"description": text, "schema": {"type": "string"}} for name, text in operation.answer_headers.items()
        }
    responses: dict[str, Any] = {str(operation.status): good}
    responses |= {str(status): {"description": text} for status, text in operation.also.items()}
    for status, text in sorted(_problems(operation).items()):
        responses[str(status)] = {
            "description": text,
            "content": {PROBLEM_JSON: {"schema": schemas.of(ProblemDetails, answer=True)}},
        }
    return responses


def _problems(operation: Operation) -> dict[int, str]:
    usual = {400, 429}
    if operation.scope is not None or operation.bearer is not None:
        usual |= {401, 403}
    if operation.body is not None:
        usual |= {408, 413, 415, 422}
    return {**{status: _USUAL[status] for status in usual}, **operation.problems}
