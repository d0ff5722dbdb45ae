"""Bytes to messages: one datagram, or a stream cut by Content-Length; tolerant where it is safe, bounded everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from mediaserver._engine import read_sip_head
from mediaserver.sip.config import MessageLimits
from mediaserver.sip.errors import SipParseError
from mediaserver.sip.headers import Headers, parse_number
from mediaserver.sip.message import Request, Response

PING: Final = b"\r\n\r\n"
PONG: Final = b"\r\n"


class PartialRequest(SipParseError):
    """A request that is broken but has enough for a response: `request` carries what could be read."""

    def __init__(self, message: str, *, status: int, request: Request) -> None:
        super().__init__(message, status=status)
        self.request = request


def parse_datagram(data: bytes, limits: MessageLimits) -> Request | Response:
    """A message that came in one datagram. Raises SipParseError, or PartialRequest where it can be answered."""
    if len(data) > limits.message_bytes:
        raise SipParseError("datagram is too long", status=513)
    start = 0
    while data.startswith(b"\r\n", start):
        start += 2  # RFC 3261 §7.5: empty lines before the start line
    end = data.find(b"\r\n\r\n", start)
    if end < 0:
        # Tolerant: the end of a datagram may stand for the empty line; a body would be missed by its Content-Length.
        if not data.endswith(b"\r\n"):
            raise SipParseError("no empty line after the headers")
        end = len(data) - 2
    message = parse_head(data[start:end], limits)
    body = data[end + 4 :]
    try:
        length = content_length(message.headers)
    except SipParseError as error:
        raise _partial(error, message) from error
    if length is None:
        length = len(body)
    if length > len(body):
        # §18.3: a datagram that ends before the body does.
        raise _partial(SipParseError("body is shorter than Content-Length"), message)
    message.body = body[:length]  # §18.3: bytes beyond it are dropped (RFC 4475 §3.1.1.11 dblreq)
    if length > limits.body_bytes:
        raise _partial(SipParseError("body is too long", status=413), message)
    return message


def _partial(error: SipParseError, message: Request | Response) -> SipParseError:
    if isinstance(message, Request):
        return PartialRequest(str(error), status=error.status or 400, request=message)
    return error


def content_length(headers: Headers) -> int | None:
    """Content-Length, None when absent. Raises SipParseError when it is broken or said twice differently."""
    values = {value.strip() for value in headers.all("Content-Length")}
    if not values:
        return None
    if len(values) > 1:
        raise SipParseError("two different Content-Lengths")  # RFC 4475 §3.3.9
    return parse_number(values.pop(), "Content-Length", 2**31 - 1)


def parse_head(data: bytes, limits: MessageLimits) -> Request | Response:
    """Start line and headers, without the empty line. Raises SipParseError or PartialRequest."""
    method, text, code, fields, problem = read_sip_head(data, limits.headers, limits.header_bytes)
    headers = Headers.from_canonical(fields)
    if method is None:
        return Response(code, text, headers)
    request = Request(method, text, headers)
    if problem is not None:
        reason, status = problem
        raise PartialRequest(reason, status=status, request=request)
    return request


class StreamFramer:
    """Cuts a byte stream into messages (RFC 3261 §18.3) and keep-alives (RFC 5626 §3.5.1); memory is bounded.

    After `feed` raised, the stream is out of step and must be closed.
    """

    __slots__ = ("_buffer", "_head", "_length", "_limits", "_raw_head", "_scan", "body", "pong_awaited")

    def __init__(self, limits: MessageLimits) -> None:
        self._limits = limits
        self._buffer = bytearray()
        self._scan = 0
        self._head: Request | Response | PartialRequest | None = None
        self._length = 0
        self._raw_head = b""
        self.body = b""
        """Of the message that `feed` yielded last."""
        self.pong_awaited = False
        """We sent a ping: the next single CRLF is the answer to it, and not half a ping."""

    @property
    def raw(self) -> bytes:
        """The message that `feed` yielded last, as it came."""
        return self._raw_head + b"\r\n\r\n" + self.body

    @property
    def in_message(self) -> bool:
        """True while a message has begun and is not complete."""
        buffer = self._buffer
        # A stray CRLF is no message: some phones keep their connection alive with one at a time.
        return self._head is not None or len(buffer) >= len(PING) or bool(buffer.strip(b"\r\n"))

    def feed(self, data: bytes) -> Iterator[Request | Response | bytes | PartialRequest]:
        """Take bytes in. Yields messages, `PING` (answer it with `PONG`), `PONG`, and PartialRequest for a broken request

        that was cut out whole. Raises SipParseError, or PartialRequest where the last request can still be answered.
        """
        self._buffer += data
        while True:
            if self.pong_awaited and self._head is None and self._buffer.startswith(PONG):
                del self._buffer[: len(PONG)]
                self.pong_awaited, self._scan = False, 0
                yield PONG
            if self._head is None and not self._read_head():
                return
            if self._head is None:
                yield PING
                continue
            if len(self._buffer) < self._length:
                return
            self.body = body = bytes(self._buffer[: self._length])
            del self._buffer[: self._length]
            head, self._head = self._head, None
            if isinstance(head, PartialRequest):
                head.request.body = body
                yield head
            else:
                head.body = body
                yield head

    def _read_head(self) -> bool:
        """Try to take a head off the buffer. True when there was one, or a ping (then `_head` stays None)."""
        buffer = self._buffer
        empty = 0
        while buffer.startswith(b"\r\n", empty):
            empty += 2
        if empty:
            if empty >= len(PING):
                del buffer[: empty - empty % len(PING)]
                return True
            if len(buffer) == empty or buffer[empty:] == b"\r":
                return False  # half a ping, or an empty line before a message
            del buffer[:empty]
            self._scan = 0
        limit = self._limits.message_bytes
        end = buffer.find(b"\r\n\r\n", max(0, self._scan - 3))
        if end < 0:
            self._scan = len(buffer)
            if len(buffer) > limit:
                raise SipParseError("headers are too long", status=513)
            return False
        if end > limit:
            raise SipParseError("headers are too long", status=513)
        head = bytes(buffer[:end])
        del buffer[: end + 4]
        self._scan = 0
        self._raw_head = head
        self._take(head)
        return True

    def _take(self, head: bytes) -> None:
        message: Request | Response
        error: PartialRequest | None = None
        try:
            message = parse_head(head, self._limits)
        except PartialRequest as problem:
            message, error = problem.request, problem
        try:
            length = content_length(message.headers)
            # §20.14: it must be there on streams; some peers leave it out where there is no body.
            length = length or 0
        except SipParseError as problem:
            raise _partial(problem, message) from problem
        if length > self._limits.body_bytes:
            raise _partial(SipParseError("body is too long", status=413), message)
        self._length = length
        self._head = error if error is not None else message
