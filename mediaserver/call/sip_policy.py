"""What a SIP leg may use: codecs, encryption, and what admission control left of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

from mediaserver.call.leg import KINDS, Codecs
from mediaserver.call.transcoding import TranscodeRule, widened
from mediaserver.engine.commands import Kind
from mediaserver.sdp.codecs import KNOWN, matches, ordered
from mediaserver.sdp.description import Codec

SrtpPolicy = Literal["require", "prefer", "never"]
SrtpKeying = Literal["sdes", "dtls"]

EVERYTHING: Final[Codecs] = {
    "audio": tuple(KNOWN[name] for name in ("opus", "G722", "PCMU", "PCMA")),
    "video": tuple(KNOWN[name] for name in ("H264", "H264/0", "VP8")),
}
"""What an INVITE without an offer may be answered with."""


@dataclass(frozen=True, slots=True)
class SipPolicy:
    """What a SIP leg may use. Codec names in order of preference."""

    audio_codecs: tuple[str, ...]
    video_codecs: tuple[str, ...]
    srtp: SrtpPolicy
    transcode: TranscodeRule = "never"
    tells_hold: bool = True
    """Whether the peer is told by SDP when the house puts it on hold."""
    srtp_keys: SrtpKeying = "sdes"
    """How our offers want the keys of SRTP to be agreed."""
    offers_text: bool = False
    """Real-time text is offered, and not only taken."""

    def towards(self, codecs: Codecs) -> Codecs:
        """What the leg may be offered when it meets one with `codecs`: those allowed, and what would be transcoded."""
        return self.limited(widened(codecs, self.audio_codecs, self.transcode))

    def limited(self, codecs: Codecs) -> Codecs:
        """`codecs` as far as the policy allows them, in the policy's order."""
        names = {"audio": self.audio_codecs, "video": self.video_codecs}
        limited = {kind: ordered(codecs.get(kind, ()), names[kind]) for kind in KINDS}
        return {kind: allowed for kind, allowed in limited.items() if allowed}


def within(wanted: Codecs, admitted: Codecs) -> Codecs:
    """What of `wanted` was admitted, with the rate that Opus was given."""
    kept: dict[Kind, tuple[Codec, ...]] = {}
    for kind, codecs in wanted.items():
        pairs = [(c, next((each for each in admitted.get(kind, ()) if matches(c, each)), None)) for c in codecs]
        found = tuple(_with_rate(codec, limit) for codec, limit in pairs if limit is not None)
        if found:
            kept[kind] = found
    return kept


def lacking(spoken: Codecs, capable: Codecs, theirs: Codecs) -> Codecs:
    """What to offer a phone that speaks `spoken` and could speak `capable`, so that it meets `theirs`.

    Empty where it does already, or never will.
    """
    wanted: dict[Kind, tuple[Codec, ...]] = {}
    lacks = False
    for kind in KINDS:
        own, others = spoken.get(kind, ()), theirs.get(kind, ())
        both = tuple(codec for codec in capable.get(kind, ()) if any(matches(codec, other) for other in others))
        if both or own:
            wanted[kind] = both or own
        lacks = lacks or (bool(both) and not (own and any(matches(own[0], other) for other in others)))
    return wanted if lacks else {}


def _with_rate(codec: Codec, limit: Codec) -> Codec:
    rate = limit.fmtp.get("maxaveragebitrate")
    return codec if rate is None else replace(codec, fmtp={**codec.fmtp, "maxaveragebitrate": rate})


def srtp_towards(policy: SrtpPolicy, keys: SrtpKeying, transport: str) -> bool:
    """Whether our offer is encrypted: SDES keys belong into signalling that is itself encrypted (RFC 4568 §7).

    DTLS brings its keys by another way, and shows at least to an eavesdropper nothing.
    """
    return policy == "require" or (policy == "prefer" and (keys == "dtls" or transport == "tls"))
