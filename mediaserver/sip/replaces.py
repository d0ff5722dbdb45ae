"""The dialog that a call is to take the place of (RFC 3891): its three parts, as a header and inside a URI."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote

from mediaserver.sip.dialog_name import DialogName, parse_dialog_name
from mediaserver.sip.errors import SipParseError
from mediaserver.sip.headers import Headers, split_list
from mediaserver.sip.uri import SipUri


@dataclass(frozen=True, slots=True)
class Replaces(DialogName):
    """What the header says (§3)."""

    early_only: bool = False
    """Only a call that was not answered yet may be replaced."""

    def __str__(self) -> str:
        early = ";early-only" if self.early_only else ""
        return f"{self.call_id};to-tag={self.to_tag};from-tag={self.from_tag}{early}"


def parse_replaces(text: str) -> Replaces:
    """The value of a Replaces header. Raises SipParseError (400)."""
    name, others = parse_dialog_name(text, "Replaces")
    return Replaces(name.call_id, name.to_tag, name.from_tag, "early-only" in others)


def replaces_in(headers: Headers) -> Replaces:
    """What the Replaces of an INVITE names. Raises SipParseError (400), also for several (§3)."""
    values = headers.all("Replaces")
    if len(values) != 1 or len(split_list(values[0], ",")) != 1:
        raise SipParseError("an INVITE has one Replaces at most")
    return parse_replaces(values[0])


def replaces_of(uri: SipUri) -> Replaces | None:
    """What the URI of a Refer-To says of the dialog to replace; None where it says nothing. Raises SipParseError."""
    for name, value in uri.headers:
        if unquote(name).lower() == "replaces":
            return parse_replaces(unquote(value))
    return None
