"""Which codecs exist for us, when two of them are the same, and how sets of them meet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from mediaserver._engine import static_payloads
from mediaserver.errors import NegotiationError
from mediaserver.sdp.description import Codec

TELEPHONE_EVENT: Final = "telephone-event"
COMFORT_NOISE: Final = "cn"

STATIC_PAYLOADS: Final[Mapping[int, tuple[str, int, int]]] = static_payloads()
"""Payload types that need no rtpmap (RFC 3551 §6): name, clock rate in Hz, channels."""

_STATIC_PTS: Final[Mapping[tuple[str, int, int], int]] = {
    (name.lower(), clock_rate, channels): pt for pt, (name, clock_rate, channels) in STATIC_PAYLOADS.items()
}

AUDIO_CODECS: Final = ("opus", "G722", "PCMU", "PCMA")
"""Names of the audio codecs that the engine forwards."""

VIDEO_CODECS: Final = ("H264", "VP8", "VP9", "AV1")
"""Names of the video codecs that the engine forwards."""

PHONE_VIDEO_CODECS: Final = ("H264", "VP8")
"""Those that phones have; more in an offer only makes it longer than a datagram."""

VIDEO_FEEDBACK: Final = ("nack", "nack pli", "ccm fir", "transport-cc", "goog-remb")

_FIRST_DYNAMIC_PT: Final = 96
_H264_CONSTRAINED = {"packetization-mode": "1", "profile-level-id": "42e01f", "level-asymmetry-allowed": "1"}

KNOWN: Final[Mapping[str, Codec]] = {
    "opus": Codec(111, "opus", 48000, 2, {"minptime": "10", "useinbandfec": "1"}),
    "G722": Codec(9, "G722", 8000),
    "PCMU": Codec(0, "PCMU", 8000),
    "PCMA": Codec(8, "PCMA", 8000),
    "telephone-event/48000": Codec(110, TELEPHONE_EVENT, 48000, 1, {"0-16": ""}),
    "telephone-event": Codec(101, TELEPHONE_EVENT, 8000, 1, {"0-16": ""}),
    "H264": Codec(102, "H264", 90000, 1, _H264_CONSTRAINED, VIDEO_FEEDBACK),
    "H264/0": Codec(103, "H264", 90000, 1, {**_H264_CONSTRAINED, "packetization-mode": "0"}, VIDEO_FEEDBACK),
    "VP8": Codec(96, "VP8", 90000, 1, {}, VIDEO_FEEDBACK),
    "VP9": Codec(98, "VP9", 90000, 1, {"profile-id": "0"}, VIDEO_FEEDBACK),
    "AV1": Codec(45, "AV1", 90000, 1, {"level-idx": "5", "profile": "0", "tier": "0"}, VIDEO_FEEDBACK),
}
"""What we write when we offer; the payload types are ours, and do not collide."""


@dataclass(frozen=True, slots=True)
class CommonCodec:
    """One codec that both legs have, each with its own payload type and parameters."""

    browser: Codec
    phone: Codec


@dataclass(frozen=True, slots=True)
class Bridge:
    """What two legs have in common, per kind and in the phone's order; `refused` says why a kind stays away."""

    codecs: Mapping[str, tuple[CommonCodec, ...]]
    refused: Mapping[str, str]


def is_media(codec: Codec) -> bool:
    """True for a codec that carries sound or picture, False for events, comfort noise, rtx and redundancy."""
    return codec.key not in (TELEPHONE_EVENT, COMFORT_NOISE, "rtx", "red", "ulpfec", "flexfec-03")


def h264_family(codec: Codec) -> str:
    """The profile family of an H264 codec: "baseline", "main", "extended", "high" or the profile_idc in hex.

    Baseline and constrained baseline are one family, and so are high and constrained high: what sets them apart
    (FMO, ASO, interlace) is sent by no real-time encoder, while phones and browsers name either for the same stream.
    An absent profile-level-id is baseline (RFC 6184 §8.1).
    """
    level_id = codec.fmtp.get("profile-level-id", "420010")
    try:
        value = int(level_id, 16)
    except ValueError:
        return "invalid"
    if len(level_id) != 6 or value < 0:
        return "invalid"
    profile, constraints = value >> 16, (value >> 8) & 0xFF
    # RFC 6184 table 5: constraint_set0 on main or constraint_set1 on extended also give a baseline stream.
    if profile == 0x42 or (profile == 0x4D and constraints & 0x80) or (profile == 0x58 and constraints & 0x80):
        return "baseline"
    return {0x4D: "main", 0x58: "extended", 0x64: "high"}.get(profile, f"{profile:02x}")


def h264_mode(codec: Codec) -> str:
    """The packetization mode of an H264 codec; absent is "0" (RFC 6184 §8.1)."""
    return codec.fmtp.get("packetization-mode", "0")


def matches(a: Codec, b: Codec) -> bool:
    """True if a stream of `a` can be forwarded as `b`; payload types and order do not count.

    H264 compares profile family and packetization mode, VP9 and AV1 their profile; levels are not compared,
    because an answer settles them.
    """
    key = a.key
    if key != b.key or a.channels != b.channels:
        return False
    # RFC 3551 §4.5.2: G722 is written with 8000 although it samples at 16000; some write what is true.
    if a.clock_rate != b.clock_rate and key != "g722":
        return False
    if key == "h264":
        return h264_family(a) == h264_family(b) != "invalid" and h264_mode(a) == h264_mode(b)
    if key == "vp9":
        return a.fmtp.get("profile-id", "0") == b.fmtp.get("profile-id", "0")
    if key == "av1":
        return a.fmtp.get("profile", "0") == b.fmtp.get("profile", "0")
    return True


def intersect(offered: Sequence[Codec], supported: Sequence[Codec]) -> tuple[Codec, ...]:
    """The codecs of `offered` that `supported` has too, in the order of `supported`, each once.

    The results are the offered ones: their payload types and parameters. Where several match one supported codec,
    the one whose H264 profile is written alike comes first.
    """
    found: list[Codec] = []
    for own in supported:
        for codec in sorted(
            (codec for codec in offered if matches(codec, own)), key=lambda c: not _same_profile(c, own)
        ):
            if codec not in found:
                found.append(codec)
    return tuple(found)


def ordered(codecs: Iterable[Codec], names: Sequence[str]) -> tuple[Codec, ...]:
    """The codecs whose name is in `names`, in that order; codecs of one name keep their own order."""
    keys = [name.lower() for name in names]
    return tuple(sorted((codec for codec in codecs if codec.key in keys), key=lambda codec: keys.index(codec.key)))


def events_for(chosen: Sequence[Codec], offered: Sequence[Codec]) -> tuple[Codec, ...]:
    """The telephone-event codecs of `offered` whose clock is that of a codec in `chosen`, first choice first.

    RFC 4733 §2.1 and RFC 7160 §4.1: events share SSRC and timestamps with the sound, so a strange clock would
    scramble both.
    """
    clocks = list(dict.fromkeys(codec.clock_rate for codec in chosen if is_media(codec)))
    events = [codec for codec in offered if codec.key == TELEPHONE_EVENT and codec.clock_rate in clocks]
    return tuple(sorted(events, key=lambda codec: clocks.index(codec.clock_rate)))


def repairs_for(chosen: Sequence[Codec], offered: Sequence[Codec]) -> tuple[Codec, ...]:
    """The rtx codecs of `offered` that repair a codec of `chosen` (RFC 4588 §8.1: `apt` is its payload type)."""
    originals = {str(codec.pt) for codec in chosen if is_media(codec)}
    return tuple(codec for codec in offered if codec.key == "rtx" and codec.fmtp.get("apt") in originals)


def redundancy_for(chosen: Sequence[Codec], offered: Sequence[Codec]) -> tuple[Codec, ...]:
    """The red codecs of `offered` whose blocks are all of codecs in `chosen` (RFC 2198 §5)."""
    known = {str(codec.pt) for codec in chosen if is_media(codec)}
    return tuple(
        codec
        for codec in offered
        if codec.key == "red" and len(codec.fmtp) == 1 and set(next(iter(codec.fmtp)).split("/")) <= known
    )


class PayloadTypes:
    """Gives each codec of one description a payload type: the static one, else the next dynamic one."""

    def __init__(self) -> None:
        self._next = _FIRST_DYNAMIC_PT

    def give(self, codec: Codec) -> Codec:
        """`codec` under the payload type that it has in this description."""
        pt = _STATIC_PTS.get((codec.key, codec.clock_rate, codec.channels))
        if pt is None:
            pt, self._next = self._next, self._next + 1
        return codec if codec.pt == pt else replace(codec, pt=pt)


def offerable(
    wanted: Sequence[Codec], payload_types: PayloadTypes, *, feedback: tuple[str, ...] = ()
) -> tuple[Codec, ...]:
    """What to offer a phone for a leg that speaks `wanted`: each codec once, then telephone-event at each clock.

    Of several H264 profiles the baseline family is offered alone where it is there: every phone decodes it.
    """
    candidates = [codec for codec in wanted if is_media(codec)]
    if any(codec.key == "h264" and h264_family(codec) == "baseline" for codec in candidates):
        candidates = [codec for codec in candidates if codec.key != "h264" or h264_family(codec) == "baseline"]
    chosen: list[Codec] = []
    for codec in candidates:
        if not any(matches(codec, other) for other in chosen):
            chosen.append(payload_types.give(codec.with_feedback(feedback)))
    return (*chosen, *(payload_types.give(event) for event in own_events(chosen)))


def own_events(codecs: Sequence[Codec]) -> tuple[Codec, ...]:
    """telephone-event of ours at each clock of the audio codecs in `codecs` (RFC 4733 §2.1)."""
    clocks = dict.fromkeys(codec.clock_rate for codec in codecs if is_media(codec) and codec.clock_rate <= 48_000)
    event = KNOWN["telephone-event"]
    return tuple(event if event.clock_rate == clock else replace(event, clock_rate=clock) for clock in clocks)


def bridgeable(browser: Mapping[str, Sequence[Codec]], phone: Mapping[str, Sequence[Codec]]) -> Bridge:
    """What a browser leg and a phone leg can exchange without transcoding, per kind ("audio", "video").

    Order and choice follow the phone, because a phone that answered with one codec sends that one. Telephone events
    are left out: each leg has its own. Raises NegotiationError (305) if both have sound but no codec for it in
    common, or if nothing at all is common; its text names what each side has.
    """
    codecs: dict[str, tuple[CommonCodec, ...]] = {}
    refused: dict[str, str] = {}
    for kind in dict.fromkeys((*browser, *phone)):
        ours = [codec for codec in browser.get(kind, ()) if is_media(codec)]
        theirs = [codec for codec in phone.get(kind, ()) if is_media(codec)]
        if not ours and not theirs:
            continue
        pairs = _pairs(ours, theirs)
        if pairs:
            codecs[kind] = pairs
        else:
            refused[kind] = f"No common {kind} codec: the browser has {_named(ours)}; the phone has {_named(theirs)}."
    audio_differs = "audio" in refused and bool(browser.get("audio")) and bool(phone.get("audio"))
    if audio_differs or not codecs:
        text = " ".join(refused.values()) or "Neither the browser nor the phone offers any media."
        raise NegotiationError(text, warning_code=305)
    return Bridge(codecs, refused)


def _pairs(browser: Sequence[Codec], phone: Sequence[Codec]) -> tuple[CommonCodec, ...]:
    pairs = []
    for theirs in phone:
        candidates = [ours for ours in browser if matches(ours, theirs)]
        if candidates:
            pairs.append(CommonCodec(min(candidates, key=lambda ours: not _same_profile(ours, theirs)), theirs))
    return tuple(pairs)


def _named(codecs: Sequence[Codec]) -> str:
    return ", ".join(dict.fromkeys(str(codec) for codec in codecs)) or "none"


def _same_profile(a: Codec, b: Codec) -> bool:
    first, second = (codec.fmtp.get("profile-level-id", "420010").lower()[:4] for codec in (a, b))
    return first == second
