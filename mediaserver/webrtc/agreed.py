"""What a negotiation has agreed on as one value, what an answer makes of it, and how two of them differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from mediaserver.errors import NegotiationError
from mediaserver.sdp.codecs import is_media, matches
from mediaserver.sdp.description import Codec, Direction, Extension, MediaDescription, SessionDescription
from mediaserver.webrtc.choice import media_ssrcs, repairing_ssrcs
from mediaserver.webrtc.section import Changes, RemoteTransport, Section


@dataclass(frozen=True, slots=True)
class Agreed:
    """All that a description can change; kept as a whole, so that a rollback is one assignment."""

    sections: tuple[Section, ...] = ()
    transport: RemoteTransport | None = None
    wanted: Mapping[str, Direction] = field(default_factory=dict)
    """Per mid, what our side asked for."""
    narrowed_to: Mapping[str, tuple[Codec, ...]] = field(default_factory=dict)
    """Per mid, the codecs that our last `prefer` left."""
    payload_types: frozenset[int] = frozenset()
    extension_ids: Mapping[int, str] = field(default_factory=dict)
    """Everything that was named on the transport; neither kind of number may change its meaning."""
    allow_mixed: bool = True
    bundle: bool = True


def answered_section(section: Section, media: MediaDescription, extensions: tuple[Extension, ...]) -> Section:
    """The section that we offered after the browser's answer. Raises NegotiationError (305) without a codec."""
    send, receive = [], []
    for codec in media.codecs:
        ours = next((c for c in section.receive if c.pt == codec.pt and c.key == codec.key), None)
        if ours is None and codec.key not in ("rtx", "red"):  # which name others by payload type
            ours = next((c for c in section.receive if matches(c, codec)), None)
        if ours is None:
            continue
        feedback = tuple(entry for entry in ours.feedback if entry in codec.feedback)
        send.append(replace(codec, feedback=feedback))
        receive.append(replace(ours, feedback=feedback))
    if not any(is_media(codec) for codec in send):
        named = ", ".join(str(codec) for codec in media.codecs) or "nothing known"
        raise NegotiationError(f"The answer for {section.kind} has no codec of the offer: {named}.", warning_code=305)
    offered = {extension.uri for extension in section.extensions}
    return replace(
        section,
        direction=section.direction.limited_to(media.direction.reversed),
        send=tuple(send),
        receive=tuple(receive),
        remote_direction=media.direction,
        remote_ssrcs=media_ssrcs(media),
        remote_repairs=repairing_ssrcs(media),
        remote_rids=tuple(rid for rid in section.remote_rids if rid in _sent_rids(media)),
        remote_msid=media.msid,
        reduced_size=section.reduced_size and media.rtcp_rsize,
        extensions=tuple(extension for extension in extensions if extension.uri in offered),
    )


def _sent_rids(media: MediaDescription) -> set[str]:
    return {rid.removeprefix("~") for stream in (media.simulcast.send if media.simulcast else ()) for rid in stream}


def named_extensions(sections: Sequence[MediaDescription]) -> dict[int, str]:
    """Id to URI of every header extension in a description, ours or not."""
    return {extension.id: extension.uri for section in sections for extension in section.extensions}


def nothing_code(offer: SessionDescription) -> int:
    """The warning for an offer of which nothing can be taken: formats, or no media type that we know."""
    return 305 if any(media.kind in ("audio", "video") and not media.rejected for media in offer.media) else 304


def _streams(section: Section) -> tuple[object, ...]:
    return section.remote_ssrcs, section.remote_repairs, section.remote_rids


def difference(before: Agreed, after: Agreed) -> Changes:
    """What became different, for those who act on it."""
    old = {section.mid: section for section in before.sections if not section.rejected}
    new = {section.mid: section for section in after.sections if not section.rejected}
    both = [(old[mid], section) for mid, section in new.items() if mid in old]
    known = before.transport
    return Changes(
        added=tuple(mid for mid in new if mid not in old),
        removed=tuple(mid for mid in old if mid not in new),
        codecs=tuple(b.mid for a, b in both if (a.send, a.receive) != (b.send, b.receive)),
        directions=tuple(
            b.mid for a, b in both if (a.direction, a.remote_direction) != (b.direction, b.remote_direction)
        ),
        ssrcs=tuple(b.mid for a, b in both if _streams(a) != _streams(b)),
        extensions={e for s in old.values() for e in s.extensions} != {e for s in new.values() for e in s.extensions},
        first=known is None,
        ice_restart=known is not None and after.transport is not None and after.transport.ice_restart,
        fingerprint=known is not None
        and after.transport is not None
        and known.fingerprints != after.transport.fingerprints,
    )
