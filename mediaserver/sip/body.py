"""Finds the SDP in a message body; multipart is opened one level deep, nothing else is looked into."""

from __future__ import annotations

from mediaserver.sip.errors import SipParseError
from mediaserver.sip.headers import split_list, unquote_string
from mediaserver.sip.message import Message

_MAX_PARTS = 10


def session_description(message: Message) -> bytes | None:
    """The SDP of a message, None when it has no body. Raises SipParseError(415) for a body of another kind."""
    if not message.body:
        return None
    if message.headers.get("Content-Encoding") not in (None, "identity"):
        raise SipParseError("Content-Encoding is not supported", status=415)
    kind = message.content_type
    if kind == "application/sdp":
        return message.body
    if kind is not None and kind.startswith("multipart/"):
        part = _sdp_part(message)
        if part is not None:
            return part
    raise SipParseError("body is not application/sdp", status=415)


def accepts_sdp(message: Message) -> bool:
    """False when the Accept field leaves no room for SDP in our answer (RFC 4475 §3.3.15); absent means SDP (§20.1)."""
    values = message.headers.all("Accept")
    kinds = {item.partition(";")[0].strip().lower() for value in values for item in split_list(value)}
    return not values or bool(kinds & {"application/sdp", "application/*", "*/*"})


def _sdp_part(message: Message) -> bytes | None:
    """RFC 5621 §3: the application/sdp part of a multipart body."""
    boundary = ""
    for item in split_list(message.headers.get("Content-Type") or "", ";")[1:]:
        name, _, value = item.partition("=")
        if name.strip().lower() == "boundary":
            boundary = unquote_string(value.strip())
    if not boundary or len(boundary) > 70:
        raise SipParseError("multipart body without a boundary")
    delimiter = b"--" + boundary.encode("utf-8", "surrogateescape")
    parts = (b"\r\n" + message.body).split(b"\r\n" + delimiter, _MAX_PARTS + 1)
    for part in parts[1 : _MAX_PARTS + 1]:
        if part.startswith(b"--"):
            break
        head, _, body = part.partition(b"\r\n\r\n")
        for line in head.decode("utf-8", "surrogateescape").split("\r\n"):
            name, _, value = line.partition(":")
            if name.strip().lower() == "content-type" and value.partition(";")[0].strip().lower() == "application/sdp":
                return body
    return None
