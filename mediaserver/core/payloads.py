"""Codecs of a session description as the engine wants to hear of them."""

from __future__ import annotations

from collections.abc import Iterable

from mediaserver.engine.commands import Payload
from mediaserver.sdp.description import Codec


def payloads_of(codecs: Iterable[Codec]) -> tuple[Payload, ...]:
    """One engine payload per codec, in the same order."""
    return tuple(
        Payload(
            pt=codec.pt,
            codec=codec.name,
            clock_rate=codec.clock_rate,
            channels=codec.channels,
            fmtp=dict(codec.fmtp),
            feedback=tuple(codec.feedback),
        )
        for codec in codecs
    )
