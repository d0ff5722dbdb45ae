"""Reads request bodies: bounded in size and time, of the right content type, into models."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from mediaserver.api.problem import Problem

BODY_TIMEOUT_S = 10.0
MAX_JSON_BYTES = 16_384

Model = TypeVar("Model", bound=BaseModel)


async def read_text(request: web.Request, *, content_type: str, max_bytes: int) -> str:
    """The body as text. Raises 415 (another type), 413 (too large), 408 (too slow) or 400 (not UTF-8, empty)."""
    if request.content_type.lower() != content_type:
        raise Problem(
            415,
            "unsupported-media-type",
            f"Send `Content-Type: {content_type}`, not {request.content_type}.",
            headers={"Accept-Post" if request.method == "POST" else "Accept-Patch": content_type},
        )
    if request.content_length is not None and request.content_length > max_bytes:
        raise Problem(413, "too-large", f"The body may have at most {max_bytes} bytes.")
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > max_bytes:
                    raise Problem(413, "too-large", f"The body may have at most {max_bytes} bytes.")
    except TimeoutError:
        raise Problem(408, "too-slow", "The body did not come in time.", headers={"Connection": "close"}) from None
    if not body:
        raise Problem(400, "empty-body", f"The body must not be empty; send {content_type}.")
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        raise Problem(400, "not-utf-8", "The body must be UTF-8.") from None


async def read_json(request: web.Request, model: type[Model]) -> Model:
    """The JSON body as `model`; 422 names each member that is wrong, and never repeats a value."""
    return parse_json(await read_text(request, content_type="application/json", max_bytes=MAX_JSON_BYTES), model)


def parse_json(text: str, model: type[Model]) -> Model:
    """`text` as `model`; see `read_json`."""
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        found = [
            {"pointer": "#/" + "/".join(str(part)[:64] for part in item["loc"]), "detail": item["msg"]}
            for item in error.errors(include_url=False, include_context=False, include_input=False)[:10]
        ]
        sentence = "; ".join(f"{item['pointer']}: {item['detail']}" for item in found)
        raise Problem(422, "invalid-body", f"The body is not as it must be: {sentence}.", errors=found) from None
