"""One m-line of a SIP leg: its port pair for the life of the leg, its keys, and the tracks that come of it."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from mediaserver.call.edge_ports import PortsAtEdge
from mediaserver.call.leg import LegMedia
from mediaserver.core.down_track import DownTrack
from mediaserver.core.up_track import UpTrack
from mediaserver.engine.commands import DtlsTerms, Kind, SetRtpRemote, SrtpKeys, SrtpSuite
from mediaserver.engine.commands import Fingerprint as EngineFingerprint
from mediaserver.engine.engine import Engine, LocalRtp
from mediaserver.sdp.description import Codec, Crypto, Fingerprint, MediaDescription
from mediaserver.sdp.dtls import LocalDtls, NegotiatedDtls
from mediaserver.sdp.offer_answer import NegotiatedMedia

_SUITES: Final[Mapping[str, SrtpSuite]] = {
    "AES_CM_128_HMAC_SHA1_80": "AES_CM_128_HMAC_SHA1_80",
    "AES_CM_128_HMAC_SHA1_32": "AES_CM_128_HMAC_SHA1_32",
    "AEAD_AES_128_GCM": "AEAD_AES_128_GCM",
    "AEAD_AES_256_GCM": "AEAD_AES_256_GCM",
}

_TLS_ID_BYTES: Final = 16
"""32 characters; 120 bits are wanted (RFC 8842 §4)."""


@dataclass(slots=True, eq=False, kw_only=True)
class RtpLine:
    """What every line has, whatever it carries; its place in the description is known to whoever holds it."""

    rtp: LocalRtp
    at_edge: PortsAtEdge | None = None
    """Whose ports they are, where they are no ports of ours."""
    latching_ms: int = 0
    crypto: tuple[Crypto, ...] = ()
    """Our keys of SDES; empty without."""
    association: NegotiatedDtls | None = None
    """The association of DTLS that there is; it outlives a line that is silent."""
    association_number: int = 0
    """Names it to the engine."""
    peer: tuple[str, int] | None = None
    """Where it was made with."""
    agreed: NegotiatedMedia | None = None
    known: tuple[Codec, ...] = ()
    """Every codec that this line ever had, under its payload type: a number never changes its meaning
    (RFC 3264 §8.3.2)."""

    def expect(self, engine: Engine) -> None:
        """Tells the engine where the peer is by what was agreed; silence counts from now on."""
        media = self.agreed
        if media is not None:
            self._aim(media)
            engine.submit(
                SetRtpRemote(
                    id=self.rtp.id,
                    rtp=media.remote_rtp,
                    rtcp=media.remote_rtcp,
                    rtcp_mux=media.rtcp_mux,
                    srtp=_srtp_keys(media),
                    dtls=self._dtls_terms(media),
                )
            )

    def _aim(self, media: NegotiatedMedia) -> None:
        """Tells the Edge whom to let in at its ports."""
        if self.at_edge is None:
            return
        rtp, rtcp = media.remote_rtp, media.remote_rtcp
        if rtp is not None and (media.rtcp_mux or rtcp is None):
            # RFC 3550 §11: RTCP's port is the next one.
            rtcp = rtp if media.rtcp_mux else (rtp[0], min(rtp[1] + 1, 65_535))
        self.at_edge.aim(self.rtp.id, _live(rtp), _live(rtcp), latching_ms=self.latching_ms)

    def local_dtls(self, fingerprint: Fingerprint, offer: MediaDescription | None) -> LocalDtls:
        """What we say of DTLS in our offer, where `offer` is None, or in the answer to one."""
        known = self.association
        if known is not None and known.local_id and (offer is None or known.is_offered_again(offer)):
            return LocalDtls(fingerprint, known.local_id, known.role)
        return LocalDtls(fingerprint, secrets.token_hex(_TLS_ID_BYTES))

    def _dtls_terms(self, media: NegotiatedMedia) -> DtlsTerms | None:
        before, now = self.association, media.dtls
        self.association = now
        if now is None:
            return None
        peer = media.remote_rtp or self.peer
        # RFC 5763 §6.6; who knows tls-id can move with its association (RFC 8842 §3.2).
        moved = now.remote_id is None and peer != self.peer
        if before is None or moved or not before.goes_on_as(now):
            self.association_number += 1
        self.peer = peer
        fingerprints = (EngineFingerprint(algorithm=each.algorithm, value=each.value) for each in now.fingerprints)
        return DtlsTerms(association=self.association_number, role=now.role, fingerprints=tuple(fingerprints))

    def remember(self, codecs: tuple[Codec, ...]) -> None:
        """These payload types are taken from now on."""
        numbers = {codec.pt for codec in self.known}
        self.known += tuple(codec for codec in codecs if codec.pt not in numbers)


@dataclass(slots=True, eq=False, kw_only=True)
class SipLine(RtpLine):
    """Carries sound or picture."""

    kind: Kind
    tracks: LegMedia = field(default_factory=LegMedia)

    def apply(self, media: NegotiatedMedia, *, engine: Engine, cname: str, watch: Callable[[int, Kind], None]) -> None:
        """Puts what was agreed into force; `watch(id, kind)` subscribes to the events of a new track."""
        before = self.agreed
        self.agreed = media
        self.expect(engine)
        receive = (*media.receive, *media.dtmf_receive)
        send = (*media.send, *((media.dtmf_send,) if media.dtmf_send else ()))
        if self.tracks.up is None:
            self.tracks.up = UpTrack(engine=engine, transport=self.rtp.id, kind=self.kind, mid=None, codecs=receive)
            watch(self.tracks.up.id, self.kind)
        else:
            self.tracks.up.update(receive, ())
        if self.tracks.down is None:
            self.tracks.down = DownTrack(
                engine=engine,
                transport=self.rtp.id,
                kind=self.kind,
                mid=None,
                ssrc=secrets.randbelow(0xFFFFFFFE) + 1,
                cname=cname,
                codecs=send,
            )
            watch(self.tracks.down.id, self.kind)
        self.tracks.down.update(send, active=media.direction.sends)
        if self.kind == "video" and before is not None:
            self._begin_with_keyframes(before, media)

    def silence(self) -> None:
        """Sends nothing any more; the ports stay, so that the line can come back."""
        if self.tracks.down is not None:
            self.tracks.down.update(self.tracks.down.codecs, active=False)
        self.agreed = None

    def _begin_with_keyframes(self, before: NegotiatedMedia, now: NegotiatedMedia) -> None:
        """After a hold, and for a decoder that is new, the picture begins anew in both directions."""
        moved = before.remote_rtp != now.remote_rtp
        up, down = self.tracks.up, self.tracks.down
        if now.direction.sends and (moved or not before.direction.sends) and down is not None and down.source:
            down.source.request_keyframe()
        if now.direction.receives and (moved or not before.direction.receives) and up is not None:
            up.request_keyframe()


def _live(address: tuple[str, int] | None) -> tuple[str, int] | None:
    """None for the port and the address that mean no media (RFC 3264 §5.1, §8.4)."""
    return address if address is not None and address[1] and address[0] not in ("0.0.0.0", "::") else None


def _srtp_keys(media: NegotiatedMedia) -> SrtpKeys | None:
    if media.local_crypto is None or media.remote_crypto is None:
        return None
    return SrtpKeys(
        local_suite=_SUITES[media.local_crypto.suite],
        local_key=media.local_crypto.key,
        remote_suite=_SUITES[media.remote_crypto.suite],
        remote_key=media.remote_crypto.key,
    )
