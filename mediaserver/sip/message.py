"""Requests and responses: a start line, a header table and a body; fields are parsed when first asked for."""

from __future__ import annotations

import secrets
from typing import Any, Final

from mediaserver.sip.errors import SipParseError
from mediaserver.sip.headers import (
    CALL_ID,
    Headers,
    NameAddr,
    Via,
    parse_cseq,
    parse_name_addr,
    parse_name_addrs,
    parse_number,
    parse_tokens,
    parse_vias,
)
from mediaserver.sip.uri import SipUri, Uri, parse_uri

REASONS: Final[dict[int, str]] = {
    100: "Trying",
    180: "Ringing",
    181: "Call Is Being Forwarded",
    182: "Queued",
    183: "Session Progress",
    200: "OK",
    202: "Accepted",
    300: "Multiple Choices",
    301: "Moved Permanently",
    302: "Moved Temporarily",
    305: "Use Proxy",
    380: "Alternative Service",
    400: "Bad Request",
    401: "Unauthorized",
    402: "Payment Required",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    407: "Proxy Authentication Required",
    408: "Request Timeout",
    410: "Gone",
    413: "Request Entity Too Large",
    414: "Request-URI Too Long",
    415: "Unsupported Media Type",
    416: "Unsupported URI Scheme",
    420: "Bad Extension",
    421: "Extension Required",
    422: "Session Interval Too Small",
    423: "Interval Too Brief",
    480: "Temporarily Unavailable",
    481: "Call/Transaction Does Not Exist",
    482: "Loop Detected",
    483: "Too Many Hops",
    484: "Address Incomplete",
    485: "Ambiguous",
    486: "Busy Here",
    487: "Request Terminated",
    488: "Not Acceptable Here",
    491: "Request Pending",
    493: "Undecipherable",
    500: "Server Internal Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Server Time-out",
    505: "Version Not Supported",
    513: "Message Too Large",
    600: "Busy Everywhere",
    603: "Decline",
    604: "Does Not Exist Anywhere",
    606: "Not Acceptable",
}

MAGIC_COOKIE: Final = "z9hG4bK"


def reason_of(code: int) -> str:
    """The usual reason phrase."""
    return REASONS.get(code, "Unknown")


def new_tag() -> str:
    """A tag with 64 random bits (RFC 3261 §19.3 asks for 32)."""
    return secrets.token_hex(8)


def new_branch() -> str:
    """A branch with the magic cookie and 80 random bits (RFC 3261 §8.1.1.7)."""
    return MAGIC_COOKIE + secrets.token_hex(10)


def new_call_id() -> str:
    """A Call-ID with 128 random bits and no host name (RFC 3261 §8.1.1.4)."""
    return secrets.token_hex(16)


class Message:
    """What requests and responses share. Properties raise SipParseError where the field is missing or broken."""

    __slots__ = ("_cache", "body", "headers")

    def __init__(self, headers: Headers, body: bytes = b"") -> None:
        self.headers = headers
        self.body = body
        self._cache: dict[str, Any] = {}

    def _one(self, name: str) -> str:
        found: str | None = None
        for key, value in self.headers:
            if key == name:
                if found is not None:
                    # RFC 4475 §3.3.8: single-value fields must not be repeated.
                    raise SipParseError(f"{name} appears more than once")
                found = value
        if found is None:
            raise SipParseError(f"{name} is missing")
        return found

    @property
    def vias(self) -> tuple[Via, ...]:
        """Every Via, topmost first; at least one."""
        vias: tuple[Via, ...] | None = self._cache.get("vias")
        if vias is None:
            vias = parse_vias(self.headers.all("Via"))
            if not vias:
                raise SipParseError("Via is missing")
            self._cache["vias"] = vias
        return vias

    @property
    def via(self) -> Via:
        """The topmost Via."""
        return self.vias[0]

    def replace_top_via(self, via: Via) -> None:
        """Give the topmost Via other parameters (received, rport)."""
        vias = self.vias
        first = self.headers.get("Via") or ""
        if "," in first:
            self.headers.remove("Via")
            for other in reversed(vias[1:]):
                self.headers.insert_first("Via", str(other))
            self.headers.insert_first("Via", str(via))
        else:
            self.headers.replace_first("Via", str(via))
        self._cache["vias"] = (via, *vias[1:])

    def set_via(self, via: Via) -> None:
        """Make this the only Via, before every other field."""
        self.headers.remove("Via")
        self.headers.insert_first("Via", str(via))
        self._cache["vias"] = (via,)

    @property
    def from_(self) -> NameAddr:
        """The From field."""
        value: NameAddr | None = self._cache.get("from")
        if value is None:
            value = self._cache["from"] = parse_name_addr(self._one("From"))
        return value

    @property
    def to(self) -> NameAddr:
        """The To field."""
        value: NameAddr | None = self._cache.get("to")
        if value is None:
            value = self._cache["to"] = parse_name_addr(self._one("To"))
        return value

    @property
    def call_id(self) -> str:
        """The Call-ID."""
        value: str | None = self._cache.get("call-id")
        if value is None:
            value = self._one("Call-ID")
            if not value or not CALL_ID.issuperset(value):
                raise SipParseError("Call-ID is empty or holds a wrong character")
            self._cache["call-id"] = value
        return value

    @property
    def cseq(self) -> tuple[int, str]:
        """CSeq number and method."""
        value: tuple[int, str] | None = self._cache.get("cseq")
        if value is None:
            value = self._cache["cseq"] = parse_cseq(self._one("CSeq"))
        return value

    @property
    def contacts(self) -> tuple[NameAddr, ...]:
        """Contact entries in order; a `*` is not an entry (see `contact_is_star`)."""
        value: tuple[NameAddr, ...] | None = self._cache.get("contacts")
        if value is None:
            value = parse_name_addrs([v for v in self.headers.all("Contact") if v.strip() != "*"])
            self._cache["contacts"] = value
        return value

    @property
    def contact_is_star(self) -> bool:
        """True when a Contact field is just `*` (RFC 3261 §10.2.2)."""
        return any(value.strip() == "*" for value in self.headers.all("Contact"))

    @property
    def record_routes(self) -> tuple[NameAddr, ...]:
        """Record-Route entries, topmost first."""
        return parse_name_addrs(self.headers.all("Record-Route"))

    def tokens(self, name: str) -> tuple[str, ...]:
        """Entries of a token list field such as Require or Allow."""
        return parse_tokens(self.headers.all(name))

    @property
    def content_type(self) -> str | None:
        """Media type in lower case without parameters; None when absent."""
        value = self.headers.get("Content-Type")
        return None if value is None else value.partition(";")[0].replace(" ", "").lower()

    def _start_line(self) -> str:
        raise AssertionError("Message itself has no start line")

    def encode(self) -> bytes:
        """The message as it goes on the wire; Content-Length is always written and right."""
        out = [self._start_line()]
        for name, value in self.headers:
            if name != "Content-Length":
                out.append(f"{name}: {value}")
        out.append(f"Content-Length: {len(self.body)}\r\n\r\n")
        return "\r\n".join(out).encode("utf-8", "surrogateescape") + self.body


class Request(Message):
    """A request. `uri_text` is the Request-URI as it stands on the wire."""

    __slots__ = ("method", "uri_text")

    def __init__(self, method: str, uri: Uri | str, headers: Headers, body: bytes = b"") -> None:
        super().__init__(headers, body)
        self.method = method
        self.uri_text = uri if isinstance(uri, str) else str(uri)

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.uri_text}>"

    def _start_line(self) -> str:
        return f"{self.method} {self.uri_text} SIP/2.0"

    @property
    def uri(self) -> Uri:
        """The Request-URI parsed."""
        uri: Uri | None = self._cache.get("uri")
        if uri is None:
            uri = self._cache["uri"] = parse_uri(self.uri_text)
        return uri

    @property
    def sip_uri(self) -> SipUri:
        """The Request-URI where it must be sip: or sips:. Raises SipParseError with 416 otherwise."""
        uri = self.uri
        if not isinstance(uri, SipUri):
            raise SipParseError(f"URI scheme {uri.scheme} is not supported", status=416)
        return uri

    @property
    def routes(self) -> tuple[NameAddr, ...]:
        """Route entries, topmost first."""
        return parse_name_addrs(self.headers.all("Route"))

    @property
    def max_forwards(self) -> int | None:
        """Max-Forwards, 0 to 255; None when absent."""
        value = self.headers.get("Max-Forwards")
        return None if value is None else parse_number(self._one("Max-Forwards"), "Max-Forwards", 255)

    def check(self) -> None:
        """Check what every request must have (RFC 3261 §8.1.1). Raises SipParseError with the status to answer."""
        vias = self.vias
        if vias[0].version != "2.0":
            raise SipParseError("Via version is not 2.0", status=505)
        # Only the first field and the values of From and To are needed to answer; the rest follows.
        self.from_, self.to, self.call_id  # noqa: B018
        if self.cseq[1] != self.method:
            raise SipParseError("CSeq method differs from the request's")
        self.max_forwards  # noqa: B018
        self.uri  # noqa: B018


class Response(Message):
    """A response."""

    __slots__ = ("code", "reason")

    def __init__(self, code: int, reason: str, headers: Headers, body: bytes = b"") -> None:
        super().__init__(headers, body)
        self.code = code
        self.reason = reason

    def __repr__(self) -> str:
        return f"<Response {self.code} {self.reason}>"

    def _start_line(self) -> str:
        return f"SIP/2.0 {self.code} {self.reason}"

    def check(self) -> None:
        """Check what every response must have. Raises SipParseError; the response is then dropped."""
        self.vias, self.from_, self.to, self.call_id, self.cseq  # noqa: B018


def make_response(
    request: Request,
    code: int,
    reason: str | None = None,
    *,
    to_tag: str | None = None,
    headers: tuple[tuple[str, str], ...] | list[tuple[str, str]] = (),
    body: bytes = b"",
) -> Response:
    """A response with the fields that are copied from the request (RFC 3261 §8.2.6.2). `to_tag` is added if missing."""
    items: list[tuple[str, str]] = [item for item in request.headers if item[0] == "Via"]
    items.append(("From", request.headers.get("From") or ""))
    to = request.headers.get("To") or ""
    if to_tag is not None and code > 100 and request.to.tag is None:
        to = f"{to};tag={to_tag}"
    items.append(("To", to))
    items.append(("Call-ID", request.headers.get("Call-ID") or ""))
    items.append(("CSeq", request.headers.get("CSeq") or ""))
    if code == 100 and (timestamp := request.headers.get("Timestamp")) is not None:
        items.append(("Timestamp", timestamp))
    if 100 < code < 300:
        items.extend(item for item in request.headers if item[0] == "Record-Route")
    table = Headers.from_canonical(items)
    for name, value in headers:
        table.add(name, value)
    return Response(code, reason or reason_of(code), table, body)
