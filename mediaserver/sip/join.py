"""The dialog that a caller wants to be a third party to (RFC 3911)."""

from __future__ import annotations

from mediaserver.sip.dialog_name import DialogName, parse_dialog_name
from mediaserver.sip.errors import SipParseError
from mediaserver.sip.headers import Headers, split_list


def join_of(headers: Headers) -> DialogName | None:
    """What the Join of an INVITE names; None where it has none.

    Raises SipParseError (400) for one that cannot be read, for several, and beside a Replaces (§4): a call cannot come
    into another one and take a place in it.
    """
    values = headers.all("Join")
    if not values:
        return None
    if len(values) > 1 or len(split_list(values[0], ",")) > 1:
        raise SipParseError("an INVITE has one Join at most")
    if "Replaces" in headers:
        raise SipParseError("Join and Replaces contradict each other")
    return parse_dialog_name(values[0], "Join")[0]
