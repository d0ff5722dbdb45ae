"""The sections of our own descriptions towards a browser: what an agreed section looks like as an `m=` block."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv6Address, ip_address
from typing import Final, Literal

from mediaserver.errors import NegotiationError
from mediaserver.sdp.codecs import (
    AUDIO_CODECS,
    KNOWN,
    VIDEO_CODECS,
    events_for,
    is_media,
    matches,
    ordered,
    repairs_for,
)
from mediaserver.sdp.data import FORMAT, DataParameters, data_attributes
from mediaserver.sdp.description import (
    Bandwidth,
    Candidate,
    Codec,
    Direction,
    Extension,
    Group,
    MediaDescription,
    Origin,
    Rid,
    SessionDescription,
    Simulcast,
    Ssrc,
    SsrcGroup,
)
from mediaserver.webrtc.section import DEFAULT_EXTENSIONS, LocalIceParams, MediaPolicy, Section

Setup = Literal["actpass", "active", "passive"]

_HOST_PREFERENCE: Final[int] = 126
_TCP_PREFERENCE: Final[int] = 90
"""Below every UDP candidate of a host or a server (RFC 6544 §4.2: media goes by UDP where it can)."""
_PASSIVE: Final[int] = 4


def describe(
    sections: Sequence[Section],
    *,
    local: LocalIceParams,
    setup: Setup,
    cname: str,
    session_id: int,
    version: int,
    allow_mixed: bool,
    bundle: bool = True,
    bandwidth: Mapping[str, tuple[Bandwidth, ...]] | None = None,
) -> SessionDescription:
    """Our offer or answer; `bandwidth` holds `b=` lines by kind.

    Refused sections have port 0 and are not in the BUNDLE group (RFC 8843 §7.3.3).
    """
    live = [section for section in sections if not section.rejected]
    tag = live[0].index if live else None
    media = tuple(
        _refused(section)
        if section.rejected
        else replace(
            _accepted(section, local, setup, cname, first=section.index == tag),
            bandwidth=(bandwidth or {}).get(section.kind, ()),
        )
        for section in sections
    )
    group = Group("BUNDLE", tuple(section.mid for section in live if section.named))
    return SessionDescription(
        origin=Origin("-", str(session_id), str(version), "127.0.0.1"),
        groups=(group,) if bundle and group.mids else (),
        ice_lite=True,
        extmap_allow_mixed=allow_mixed,
        media=media,
    )


def _refused(section: Section) -> MediaDescription:
    return MediaDescription(
        kind=section.kind,
        port=0,
        protocol=section.protocol,
        formats=section.formats,
        connection="0.0.0.0",
        direction=Direction.INACTIVE,
        mid=section.mid if section.named else None,
    )


def _accepted(section: Section, local: LocalIceParams, setup: Setup, cname: str, *, first: bool) -> MediaDescription:
    host, port = local.addresses[0]
    if section.data is not None:
        return MediaDescription(
            kind=section.kind,
            port=port,
            protocol=section.protocol,
            formats=(FORMAT,),
            connection=host,
            mid=section.mid if section.named else None,
            ice_ufrag=local.ufrag,
            ice_pwd=local.pwd,
            fingerprints=(local.fingerprint,),
            setup=setup,
            candidates=candidates(local) if first else (),
            end_of_candidates=first,
            attributes=data_attributes(DataParameters()),
        )
    sends = section.direction.sends
    repairs = any(codec.key == "rtx" for codec in section.receive)
    rids = section.remote_rids if section.direction.receives else ()
    streams = (section.local_ssrc, section.local_repair_ssrc)[: 1 + repairs] if sends else ()
    return MediaDescription(
        kind=section.kind,
        port=port,
        protocol=section.protocol,
        formats=tuple(str(codec.pt) for codec in section.receive),
        connection=host,
        direction=section.direction,
        codecs=section.receive,
        extensions=section.extensions,
        mid=section.mid if section.named else None,
        ice_ufrag=local.ufrag,
        ice_pwd=local.pwd,
        fingerprints=(local.fingerprint,),
        setup=setup,
        rtcp_mux=True,
        rtcp_rsize=section.reduced_size,
        # RFC 8843 §10.3: candidates stand in the section that the group's transport is taken from.
        candidates=candidates(local) if first else (),
        end_of_candidates=first,
        ssrcs=tuple(Ssrc(ssrc, cname=cname) for ssrc in streams),
        ssrc_groups=(SsrcGroup("FID", streams),) if len(streams) > 1 else (),
        rids=tuple(Rid(rid, "recv") for rid in rids),
        simulcast=Simulcast(receive=tuple((rid,) for rid in rids)) if rids else None,
        msid=section.msid if sends else None,
    )


def candidates(local: LocalIceParams) -> tuple[Candidate, ...]:
    """Host candidates of an ICE-lite agent (RFC 8445 §5.1.2.1), the first address preferred, and UDP to all TCP."""
    found = []
    for index, address in enumerate(local.addresses):
        # IPv6 and IPv4 of one host differ in the local preference only, by the order that the engine gives.
        found.append(_candidate(index, "udp", address, _HOST_PREFERENCE, 65535 - index))
    for index, address in enumerate(local.tcp_addresses):
        # RFC 6544 §4.2: the direction is in the upper 3 bits of the local preference.
        found.append(_candidate(index, "tcp", address, _TCP_PREFERENCE, (_PASSIVE << 13) + 8191 - index))
    return tuple(found)


def _candidate(index: int, transport: str, address: tuple[str, int], type_preference: int, local: int) -> Candidate:
    host, port = address
    family = 6 if isinstance(ip_address(host), IPv6Address) else 4
    passive = transport == "tcp"
    return Candidate(
        # RFC 8445 §5.1.1.3: another transport is another foundation.
        f"{family}{transport[0] if passive else ''}{index + 1}",
        1,
        transport,
        type_preference << 24 | local << 8 | 255,
        host,
        port,
        "host",
        (("tcptype", "passive"),) if passive else (),
    )


def new_section_codecs(
    kind: str, policy: MediaPolicy, sections: Sequence[Section], named: Collection[int]
) -> tuple[Codec, ...]:
    """What we offer on a section that the browser has not offered: by policy, under payload types already known.

    Within a BUNDLE group a payload type means one thing (RFC 8843 §9.1), so what the browser `named` keeps its number
    and other codecs move out of the way.
    """
    own = [codec for codec in KNOWN.values() if codec.name in (AUDIO_CODECS if kind == "audio" else VIDEO_CODECS)]
    reused = [codec for section in sections if section.kind == kind for codec in section.capable]
    known = list({codec.pt: codec for codec in reused}.values())
    reused = [codec for codec in known if is_media(codec) or codec.key == "telephone-event"]
    missing = [codec for codec in own if all(codec.key != other.key for other in reused)]
    if kind == "audio" and policy.telephone_events:
        clocks = {codec.clock_rate for codec in reused if codec.key == "telephone-event"}
        missing += [c for c in KNOWN.values() if c.key == "telephone-event" and c.clock_rate not in clocks]
    taken = set(named) | {codec.pt for codec in known}
    for codec in missing:
        pt = codec.pt if codec.pt not in taken else _free(taken)
        taken.add(pt)
        reused.append(replace(codec, pt=pt))
    media = ordered(reused, policy.codecs(kind))
    if kind in policy.only:
        media = tuple(codec for codec in media if any(matches(codec, other) for other in policy.only[kind]))
    repairs = _repairs(media, known, taken) if kind == "video" and policy.repair else ()
    return media + repairs + (events_for(media, reused) if policy.telephone_events else ())


def _repairs(media: Sequence[Codec], known: Sequence[Codec], taken: set[int]) -> tuple[Codec, ...]:
    """An rtx for each codec: the browser's own where it has named one (RFC 4588 §8.6)."""
    found = list(repairs_for(media, known))
    repaired = {codec.fmtp["apt"] for codec in found}
    for codec in media:
        if str(codec.pt) not in repaired:
            pt = _free(taken)
            taken.add(pt)
            found.append(Codec(pt, "rtx", codec.clock_rate, 1, {"apt": str(codec.pt)}))
    return tuple(found)


def new_section_extensions(kind: str, named: Mapping[int, str]) -> tuple[Extension, ...]:
    """What we offer on a new section: ids that the browser has `named` where it did, free ones for the rest."""
    known = {uri: number for number, uri in named.items()}
    taken = set(named)
    found = []
    for extension in DEFAULT_EXTENSIONS.get(kind, ()):
        number = known.get(extension.uri)
        if number is None:
            number = next((free for free in (extension.id, *range(1, 15)) if free not in taken), None)
        if number is not None:
            taken.add(number)
            found.append(Extension(number, extension.uri))
    return tuple(found)


def _free(taken: set[int]) -> int:
    # RFC 7983 and RFC 5761: 64 to 95 would look like RTCP; 96 to 127 first, then 35 to 63.
    free: list[int] = [pt for pt in (*range(96, 128), *range(35, 64)) if pt not in taken]
    if not free:
        raise NegotiationError("The browser has used up all payload types.", warning_code=399)
    return free[0]
