"""What each attribute of a session description means: one reader per attribute, writing into the drafts.

A reader raises ValueError for a malformed value. Whether that refuses the description or leaves the attribute as
plain text is decided by the table it stands in: media depends on the needed ones.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections.abc import Callable
from dataclasses import replace
from typing import Final, TypeVar

from mediaserver.sdp.description import (
    Attribute,
    Candidate,
    Crypto,
    Direction,
    Extension,
    Fingerprint,
    Group,
    Rid,
    Simulcast,
    Ssrc,
    SsrcGroup,
)
from mediaserver.sdp.drafts import Level, MediaDraft, SessionDraft

MAX_FMTP_PARAMETERS: Final = 64
MAX_FEEDBACK: Final = 32
MAX_FINGERPRINTS: Final = 16
MAX_GROUP_MEMBERS: Final = 64

_HASH_BYTES: Final = {"md5": 16, "sha-1": 20, "sha-224": 28, "sha-256": 32, "sha-384": 48, "sha-512": 64}
# RFC 8839 §5.4 has a smaller alphabet; what is printable harms nobody, what is short would be guessable.
_ICE_UFRAG: Final = re.compile(r"[!-~]{4,256}\Z")
_ICE_PWD: Final = re.compile(r"[!-~]{22,256}\Z")
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]{1,64}\Z")
_RID: Final = re.compile(r"[A-Za-z0-9_\-]{1,64}\Z")
_HOST: Final = re.compile(r"[0-9A-Za-z.:%_\-]{1,255}\Z")
_HEX_PAIRS: Final = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2})*\Z")
_DIGITS: Final = re.compile(r"[0-9]{1,10}\Z")
_SETUP: Final = ("actpass", "active", "passive", "holdconn")

_Draft = TypeVar("_Draft", bound=Level)


def session_attribute(draft: SessionDraft, name: str, value: str | None) -> None:
    """Take an attribute of the session level. Raises ValueError if media depends on it and it is malformed."""
    _take(draft, name, value, _SESSION_NEEDED.get(name), _SESSION_OTHER.get(name))


def media_attribute(draft: MediaDraft, name: str, value: str | None) -> None:
    """Take an attribute of a section. Raises ValueError if media depends on it and it is malformed."""
    _take(draft, name, value, _MEDIA_NEEDED.get(name), _MEDIA_OTHER.get(name))


def _take(
    draft: _Draft,
    name: str,
    value: str | None,
    needed: Callable[[_Draft, str], None] | None,
    other: Callable[[_Draft, str], None] | None,
) -> None:
    if needed is not None:
        needed(draft, value or "")
        return
    if other is not None:
        try:
            other(draft, value or "")
        except ValueError:
            draft.attributes.append(Attribute(name, value))
        return
    draft.attributes.append(Attribute(name, value))


# Both levels ---------------------------------------------------------------------------------------------------------


def _direction(direction: Direction) -> Callable[[Level, str], None]:
    def take(draft: Level, value: str) -> None:
        draft.direction = direction

    return take


def _ice_ufrag(draft: Level, value: str) -> None:
    if not _ICE_UFRAG.match(value):
        raise ValueError("an ICE ufrag has 4 to 256 printable characters")
    draft.ice_ufrag = value


def _ice_pwd(draft: Level, value: str) -> None:
    if not _ICE_PWD.match(value):
        raise ValueError("an ICE password has 22 to 256 printable characters")
    draft.ice_pwd = value


def _ice_options(draft: Level, value: str) -> None:
    draft.ice_options.extend(option for option in value.split()[:16] if _TOKEN.match(option))


def _fingerprint(draft: Level, value: str) -> None:
    algorithm, _, digits = value.partition(" ")
    digits = digits.strip()
    if not _TOKEN.match(algorithm) or not _HEX_PAIRS.match(digits):
        raise ValueError("a fingerprint is <hash> <hex pairs with colons>")
    fingerprint = Fingerprint(algorithm.lower(), bytes.fromhex(digits.replace(":", "")))
    if len(fingerprint.value) != _HASH_BYTES.get(fingerprint.algorithm, len(fingerprint.value)):
        raise ValueError("the fingerprint has not the length of its hash")
    if fingerprint not in draft.fingerprints and len(draft.fingerprints) < MAX_FINGERPRINTS:
        draft.fingerprints.append(fingerprint)


def _setup(draft: Level, value: str) -> None:
    if value.lower() not in _SETUP:
        raise ValueError(f"setup is one of {', '.join(_SETUP)}")
    draft.setup = value.lower()


def _extmap(draft: Level, value: str) -> None:
    parts = value.split(None, 2)
    if len(parts) < 2:
        raise ValueError("an extmap is <id>[/<direction>] <URI>")
    number, _, way = parts[0].partition("/")
    if not _DIGITS.match(number) or not 1 <= int(number) <= 4351:
        raise ValueError("an extmap id is a number from 1 to 255, or from 4096 to 4351 in an offer")
    direction = Direction(way) if way else None
    draft.extensions.append(Extension(int(number), parts[1], direction, parts[2].strip() if len(parts) > 2 else ""))


def _allow_mixed(draft: Level, value: str) -> None:
    draft.extmap_allow_mixed = True


def _ptime(draft: Level, value: str) -> None:
    draft.ptime = _milliseconds(value)


def _maxptime(draft: Level, value: str) -> None:
    draft.maxptime = _milliseconds(value)


def _milliseconds(value: str) -> int:
    number = value.partition(".")[0]
    if not _DIGITS.match(number) or not 0 < int(number) <= 1000:
        raise ValueError("a packet time is a number of milliseconds")
    return int(number)


# Session level -------------------------------------------------------------------------------------------------------


def _group(draft: SessionDraft, value: str) -> None:
    semantics, *mids = value.split()[: MAX_GROUP_MEMBERS + 1] or [""]
    if not _TOKEN.match(semantics) or not all(_TOKEN.match(mid) for mid in mids):
        raise ValueError("a group is <semantics> <mid> ...")
    draft.groups.append(Group(semantics.upper(), tuple(mids)))


def _ice_lite(draft: SessionDraft, value: str) -> None:
    draft.ice_lite = True


# Sections ------------------------------------------------------------------------------------------------------------


def _rtpmap(draft: MediaDraft, value: str) -> None:
    pt, _, encoding = value.partition(" ")
    name, *rest = encoding.strip().split("/")
    if not _payload_type(pt) or not _TOKEN.match(name) or not rest or not _DIGITS.match(rest[0]):
        raise ValueError("an rtpmap is <payload type> <name>/<clock rate>[/<channels>]")
    channels = int(rest[1]) if len(rest) > 1 and _DIGITS.match(rest[1]) else 1
    if not 1 <= int(rest[0]) < 2**32 or not 1 <= channels <= 255:
        raise ValueError("clock rate or channels are out of range")
    draft.rtpmaps[int(pt)] = (name, int(rest[0]), channels)


def _fmtp(draft: MediaDraft, value: str) -> None:
    pt, _, text = value.partition(" ")
    if not _payload_type(pt):
        raise ValueError("an fmtp is <payload type> <parameters>")
    parameters = draft.fmtps.setdefault(int(pt), {})
    for item in text.split(";"):
        key, equals, content = item.strip().partition("=")
        # RFC 4855 §3: names of parameters are the same in any case.
        key = key.strip().lower() if equals else key.strip()
        if key and len(parameters) < MAX_FMTP_PARAMETERS:
            parameters.setdefault(key, content.strip())


def _feedback(draft: MediaDraft, value: str) -> None:
    pt, _, text = value.partition(" ")
    if pt != "*" and not _payload_type(pt):
        raise ValueError("an rtcp-fb is <payload type or *> <feedback>")
    entries = draft.feedback.setdefault(pt if pt == "*" else str(int(pt)), [])
    entry = " ".join(text.lower().split())
    if entry and len(entries) < MAX_FEEDBACK:
        entries.append(entry)


def _payload_type(text: str) -> bool:
    return bool(_DIGITS.match(text)) and int(text) < 128


def _mid(draft: MediaDraft, value: str) -> None:
    if not _TOKEN.match(value):
        raise ValueError("a mid is a token of at most 64 characters")
    draft.mid = value


def _msid(draft: MediaDraft, value: str) -> None:
    # The first counts: a track in several streams is one track to us (RFC 8830 §2).
    if not value:
        raise ValueError("an msid is <stream> [<track>]")
    draft.msid = draft.msid or value


def _rtcp(draft: MediaDraft, value: str) -> None:
    parts = value.split()
    if not parts or not _DIGITS.match(parts[0]) or not 0 < int(parts[0]) < 65536:
        raise ValueError("an rtcp attribute is <port> [IN <IP4|IP6> <address>] (RFC 3605)")
    draft.rtcp_port = int(parts[0])
    draft.rtcp_address = parts[3] if len(parts) == 4 and _HOST.match(parts[3]) else None


def _crypto(draft: MediaDraft, value: str) -> None:
    tag, suite, parameters, *session = value.split() + [""] * max(0, 3 - len(value.split()))
    if not _DIGITS.match(tag) or not _TOKEN.match(suite) or not parameters.lower().startswith("inline:"):
        raise ValueError("a crypto is <tag> <suite> inline:<key> (RFC 4568)")
    if ";" in parameters:
        raise ValueError("several keys need an MKI, which is not supported")
    key, *rest = parameters[len("inline:") :].split("|")
    try:
        content = b64decode(key + "=" * (-len(key) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("the key is not base64") from None
    mki = next((part for part in rest if ":" in part), "")
    lifetime = next((part for part in rest if part and ":" not in part), "")
    draft.cryptos.append(Crypto(int(tag), suite.upper(), content, lifetime, mki, tuple(session)))


def _candidate(draft: MediaDraft, value: str) -> None:
    draft.candidates.append(parse_candidate(value))


def parse_candidate(value: str) -> Candidate:
    """Read the value of a candidate attribute (RFC 8839 §5.1). Raises ValueError."""
    parts = value.split()
    if len(parts) < 8 or len(parts) > 64 or parts[6] != "typ" or not _HOST.match(parts[4]):
        raise ValueError("a candidate is <foundation> <component> <transport> <priority> <address> <port> typ <type>")
    numbers = (parts[1], parts[3], parts[5])
    if not all(_DIGITS.match(number) for number in numbers) or int(parts[5]) > 65535:
        raise ValueError("a number of the candidate is out of range")
    pairs = tuple(zip(parts[8::2], parts[9::2], strict=False))
    return Candidate(parts[0], int(parts[1]), parts[2].lower(), int(parts[3]), parts[4], int(parts[5]), parts[7], pairs)


def _ssrc(draft: MediaDraft, value: str) -> None:
    number, _, text = value.partition(" ")
    name, _, content = text.strip().partition(":")
    if not _ssrc_number(number):
        raise ValueError("an ssrc is <32-bit number> <attribute>")
    known = draft.ssrcs.get(int(number), Ssrc(int(number)))
    if name == "cname":
        draft.ssrcs[known.id] = replace(known, cname=content)
    elif name == "msid":
        draft.ssrcs[known.id] = replace(known, msid=content)


def _ssrc_group(draft: MediaDraft, value: str) -> None:
    semantics, *numbers = value.split() or [""]
    if not _TOKEN.match(semantics) or not all(_ssrc_number(number) for number in numbers[:MAX_GROUP_MEMBERS]):
        raise ValueError("an ssrc-group is <semantics> <ssrc> ...")
    draft.ssrc_groups.append(SsrcGroup(semantics.upper(), tuple(int(n) for n in numbers[:MAX_GROUP_MEMBERS])))


def _ssrc_number(text: str) -> bool:
    return bool(_DIGITS.match(text)) and int(text) < 2**32


def _rid(draft: MediaDraft, value: str) -> None:
    parts = value.split(None, 2)
    if len(parts) < 2 or not _RID.match(parts[0]) or parts[1] not in ("send", "recv"):
        raise ValueError("a rid is <id> <send|recv> [<restrictions>] (RFC 8851)")
    draft.rids.append(Rid(parts[0], parts[1], parts[2].strip() if len(parts) > 2 else ""))


def _simulcast(draft: MediaDraft, value: str) -> None:
    parts = value.split()
    found: dict[str, tuple[tuple[str, ...], ...]] = {}
    if len(parts) not in (2, 4):
        raise ValueError("a simulcast is <send|recv> <rids> [<send|recv> <rids>] (RFC 8853)")
    for direction, streams in zip(parts[::2], parts[1::2], strict=True):
        rids = tuple(tuple(stream.split(",")) for stream in streams.split(";")[:MAX_GROUP_MEMBERS])
        if direction not in ("send", "recv") or direction in found:
            raise ValueError("a simulcast names send and recv once at most")
        if not all(_RID.match(rid.removeprefix("~")) for stream in rids for rid in stream):
            raise ValueError("a rid of the simulcast is malformed")
        found[direction] = rids
    draft.simulcast = Simulcast(found.get("send", ()), found.get("recv", ()))


def _flag(name: str) -> Callable[[MediaDraft, str], None]:
    def take(draft: MediaDraft, value: str) -> None:
        setattr(draft, name, True)

    return take


_LEVEL_NEEDED: Final[dict[str, Callable[[Level, str], None]]] = {
    **{direction.value: _direction(direction) for direction in Direction},
    "ice-ufrag": _ice_ufrag,
    "ice-pwd": _ice_pwd,
    "fingerprint": _fingerprint,
    "setup": _setup,
}
_LEVEL_OTHER: Final[dict[str, Callable[[Level, str], None]]] = {
    "ice-options": _ice_options,
    "extmap": _extmap,
    "extmap-allow-mixed": _allow_mixed,
    "ptime": _ptime,
    "maxptime": _maxptime,
}
_SESSION_NEEDED: Final[dict[str, Callable[[SessionDraft, str], None]]] = {**_LEVEL_NEEDED, "group": _group}
_SESSION_OTHER: Final[dict[str, Callable[[SessionDraft, str], None]]] = {**_LEVEL_OTHER, "ice-lite": _ice_lite}
_MEDIA_NEEDED: Final[dict[str, Callable[[MediaDraft, str], None]]] = {
    **_LEVEL_NEEDED,
    "rtpmap": _rtpmap,
    "mid": _mid,
    "rtcp-mux": _flag("rtcp_mux"),
    "rtcp-mux-only": _flag("rtcp_mux_only"),
    "rtcp-rsize": _flag("rtcp_rsize"),
    "bundle-only": _flag("bundle_only"),
    "end-of-candidates": _flag("end_of_candidates"),
}
_MEDIA_OTHER: Final[dict[str, Callable[[MediaDraft, str], None]]] = {
    **_LEVEL_OTHER,
    "fmtp": _fmtp,
    "rtcp-fb": _feedback,
    "msid": _msid,
    "rtcp": _rtcp,
    "crypto": _crypto,
    "candidate": _candidate,
    "ssrc": _ssrc,
    "ssrc-group": _ssrc_group,
    "rid": _rid,
    "simulcast": _simulcast,
}
