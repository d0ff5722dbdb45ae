"""A session description while it is read: the levels, with what has been seen of each."""

from __future__ import annotations

from dataclasses import dataclass, field

from mediaserver.sdp.codecs import STATIC_PAYLOADS
from mediaserver.sdp.description import (
    Attribute,
    Bandwidth,
    Candidate,
    Codec,
    Crypto,
    Direction,
    Extension,
    Fingerprint,
    Group,
    MediaDescription,
    Origin,
    Rid,
    SessionDescription,
    Simulcast,
    Ssrc,
    SsrcGroup,
    Timing,
)


@dataclass(slots=True)
class Level:
    """What may stand at the session level and in a section."""

    connection: str | None = None
    bandwidth: list[Bandwidth] = field(default_factory=list)
    direction: Direction | None = None
    ice_ufrag: str | None = None
    ice_pwd: str | None = None
    ice_options: list[str] = field(default_factory=list)
    fingerprints: list[Fingerprint] = field(default_factory=list)
    setup: str | None = None
    extensions: list[Extension] = field(default_factory=list)
    extmap_allow_mixed: bool = False
    ptime: int | None = None
    maxptime: int | None = None
    attributes: list[Attribute] = field(default_factory=list)
    attribute_count: int = 0


@dataclass(slots=True)
class SessionDraft(Level):
    """The session level while it is read."""

    origin: Origin = field(default_factory=Origin)
    name: str = "-"
    timing: list[Timing] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    ice_lite: bool = False

    def build(self, media: tuple[MediaDescription, ...]) -> SessionDescription:
        """The finished description."""
        return SessionDescription(
            origin=self.origin,
            name=self.name,
            connection=self.connection,
            bandwidth=tuple(self.bandwidth),
            timing=tuple(self.timing) or (Timing(),),
            groups=tuple(self.groups),
            ice_lite=self.ice_lite,
            ice_options=tuple(self.ice_options),
            extmap_allow_mixed=self.extmap_allow_mixed,
            attributes=tuple(self.attributes),
            media=media,
        )


@dataclass(slots=True)
class MediaDraft(Level):
    """A section while it is read. The first fields are the `m=` line; see `new`."""

    kind: str = ""
    port: int = 0
    protocol: str = ""
    formats: tuple[str, ...] = ()
    line: int = 0
    title: str | None = None
    mid: str | None = None
    rtpmaps: dict[int, tuple[str, int, int]] = field(default_factory=dict)
    fmtps: dict[int, dict[str, str]] = field(default_factory=dict)
    feedback: dict[str, list[str]] = field(default_factory=dict)
    rtcp_mux: bool = False
    rtcp_mux_only: bool = False
    rtcp_rsize: bool = False
    rtcp_port: int | None = None
    rtcp_address: str | None = None
    cryptos: list[Crypto] = field(default_factory=list)
    candidates: list[Candidate] = field(default_factory=list)
    end_of_candidates: bool = False
    ssrcs: dict[int, Ssrc] = field(default_factory=dict)
    ssrc_groups: list[SsrcGroup] = field(default_factory=list)
    msid: str | None = None
    rids: list[Rid] = field(default_factory=list)
    simulcast: Simulcast | None = None
    bundle_only: bool = False

    @classmethod
    def new(cls, kind: str, port: int, protocol: str, formats: tuple[str, ...], line: int) -> MediaDraft:
        """A section of which only the `m=` line is known."""
        return cls(kind=kind, port=port, protocol=protocol, formats=formats, line=line)

    @property
    def is_rtp(self) -> bool:
        """True for the RTP profiles."""
        return "RTP/" in self.protocol

    def build(self, session: SessionDraft) -> MediaDescription:
        """The finished section, with what the session level says for all."""
        return MediaDescription(
            kind=self.kind,
            port=self.port,
            protocol=self.protocol,
            formats=self.formats,
            title=self.title,
            connection=self.connection if self.connection is not None else session.connection,
            bandwidth=tuple(self.bandwidth),
            direction=self.direction or session.direction or Direction.SENDRECV,
            codecs=self._codecs() if self.is_rtp else (),
            ptime=self.ptime if self.ptime is not None else session.ptime,
            maxptime=self.maxptime if self.maxptime is not None else session.maxptime,
            extensions=tuple(self.extensions or session.extensions),
            extmap_allow_mixed=self.extmap_allow_mixed or session.extmap_allow_mixed,
            mid=self.mid,
            ice_ufrag=self.ice_ufrag if self.ice_ufrag is not None else session.ice_ufrag,
            ice_pwd=self.ice_pwd if self.ice_pwd is not None else session.ice_pwd,
            fingerprints=tuple(self.fingerprints or session.fingerprints),
            setup=self.setup or session.setup,
            rtcp_mux=self.rtcp_mux,
            rtcp_mux_only=self.rtcp_mux_only,
            rtcp_rsize=self.rtcp_rsize,
            rtcp_port=self.rtcp_port,
            rtcp_address=self.rtcp_address,
            cryptos=tuple(self.cryptos),
            candidates=tuple(self.candidates),
            end_of_candidates=self.end_of_candidates,
            ssrcs=tuple(self.ssrcs.values()),
            ssrc_groups=tuple(self.ssrc_groups),
            msid=self.msid,
            rids=tuple(self.rids),
            simulcast=self.simulcast,
            bundle_only=self.bundle_only,
            attributes=tuple(self.attributes),
            line=self.line,
        )

    def _codecs(self) -> tuple[Codec, ...]:
        codecs = []
        for text in self.formats:
            pt = int(text)
            known = self.rtpmaps.get(pt) or STATIC_PAYLOADS.get(pt)
            if known is None:
                continue
            feedback = dict.fromkeys((*self.feedback.get(text, ()), *self.feedback.get("*", ())))
            codecs.append(Codec(pt, *known, fmtp=self.fmtps.get(pt, {}), feedback=tuple(feedback)))
        return tuple(codecs)
