"""Offers and answers towards SIP phones and gateways (RFC 3264), with SDES keys (RFC 4568) or DTLS (RFC 5763).

The caller decides what may be used (`LocalMedia` per section) and owns ports and keys; this file decides what the
descriptions say and what both sides agreed on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from ipaddress import ip_address
from typing import Final

from mediaserver.errors import NegotiationError
from mediaserver.sdp import dtls
from mediaserver.sdp.codecs import TELEPHONE_EVENT, events_for, intersect, is_media, matches, redundancy_for
from mediaserver.sdp.description import (
    Bandwidth,
    Codec,
    Crypto,
    Direction,
    MediaDescription,
    Origin,
    SessionDescription,
)

KEY_LENGTHS: Final[Mapping[str, int]] = {
    "AEAD_AES_128_GCM": 28,
    "AEAD_AES_256_GCM": 44,
    "AES_CM_128_HMAC_SHA1_80": 30,
    "AES_CM_128_HMAC_SHA1_32": 30,
}
"""SDES suites in our order of preference, with the bytes of master key and salt (RFC 4568 §6.2, RFC 7714 §14.3)."""

WARN_TRANSPORT: Final = 302
WARN_MEDIA_TYPE: Final = 304
WARN_FORMAT: Final = 305
WARN_ATTRIBUTE: Final = 306
WARN_OTHER: Final = 399

FEEDBACK: Final = ("nack pli", "ccm fir", "ccm tmmbr", "goog-remb")
"""What phones are asked and answered with: requests for keyframes and for lower rates.

Retransmission and transport-wide feedback are for browsers.
"""

_PROFILES: Final = ("RTP/AVP", "RTP/AVPF", "RTP/SAVP", "RTP/SAVPF", *dtls.PROFILES)


@dataclass(frozen=True, slots=True)
class LocalMedia:
    """What we put into one section: where we receive, what we can do, and our SDES keys.

    `codecs` are in our order of preference, events included. `crypto` in our order of preference, one key each
    (see `make_cryptos`); empty means plain RTP. A `port` of 0 keeps the section's place without media.
    """

    kind: str
    address: str
    port: int
    rtcp_port: int | None = None
    codecs: tuple[Codec, ...] = ()
    direction: Direction = Direction.SENDRECV
    crypto: tuple[Crypto, ...] = ()
    crypto_required: bool = True
    """With `crypto`: offer SAVP and refuse plain RTP. False offers AVP with keys and takes what comes."""
    dtls: dtls.LocalDtls | None = None
    """Keys come by DTLS, and `crypto` is empty."""
    rtcp_mux: bool = False
    ptime: int | None = None
    """Milliseconds of sound per packet that we would like to receive."""
    bandwidth: tuple[Bandwidth, ...] = ()
    """`b=` lines: the most that we want to receive."""


@dataclass(frozen=True, slots=True)
class NegotiatedMedia:
    """What an offer and its answer agreed on for one section; sections without agreement are absent."""

    index: int
    kind: str
    send: tuple[Codec, ...]
    """Media codecs we may send, with the remote side's payload types and parameters; the first is the choice."""
    receive: tuple[Codec, ...]
    """Media codecs we may receive, with our payload types and parameters."""
    dtmf_send: Codec | None
    """telephone-event as we may send it, at the clock of the first codec."""
    dtmf_receive: tuple[Codec, ...]
    """telephone-event as it may come in."""
    direction: Direction
    """Ours."""
    remote_rtp: tuple[str, int] | None
    """None while the remote side names no usable address (0.0.0.0, a host name): latch, or stay silent."""
    remote_rtcp: tuple[str, int] | None
    rtcp_mux: bool
    local_crypto: Crypto | None
    remote_crypto: Crypto | None
    """Both None for plain RTP and for DTLS."""
    dtls: dtls.NegotiatedDtls | None
    """How DTLS brings the keys; None where it does not."""
    ptime: int | None
    """Milliseconds of sound per packet that the remote side would like to receive."""


def make_cryptos(
    random_bytes: Callable[[int], bytes], suites: Sequence[str] = tuple(KEY_LENGTHS)
) -> tuple[Crypto, ...]:
    """Fresh keys for `suites`, tags counted from 1. `random_bytes(n)` must give n bytes fit for keys."""
    return tuple(Crypto(tag, suite, random_bytes(KEY_LENGTHS[suite])) for tag, suite in enumerate(suites, 1))


def first_of_kind(offer: SessionDescription, kind: str, *, secure: bool | None = None) -> int | None:
    """The index of the section that a call uses for `kind`: the first that is offered, over RTP, and not slides.

    Some phones offer the same sound twice, encrypted and plain: `secure` True takes only an encrypted one, False
    only one of a plain profile.
    """
    for index, media in enumerate(offer.media):
        if media.kind != kind or media.rejected or media.protocol not in _PROFILES:
            continue
        if secure is None:
            fits = True
        elif secure:
            fits = bool(media.cryptos) or dtls.wants_dtls(media)
        else:
            fits = "SAVP" not in media.protocol
        if fits and media.attribute("content") != "slides":
            return index
    return None


def keep_payload_types(codecs: Sequence[Codec], earlier: Sequence[Codec]) -> tuple[Codec, ...]:
    """`codecs` for a further offer, under the payload types that the dialog has used for them (RFC 3264 §8.3.2).

    `earlier` is what was agreed before. A codec that is new moves to a free number if its own is taken.
    """
    taken = {codec.pt for codec in earlier}
    kept = []
    for codec in codecs:
        known = next((found for found in earlier if matches(found, codec)), None)
        pt = known.pt if known is not None else codec.pt
        if known is None and pt in taken:
            pt = next(free for free in (*range(96, 128), *range(35, 64)) if free not in taken)
        taken.add(pt)
        kept.append(codec if codec.pt == pt else replace(codec, pt=pt))
    return tuple(kept)


def make_offer(
    media: Sequence[LocalMedia], *, session_id: int | str, version: int, address: str, name: str = "-"
) -> SessionDescription:
    """Our offer; `media` in the order of the sections, which never changes within a dialog (RFC 3264 §8).

    `version` grows by one with each description that differs (RFC 3264 §8).
    """
    sections = tuple(_offer_section(local) for local in media)
    return SessionDescription(Origin("-", str(session_id), str(version), address), name, address, media=sections)


def make_answer(
    offer: SessionDescription,
    media: Mapping[int, LocalMedia],
    *,
    session_id: int | str,
    version: int,
    address: str,
    name: str = "-",
) -> SessionDescription:
    """Our answer to `offer`, section by section; `media` maps the indices that we take to what we have for them.

    Sections not in `media`, of an unknown transport, or without a common codec or key are refused with port 0.
    Payload types are the offerer's, the order of codecs is ours. Raises NegotiationError if the offer holds
    sections and none of them can be taken; the text says why.
    """
    sections: list[MediaDescription] = []
    problems: list[NegotiationError] = []
    for index, offered in enumerate(offer.media):
        local = media.get(index)
        if local is None or local.port == 0 or offered.rejected:
            sections.append(refusal(offered))
            continue
        try:
            sections.append(_answer_section(offered, local))
        except NegotiationError as error:
            problems.append(error)
            sections.append(refusal(offered))
    wanted = any(not offered.rejected for offered in offer.media)
    if wanted and all(section.rejected for section in sections):
        kinds = ", ".join(dict.fromkeys(offered.kind for offered in offer.media))
        raise (
            problems[0]
            if problems
            else NegotiationError(
                f"None of the media types offered ({kinds}) is available here.", warning_code=WARN_MEDIA_TYPE
            )
        )
    # RFC 3264 §6: t= of the answer equals that of the offer.
    return SessionDescription(
        Origin("-", str(session_id), str(version), address), name, address, timing=offer.timing, media=tuple(sections)
    )


def negotiate(
    local: SessionDescription, remote: SessionDescription, *, we_offered: bool
) -> tuple[NegotiatedMedia, ...]:
    """What `local` and `remote`, one of them the offer and the other its answer, agree on.

    Raises NegotiationError if an answer takes a section without a codec or key in common, has another number of
    sections, or takes none although we offered some.
    """
    if len(local.media) != len(remote.media):
        raise NegotiationError(
            f"The answer has {len(remote.media)} media sections, the offer {len(local.media)}.", warning_code=WARN_OTHER
        )
    agreed = []
    for index, (ours, theirs) in enumerate(zip(local.media, remote.media, strict=True)):
        if ours.rejected or theirs.rejected or not ours.is_rtp:
            continue
        agreed.append(_negotiate_section(index, ours, theirs, we_offered=we_offered))
    if we_offered and not agreed and any(not media.rejected for media in local.media):
        raise NegotiationError("The remote side refused every media section.", warning_code=WARN_MEDIA_TYPE)
    return tuple(agreed)


# Sections ------------------------------------------------------------------------------------------------------------


def _offer_section(local: LocalMedia) -> MediaDescription:
    secure = bool(local.crypto) and local.crypto_required
    codecs = tuple(_with_feedback(codec, codec.feedback) for codec in local.codecs)
    profile = "RTP/SAVP" if secure else "RTP/AVP"
    section = _local_section(local, profile, codecs, local.direction, cryptos=local.crypto, rtcp_mux=local.rtcp_mux)
    if local.dtls is not None:
        section = dtls.offered(section, local.dtls)
    return section if local.port else refusal(section)


def _answer_section(offered: MediaDescription, local: LocalMedia) -> MediaDescription:
    if offered.protocol not in _PROFILES:
        raise NegotiationError(
            f"The transport {offered.protocol} of {offered.kind} is not available here.", warning_code=WARN_TRANSPORT
        )
    if offered.kind != local.kind:
        raise NegotiationError(f"The media type {offered.kind} is not available here.", warning_code=WARN_MEDIA_TYPE)
    codecs = _answer_codecs(offered, local)
    direction = local.direction.answering(_effective_direction(offered))
    terms = local.dtls if local.dtls is not None and dtls.wants_dtls(offered) else None
    crypto = _choose_crypto(offered, local) if terms is None else None
    section = _local_section(
        local,
        offered.protocol,
        codecs,
        direction,
        cryptos=(crypto,) if crypto else (),
        rtcp_mux=local.rtcp_mux and offered.rtcp_mux,
        mid=offered.mid,
    )
    return section if terms is None else dtls.answered(section, offered, terms)


def _local_section(
    local: LocalMedia,
    protocol: str,
    codecs: tuple[Codec, ...],
    direction: Direction,
    *,
    cryptos: tuple[Crypto, ...],
    rtcp_mux: bool,
    mid: str | None = None,
) -> MediaDescription:
    default_rtcp = local.port + 1
    explicit = local.rtcp_port if local.rtcp_port not in (None, default_rtcp) else None
    return MediaDescription(
        kind=local.kind,
        port=local.port,
        protocol=protocol,
        formats=tuple(str(codec.pt) for codec in codecs),
        connection=local.address,
        bandwidth=local.bandwidth,
        direction=direction,
        codecs=codecs,
        ptime=local.ptime if local.kind == "audio" else None,
        mid=mid,
        rtcp_mux=rtcp_mux,
        rtcp_port=explicit,
        cryptos=cryptos,
    )


def refusal(offered: MediaDescription) -> MediaDescription:
    """The place of a section without media: its kind, its transport, and port 0."""
    # RFC 3264 §6: at least one format, which nobody reads.
    return MediaDescription(
        offered.kind, 0, offered.protocol, offered.formats or ("0",), direction=Direction.INACTIVE, mid=offered.mid
    )


def _answer_codecs(offered: MediaDescription, local: LocalMedia) -> tuple[Codec, ...]:
    own = [codec for codec in local.codecs if is_media(codec)]
    chosen = intersect([codec for codec in offered.codecs if is_media(codec)], own)
    if not chosen:
        theirs = ", ".join(dict.fromkeys(str(codec) for codec in offered.codecs if is_media(codec))) or "nothing known"
        ours = ", ".join(dict.fromkeys(str(codec) for codec in own)) or "nothing"
        raise NegotiationError(
            f"No common {offered.kind} codec: offered are {theirs}; available are {ours}.", warning_code=WARN_FORMAT
        )
    answered = [_answer_codec(codec, next(c for c in own if matches(c, codec))) for codec in chosen]
    if any(codec.key == TELEPHONE_EVENT for codec in local.codecs):
        answered += [event.with_feedback(()) for event in events_for(chosen, offered.codecs)]
    if any(codec.key == "red" for codec in local.codecs):
        # RFC 4103 §10.1: where the peer can read redundancy it is the first format, and so the one that is sent.
        answered = [*(red.with_feedback(()) for red in redundancy_for(chosen, offered.codecs)[:1]), *answered]
    return tuple(answered)


def _answer_codec(offered: Codec, own: Codec) -> Codec:
    """The offered codec as we answer it: the offerer's payload type, our parameters, common feedback."""
    fmtp = answer_h264(offered.fmtp, own.fmtp) if offered.key == "h264" else dict(own.fmtp)
    feedback = tuple(entry for entry in own.feedback if entry in offered.feedback)
    return _with_feedback(replace(offered, fmtp=fmtp), feedback)


def _with_feedback(codec: Codec, feedback: Sequence[str]) -> Codec:
    return codec.with_feedback(tuple(entry for entry in feedback if entry in FEEDBACK))


def answer_h264(offered: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """The H264 parameters of an answer (RFC 6184 §8.2.2).

    The profile is the offerer's, as written, and so is the packetization mode; the level is ours where both sides
    allow asymmetry, else the lower one. An offerer that names no profile gets none back: both then mean the default.
    """
    theirs, ours = offered.get("profile-level-id", "420010"), own.get("profile-level-id", "420010")
    asymmetric = offered.get("level-asymmetry-allowed") == own.get("level-asymmetry-allowed") == "1"
    level = ours[4:6] if asymmetric else min(theirs[4:6], ours[4:6], key=lambda text: int(text, 16))
    answer = {key: value for key, value in own.items() if not key.startswith("sprop-")}
    answer["profile-level-id"] = (theirs[:4] + level).lower()
    if "profile-level-id" not in offered:
        del answer["profile-level-id"]
    answer.pop("packetization-mode", None)
    if "packetization-mode" in offered:
        answer["packetization-mode"] = offered["packetization-mode"]
    if not asymmetric:
        answer.pop("level-asymmetry-allowed", None)
    return answer


def _choose_crypto(offered: MediaDescription, local: LocalMedia) -> Crypto | None:
    secure = "SAVP" in offered.protocol
    for own in local.crypto:
        for theirs in offered.cryptos:
            if theirs.suite == own.suite and usable_crypto(theirs):
                # RFC 4568 §5.1.2: the answer repeats the tag and has a key of its own.
                return replace(own, tag=theirs.tag)
    if secure:
        reason = "no SRTP suite and key in common" if local.crypto else "SRTP is switched off for this peer"
        raise NegotiationError(
            f"The {offered.kind} offered over {offered.protocol} cannot be taken: {reason}.",
            warning_code=WARN_ATTRIBUTE,
        )
    if local.crypto and local.crypto_required:
        raise NegotiationError(
            f"The {offered.kind} is offered without SRTP keys, and this peer must encrypt.", warning_code=WARN_ATTRIBUTE
        )
    return None


def usable_crypto(crypto: Crypto) -> bool:
    """True for a suite we have, a key of its length, no MKI and no session parameters (RFC 4568 §6.3, §7.1.1)."""
    return KEY_LENGTHS.get(crypto.suite) == len(crypto.key) and not crypto.mki and not crypto.session_parameters


def _effective_direction(media: MediaDescription) -> Direction:
    # RFC 3264 §8.4: 0.0.0.0 is the old way to put on hold: the writer wants to receive nothing.
    if media.connection in ("0.0.0.0", "::"):
        return media.direction.limited_to(Direction.SENDONLY)
    return media.direction


def _negotiate_section(
    index: int, ours: MediaDescription, theirs: MediaDescription, *, we_offered: bool
) -> NegotiatedMedia:
    answer, offer = (theirs, ours) if we_offered else (ours, theirs)
    order = [codec for codec in answer.codecs if any(matches(codec, other) for other in offer.codecs)]
    send = _in_order(theirs.codecs, order, ours.codecs)
    receive = _in_order(ours.codecs, order, theirs.codecs)
    if not any(is_media(codec) for codec in send):
        named = ", ".join(str(codec) for codec in theirs.codecs) or "nothing known"
        raise NegotiationError(f"The {ours.kind} section has no codec in common: {named}.", warning_code=WARN_FORMAT)
    association = dtls.negotiated(ours, theirs, we_offered=we_offered)
    cryptos = (None, None) if association else _agreed_cryptos(ours, theirs, we_offered=we_offered)
    rtp = _address(theirs.connection, theirs.port)
    mux = ours.rtcp_mux and theirs.rtcp_mux
    rtcp = rtp if mux else _address(theirs.rtcp_address or theirs.connection, theirs.rtcp_port or theirs.port + 1)
    media_send = tuple(codec for codec in send if is_media(codec))
    return NegotiatedMedia(
        index=index,
        kind=ours.kind,
        send=media_send,
        receive=tuple(codec for codec in receive if is_media(codec)),
        dtmf_send=next(iter(events_for(media_send[:1], send)), None),
        dtmf_receive=tuple(codec for codec in receive if codec.key == TELEPHONE_EVENT),
        direction=ours.direction.limited_to(_effective_direction(theirs).reversed),
        remote_rtp=rtp,
        remote_rtcp=rtcp if rtp else None,
        rtcp_mux=mux,
        local_crypto=cryptos[0],
        remote_crypto=cryptos[1],
        dtls=association,
        ptime=theirs.ptime,
    )


def _in_order(codecs: Sequence[Codec], order: Sequence[Codec], other: Sequence[Codec]) -> tuple[Codec, ...]:
    """`codecs` that the other side has too, in the answer's order, with the feedback both sides named."""
    found: dict[int, tuple[int, Codec]] = {}
    for codec in codecs:
        partner = next((candidate for candidate in other if matches(codec, candidate)), None)
        rank = next((rank for rank, wanted in enumerate(order) if matches(codec, wanted)), None)
        if partner is not None and rank is not None:
            feedback = tuple(entry for entry in codec.feedback if entry in partner.feedback)
            found.setdefault(codec.pt, (rank, codec.with_feedback(feedback)))
    return tuple(codec for _, codec in sorted(found.values(), key=lambda entry: entry[0]))


def _agreed_cryptos(
    ours: MediaDescription, theirs: MediaDescription, *, we_offered: bool
) -> tuple[Crypto | None, Crypto | None]:
    answer, offer = (theirs, ours) if we_offered else (ours, theirs)
    if not answer.cryptos:
        if "SAVP" in answer.protocol:
            raise NegotiationError(
                f"The {ours.kind} was answered over SRTP without a key.", warning_code=WARN_ATTRIBUTE
            )
        return None, None
    chosen = answer.cryptos[0]
    partner = next((c for c in offer.cryptos if c.tag == chosen.tag and c.suite == chosen.suite), None)
    if partner is None or not usable_crypto(chosen):
        raise NegotiationError(
            f"The {ours.kind} was answered with an SRTP suite that was not offered.", warning_code=WARN_ATTRIBUTE
        )
    return (partner, chosen) if we_offered else (chosen, partner)


def _address(host: str | None, port: int) -> tuple[str, int] | None:
    address = _usable(host) if host else None
    return (address, port) if address is not None and 0 < port < 65536 else None


@lru_cache(maxsize=1024)
def _usable(host: str) -> str | None:
    try:
        address = ip_address(host)
    except ValueError:
        return None
    return None if address.is_unspecified or address.is_multicast else str(address)
