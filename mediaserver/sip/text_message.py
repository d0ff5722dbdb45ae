"""Texts by MESSAGE (RFC 3428): what of one is taken, and one of ours in or beside a dialog."""

from __future__ import annotations

from typing import Final

from mediaserver.sip.attempt import Attempt
from mediaserver.sip.credentials import Credentials
from mediaserver.sip.dialog import Dialog
from mediaserver.sip.errors import SipParseError
from mediaserver.sip.headers import Headers, NameAddr, split_list, unquote_string
from mediaserver.sip.message import Message, Request, new_call_id, new_tag
from mediaserver.sip.standalone import Standalone

TEXT: Final = "text/plain"
MOST_BYTES: Final = 4_000
"""A thousand characters of any script."""
_PLAIN_CHARSETS: Final = frozenset({"", "utf-8", "us-ascii"})


def text_of(message: Message) -> str:
    """The text of a MESSAGE. Raises SipParseError: 415 for another kind of body, 413 for too much, 400 for no UTF-8."""
    if message.headers.get("Content-Encoding") not in (None, "identity"):
        raise SipParseError("Content-Encoding is not supported", status=415)
    if message.body and (message.content_type != TEXT or _charset(message) not in _PLAIN_CHARSETS):
        raise SipParseError("body is not text/plain in UTF-8", status=415)
    if len(message.body) > MOST_BYTES:
        raise SipParseError(f"text is longer than {MOST_BYTES} bytes", status=413)
    try:
        return message.body.decode()
    except UnicodeDecodeError as error:
        raise SipParseError("text is not UTF-8") from error


def text_attempt(dialog: Dialog, text: str, credentials: Credentials | None) -> Attempt:
    """A MESSAGE to the other end of a dialog, cut to what may be sent.

    Beside the dialog (RFC 3428 §4), under a Call-ID of its own: most phones know no other. Where proxies of the
    dialog must be passed, only the dialog knows the way, and it goes inside.
    """
    request = dialog.make_request("MESSAGE") if dialog.route_set else _beside(dialog)
    request.headers.add("Content-Type", f"{TEXT};charset=utf-8")
    request.body = text.encode("utf-8", "replace")[:MOST_BYTES].decode("utf-8", "ignore").encode()
    inside = dialog if dialog.route_set else None
    return Attempt(Standalone(request.call_id), request, dialog.destinations(), credentials=credentials, cseq=inside)


def _beside(dialog: Dialog) -> Request:
    table = Headers()
    table.add("Max-Forwards", "70")
    table.add("From", str(NameAddr(dialog.local.uri, dialog.local.display_name).with_tag(new_tag())))
    table.add("To", str(NameAddr(dialog.remote.uri, dialog.remote.display_name)))
    table.add("Call-ID", new_call_id())
    table.add("CSeq", "1 MESSAGE")
    return Request("MESSAGE", dialog.remote_target.without_headers(), table)


def _charset(message: Message) -> str:
    for item in split_list(message.headers.get("Content-Type") or "", ";")[1:]:
        name, _, value = item.partition("=")
        if name.strip().lower() == "charset":
            return unquote_string(value.strip()).lower()
    return ""
