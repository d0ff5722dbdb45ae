"""A dialog as others name it, in Replaces (RFC 3891) and Join (RFC 3911)."""

from __future__ import annotations

from dataclasses import dataclass

from mediaserver.sip.errors import SipParseError
from mediaserver.sip.headers import CALL_ID, find_param, parse_params, split_list


@dataclass(frozen=True, slots=True)
class DialogName:
    """`to_tag` is the tag of whoever gets this, `from_tag` that of its peer (RFC 3891 §3, RFC 3911 §4)."""

    call_id: str
    to_tag: str
    from_tag: str


def parse_dialog_name(text: str, header: str) -> tuple[DialogName, frozenset[str]]:
    """The value of such a header, and the names of its parameters in lower case. Raises SipParseError (400)."""
    call_id, *rest = split_list(text, ";")
    params = parse_params(rest)
    to_tag, from_tag = find_param(params, "to-tag"), find_param(params, "from-tag")
    if not call_id or not CALL_ID.issuperset(call_id) or not to_tag or not from_tag:
        raise SipParseError(f"{header} needs a Call-ID, to-tag and from-tag")
    return DialogName(call_id, to_tag, from_tag), frozenset(name.lower() for name, _ in params)
