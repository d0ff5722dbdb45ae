"""Which sound is decoded and encoded between two legs, and into what; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, Literal

from mediaserver.core.transcoder import TRANSCODABLE, transcodable
from mediaserver.sdp.codecs import KNOWN, is_media, matches
from mediaserver.sdp.description import Codec

if TYPE_CHECKING:
    from mediaserver.engine.commands import Kind

TranscodeRule = Literal["never", "when_needed", "prefer_opus"]
"""`when_needed`: where two legs share no codec for sound; `prefer_opus`: wherever one of them has Opus, too."""

_STRENGTH: Final[Mapping[TranscodeRule, int]] = {"never": 0, "when_needed": 1, "prefer_opus": 2}


def stronger(one: TranscodeRule, other: TranscodeRule) -> TranscodeRule:
    """The rule for two legs that each have one."""
    return max(one, other, key=_STRENGTH.__getitem__)


def widened(
    codecs: Mapping[Kind, tuple[Codec, ...]], names: Sequence[str], rule: TranscodeRule
) -> Mapping[Kind, tuple[Codec, ...]]:
    """What can be offered to a leg that may use the audio codecs `names` and meets one that has `codecs`.

    To those in common come those that the daemon would transcode: all of them with `prefer_opus`, and with
    `when_needed` only where nothing is in common. In the order of `names`.
    """
    theirs = codecs.get("audio", ())
    common = [codec for codec in theirs if codec.key in _keys(names)]
    if rule == "never" or not any(map(_transcodable, theirs)) or (common and rule == "when_needed"):
        return codecs
    lacking = [KNOWN[name] for name in names if name.lower() in TRANSCODABLE and name.lower() not in _keys_of(common)]
    return {**codecs, "audio": (*theirs, *lacking)}


def understood(
    own: Mapping[Kind, tuple[Codec, ...]], theirs: Mapping[Kind, tuple[Codec, ...]], rule: TranscodeRule
) -> Mapping[Kind, tuple[Codec, ...]]:
    """What a leg with the codecs `own` can speak to one with `theirs`: that one's codecs, or what is transcoded."""
    mine, others = own.get("audio", ()), theirs.get("audio", ())
    if rule == "never" or not any(map(_transcodable, mine)) or not any(map(_transcodable, others)):
        return theirs
    opus = tuple(codec for codec in mine if codec.key == "opus")
    if rule == "prefer_opus" and opus and "opus" not in _keys_of(others):
        return {**theirs, "audio": opus}
    if any(matches(codec, other) for codec in mine for other in others if is_media(codec)):
        return theirs
    return {**theirs, "audio": tuple(codec for codec in mine if _transcodable(codec))}


def transcoded_into(sent: Sequence[Codec], taken: Sequence[Codec], rule: TranscodeRule) -> tuple[Codec, Codec] | None:
    """From what into what one direction is transcoded; None where it is forwarded as it is.

    `sent` are the codecs of who speaks, `taken` those of who listens, both with what is used first.
    """
    source, target = transcodable(sent), transcodable(taken)
    if rule == "never" or source is None or target is None:
        return None
    direct = any(matches(source, codec) for codec in taken)
    wants_opus = rule == "prefer_opus" and target.key == "opus" and source.key != "opus"
    return (source, target) if wants_opus or not direct else None


def _transcodable(codec: Codec) -> bool:
    return codec.key in TRANSCODABLE


def _keys(names: Sequence[str]) -> set[str]:
    return {name.lower() for name in names}


def _keys_of(codecs: Sequence[Codec]) -> set[str]:
    return {codec.key for codec in codecs}
