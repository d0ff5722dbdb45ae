"""What we take of a browser's description: its transport, and per section codecs, feedback, extensions and streams."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from mediaserver.errors import NegotiationError
from mediaserver.sdp.codecs import (
    VIDEO_FEEDBACK,
    events_for,
    h264_family,
    intersect,
    is_media,
    ordered,
    redundancy_for,
    repairs_for,
)
from mediaserver.sdp.description import Codec, Extension, Fingerprint, MediaDescription, SdpError, SessionDescription
from mediaserver.webrtc.section import DEPENDENCY_URI, EXTENSIONS, RID_URI, MediaPolicy, RemoteTransport

_HASHES: Final = ("sha-256", "sha-384", "sha-512")
_H264_FAMILIES: Final = ("baseline", "main", "high")
_AUDIO_FEEDBACK: Final = ("transport-cc", "nack")
_MAX_EXTENSION_ID: Final = 14
"""RFC 8285 §4.2: the largest id of the one-byte form, which is the one written by the engine."""

Role = Literal["server", "client"]


@dataclass(frozen=True, slots=True)
class RemoteEnd:
    """The transport of a description and the indices of the sections that use it."""

    ufrag: str
    pwd: str
    fingerprints: tuple[Fingerprint, ...]
    setup: str | None
    indices: frozenset[int]

    def transport(self, role: Role, known: RemoteTransport | None) -> RemoteTransport:
        """As seen by the engine; `known` is what held before."""
        restart = known is not None and (known.ufrag, known.pwd) != (self.ufrag, self.pwd)
        return RemoteTransport(self.ufrag, self.pwd, self.fingerprints, role, restart)


def remote_end(description: SessionDescription) -> RemoteEnd | None:
    """The one transport of a browser's description; None if every section is refused.

    Raises SdpError for missing credentials or mids that repeat, NegotiationError (306) without rtcp-mux or a usable
    certificate hash.
    """
    mids = [media.mid for media in description.media if media.mid is not None]
    for media in description.media:
        if media.mid is not None and mids.count(media.mid) > 1:
            raise SdpError(media.line, f"the mid {media.mid} is not unique")
    live = {index: media for index, media in enumerate(description.media) if not media.rejected}
    if not live:
        return None
    bundled = [index for mid in description.bundled for index, media in live.items() if media.mid == mid]
    # RFC 8843 §7.2.1: the first mid of the group names the section whose transport all of them use. Without a group
    # there is one transport, and so one section.
    indices = bundled or [next((index for index, media in live.items() if media.is_rtp), next(iter(live)))]
    tagged = live[indices[0]]
    if tagged.ice_ufrag is None or tagged.ice_pwd is None:
        raise SdpError(tagged.line, "ICE credentials are missing (ice-ufrag, ice-pwd)")
    if not tagged.fingerprints:
        raise SdpError(tagged.line, "the certificate's fingerprint is missing")
    fingerprints = tuple(entry for entry in tagged.fingerprints if entry.algorithm in _HASHES)
    if not fingerprints:
        named = ", ".join(entry.algorithm for entry in tagged.fingerprints)
        raise NegotiationError(
            f"The certificate's hash must be one of {', '.join(_HASHES)}, not {named}.", warning_code=306
        )
    if tagged.is_rtp and not tagged.rtcp_mux:
        raise NegotiationError("RTP and RTCP must share a port (rtcp-mux).", warning_code=306)
    return RemoteEnd(tagged.ice_ufrag, tagged.ice_pwd, fingerprints, tagged.setup, frozenset(indices))


def answering_role(setup: str | None, known: RemoteTransport | None, fingerprints: Sequence[Fingerprint]) -> Role:
    """Our DTLS role when the browser offers: server wherever it lets us, and never changed under an association."""
    if setup == "passive":
        return "client"
    if setup == "holdconn":
        raise NegotiationError("The offer asks to hold the connection (setup:holdconn).", warning_code=306)
    if setup == "actpass" and known is not None and known.fingerprints == tuple(fingerprints):
        return known.dtls_role
    return "server"


def offering_role(setup: str | None) -> Role:
    """Our DTLS role after the browser's answer; absent is active (RFC 4145 §4.1)."""
    if setup in (None, "active"):
        return "server"
    if setup == "passive":
        return "client"
    raise NegotiationError(f"An answer must not say setup:{setup}.", warning_code=306)


def usable_codecs(offered: MediaDescription, policy: MediaPolicy) -> tuple[Codec, ...]:
    """The codecs of a section that the policy allows, in its order; empty refuses the section.

    Behind them what belongs to them: rtx, red, telephone events. Payload types and parameters are the browser's,
    feedback is what both sides know.
    """
    media = ordered((codec for codec in offered.codecs if is_media(codec)), policy.codecs(offered.kind))
    usable: Sequence[Codec] = [codec for codec in media if codec.key != "h264" or h264_family(codec) in _H264_FAMILIES]
    if offered.kind in policy.only:
        usable = intersect(usable, policy.only[offered.kind])
    else:
        # What most phones speak goes first among the many H264 entries of a browser, and the main profile
        # among those of VP9 and AV1.
        usable = sorted(usable, key=lambda codec: not _is_common(codec))
        usable = ordered(usable, policy.codecs(offered.kind))
    events = events_for(usable, offered.codecs) if policy.telephone_events else ()
    repairs = repairs_for(usable, offered.codecs) if policy.repair else ()
    redundant = redundancy_for(usable, offered.codecs) if policy.redundancy else ()
    every = with_redundancy(usable, redundant, offered.codecs) + repairs + events
    return tuple(replace(codec, feedback=_feedback(codec, offered.kind)) for codec in every)


def with_redundancy(media: Sequence[Codec], redundant: Sequence[Codec], order: Sequence[Codec]) -> tuple[Codec, ...]:
    """Each red beside the codec that it carries, before it where `order` has it so: what stands first is sent."""
    places = {codec.pt: place for place, codec in enumerate(order)}
    found: list[Codec] = []
    for codec in media:
        carrying = [red for red in redundant if str(codec.pt) in next(iter(red.fmtp)).split("/")]
        before = [red for red in carrying if places[red.pt] < places.get(codec.pt, 0)]
        found += [*before, codec, *(red for red in carrying if red not in before)]
    return tuple(found)


def narrowed(capable: Sequence[Codec], wanted: Sequence[Codec], *, rest: bool = False) -> tuple[Codec, ...]:
    """The codecs of `capable` that match `wanted`, in its order, with the rtx, red and events that belong to them.

    `rest` keeps the others behind them. Empty if none matches.
    """
    media = intersect([codec for codec in capable if is_media(codec)], [codec for codec in wanted if is_media(codec)])
    if rest and media:
        media += tuple(codec for codec in capable if is_media(codec) and codec not in media)
    if not media:
        return ()
    sound = with_redundancy(media, redundancy_for(media, capable), capable)
    return sound + repairs_for(media, capable) + events_for(media, capable)


def usable_extensions(sections: Iterable[MediaDescription]) -> tuple[tuple[Extension, ...], ...]:
    """Per section the header extensions that we take, under the offerer's ids.

    Raises SdpError if one id means two things on the transport (RFC 8843 §9.1, RFC 8285 §6).
    """
    meaning: dict[int, str] = {}
    chosen = []
    for section in sections:
        taken: dict[str, Extension] = {}
        for extension in section.extensions:
            if meaning.setdefault(extension.id, extension.uri) != extension.uri:
                raise SdpError(section.line, f"the extension id {extension.id} stands for two URIs")
            if extension.uri in EXTENSIONS and extension.id <= _MAX_EXTENSION_ID:
                taken.setdefault(extension.uri, Extension(extension.id, extension.uri))
        chosen.append(tuple(taken.values()))
    return tuple(chosen)


def fitting_extensions(extensions: Sequence[Extension], codecs: Sequence[Codec], sends: bool) -> tuple[Extension, ...]:
    """`extensions` without the dependency descriptor where the peer `sends` and AV1 is not the first of `codecs`.

    Only AV1 needs it. Chromium leaves out of VP8's payload descriptor (RFC 7741 §4.2) whatever the dependency descriptor
    tells, too: the picture id and the temporal layer, by which its frames are chosen and numbered.
    """
    first = next((codec.name.lower() for codec in codecs if is_media(codec)), "")
    keeps = not sends or first == "av1"
    return tuple(extension for extension in extensions if keeps or extension.uri != DEPENDENCY_URI)


def media_ssrcs(section: MediaDescription) -> tuple[int, ...]:
    """The SSRCs that carry media: all but those that repair another (RFC 4588 FID, RFC 5956 FEC)."""
    repair = {ssrc for group in section.ssrc_groups if group.semantics in ("FID", "FEC-FR") for ssrc in group.ssrcs[1:]}
    return tuple(ssrc.id for ssrc in section.ssrcs if ssrc.id not in repair)


def repairing_ssrcs(section: MediaDescription) -> dict[int, int]:
    """The repair stream of each SSRC that has one (RFC 4588 §8.8)."""
    groups = (group.ssrcs for group in section.ssrc_groups if group.semantics == "FID" and len(group.ssrcs) == 2)
    return dict(groups)


def simulcast_rids(section: MediaDescription, extensions: Sequence[Extension], policy: MediaPolicy) -> tuple[str, ...]:
    """The layers that the browser may send and that we take, at most `policy.simulcast`; of alternatives the first.

    Without the header extension that names a packet's layer (RFC 8852) there are none.
    """
    if section.simulcast is None or not any(extension.uri == RID_URI for extension in extensions):
        return ()
    described = {rid.id for rid in section.rids if rid.direction == "send"}
    named = (stream[0].removeprefix("~") for stream in section.simulcast.send if stream)
    rids = tuple(dict.fromkeys(rid for rid in named if rid in described))[: policy.simulcast]
    return rids if len(rids) > 1 else ()


def _feedback(codec: Codec, kind: str) -> tuple[str, ...]:
    if not is_media(codec):
        return ()
    known = VIDEO_FEEDBACK if kind == "video" else _AUDIO_FEEDBACK
    return tuple(entry for entry in codec.feedback if entry in known)


def _is_common(codec: Codec) -> bool:
    if codec.key == "vp9":
        return codec.fmtp.get("profile-id", "0") == "0"
    if codec.key == "av1":
        return codec.fmtp.get("profile", "0") == "0"
    if codec.key != "h264":
        return True
    level_id = codec.fmtp.get("profile-level-id", "").lower()
    return level_id.startswith("42e0") and codec.fmtp.get("packetization-mode") == "1"
