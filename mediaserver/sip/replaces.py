"""The dialog that a call is to take the place of (RFC 3891): its three parts, as a header and inside a URI."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote

from mediaserver.sip.errors import SipParseError
from mediaserver.sip.headers import CALL_ID, find_param, parse_params, split_list
from mediaserver.sip.uri import SipUri


@dataclass(frozen=True, slots=True)
class Replaces:
    """`to_tag` is the tag of whoever gets this, `from_tag` that of its peer (§3)."""

    call_id: str
    to_tag: str
    from_tag: str
    early_only: bool = False
    """Only a call that was not answered yet may be replaced."""

    def __str__(self) -> str:
        early = ";early-only" if self.early_only else ""
        return f"{self.call_id};to-tag={self.to_tag};from-tag={self.from_tag}{early}"


def parse_replaces(text: str) -> Replaces:
    """The value of a Replaces header. Raises SipParseError (400)."""
    call_id, *rest = split_list(text, ";")
    params = parse_params(rest)
    to_tag, from_tag = find_param(params, "to-tag"), find_param(params, "from-tag")
    if not call_id or not CALL_ID.issuperset(call_id) or not to_tag or not from_tag:
        raise SipParseError("Replaces needs a Call-ID, to-tag and from-tag")
    return Replaces(call_id, to_tag, from_tag, find_param(params, "early-only") is not None)


def replaces_of(uri: SipUri) -> Replaces | None:
    """What the URI of a Refer-To says of the dialog to replace; None where it says nothing. Raises SipParseError."""
    for name, value in uri.headers:
        if unquote(name).lower() == "replaces":
            return parse_replaces(unquote(value))
    return None
