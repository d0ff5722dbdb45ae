"""Errors on the web side as problem details (RFC 9457): what is wrong, and what would be right."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus

import structlog
from aiohttp import web

from mediaserver.call.signaling import AttributesRefused, RoomBusy, StaleEtag, UnknownEntry, UnknownRoom
from mediaserver.contact.refusals import NotFound, NotNow, Undeliverable
from mediaserver.errors import InsufficientBandwidth, LimitExceeded, MediaServerError, NegotiationError, ProtocolError
from mediaserver.store.records import StoreError

PROBLEM_JSON = "application/problem+json"
TYPE_PREFIX = "urn:mediaserver:problem:"

log = structlog.get_logger()

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Problem(Exception):
    """An answer with a 4xx or 5xx status.

    `code` is the stable, machine-readable name (the last part of the problem's `type`), `detail` a sentence for the
    person who made the request; `members` are extension members of the JSON object (RFC 9457 §3.2).
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        **members: object,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = dict(headers or {})
        self.members = members

    def response(self) -> web.Response:
        """The HTTP response that says it."""
        body = {
            "type": TYPE_PREFIX + self.code,
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            **self.members,
        }
        headers = {"Cache-Control": "no-store", **self.headers}
        return web.Response(status=self.status, text=json.dumps(body), content_type=PROBLEM_JSON, headers=headers)


def too_many(detail: str, *, code: str = "too-many-requests", retry_after_s: float = 1.0) -> Problem:
    """429 with the whole seconds after which another try makes sense (RFC 6585 §4)."""
    return Problem(429, code, detail, headers={"Retry-After": str(max(1, round(retry_after_s)))})


def problem_of(error: MediaServerError) -> Problem:
    """What an error of a lower layer means over HTTP."""
    match error:
        case InsufficientBandwidth():
            # RFC 9110 §15.6.4: it will pass. The twin of SIP's 488 with Warning 370; which line is full stays inside.
            return Problem(503, "insufficient-bandwidth", str(error), headers={"Retry-After": "10"}, warning_code=370)
        case AttributesRefused():
            return Problem(422, "attributes-refused", str(error), limit=error.limit)
        case LimitExceeded():
            return too_many(str(error), code="limit-reached", retry_after_s=10)
        case UnknownEntry() | UnknownRoom():
            return Problem(404, "not-found", str(error))
        case NotFound():
            return Problem(404, "not-found", str(error))
        case NotNow():
            return Problem(409, "not-now", str(error))
        case Undeliverable():
            return Problem(422, "undeliverable", str(error), sip_status=error.code)
        case StoreError():
            log.error("store_failed", error=str(error))
            return Problem(503, "store-failed", "What is kept cannot be read.", headers={"Retry-After": "10"})
        case RoomBusy():
            return Problem(409, "room-busy", str(error))
        case StaleEtag():
            return Problem(412, "stale-etag", str(error))
        case NegotiationError():
            # RFC 9725 §4.4.2: an offer that cannot be served is 422.
            return Problem(422, "no-common-media", str(error), warning_code=error.warning_code)
        case ProtocolError():
            status = error.status if error.status is not None and 400 <= error.status < 500 else 400
            return Problem(status if status in HTTPStatus._value2member_map_ else 400, "bad-request", str(error))
        case _:
            # Other families (an SDP that cannot be parsed, for instance) carry a sentence made for the sender.
            return Problem(400, "bad-request", str(error))


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn everything raised below into problem+json; nothing of an unexpected error's text leaves the house."""
    try:
        return await handler(request)
    except Problem as problem:
        return problem.response()
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return _from_aiohttp(request, error).response()
    except MediaServerError as error:
        return problem_of(error).response()
    except Exception:
        log.exception("request_failed", method=request.method, path=request.path)
        return Problem(500, "internal", "The server made a mistake; it has been logged.").response()


def _from_aiohttp(request: web.Request, error: web.HTTPException) -> Problem:
    match error:
        case web.HTTPNotFound():
            return Problem(404, "not-found", f"There is nothing at {request.path}.")
        case web.HTTPMethodNotAllowed():
            allowed = ", ".join(sorted(error.allowed_methods))
            detail = f"{request.method} is not possible here; possible is {allowed}."
            return Problem(405, "method-not-allowed", detail, headers={"Allow": allowed})
        case web.HTTPRequestEntityTooLarge():
            return Problem(413, "too-large", "The body is larger than this resource takes.")
        case _:
            return Problem(error.status, "http-error", error.reason or HTTPStatus(error.status).phrase)
