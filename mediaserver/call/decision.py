"""What admission control decided about a leg, kind by kind of its media."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from mediaserver.config.bandwidth import MediaKind
from mediaserver.config.values import format_bitrate

Outcome = Literal["admitted", "lower_rate", "refused"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one kind of a leg's media."""

    outcome: Outcome
    bps: int | None
    """Most that the leg may use, headers included; None is no bound."""
    limit: str = ""
    """What was too narrow: a key of the configuration, or `peer` for the peer's `b=` line or the other leg's cap."""

    def __str__(self) -> str:
        rate = f" {format_bitrate(self.bps)}" if self.bps else ""
        why = f" ({self.limit})" if self.limit and self.outcome != "admitted" else ""
        return f"{self.outcome.replace('_', ' ')}{rate}{why}"


@dataclass(frozen=True, slots=True)
class Decision:
    """What a leg was given; kinds that were not asked for are absent."""

    verdicts: Mapping[MediaKind, Verdict]

    @property
    def outcome(self) -> Literal["admitted", "lower_rate", "audio_only", "refused"]:
        """The worst that happened to the leg as a whole."""
        refused = {kind for kind, verdict in self.verdicts.items() if verdict.outcome == "refused"}
        if "audio" in refused or (refused and refused == set(self.verdicts)):
            return "refused"
        if refused:
            return "audio_only"
        lower = any(verdict.outcome == "lower_rate" for verdict in self.verdicts.values())
        return "lower_rate" if lower else "admitted"

    @property
    def denied(self) -> dict[MediaKind, str]:
        """Kinds that the leg may not have, with the limit that was too narrow."""
        return {kind: verdict.limit for kind, verdict in self.verdicts.items() if verdict.outcome == "refused"}

    def __str__(self) -> str:
        return ", ".join(f"{kind} {verdict}" for kind, verdict in self.verdicts.items())


def rate_text(bps: int | None) -> str:
    """For people; None is no bound."""
    return "unbounded" if bps is None else format_bitrate(bps)
