"""One leg's account with admission control: what its kinds of media may use, decided codec by codec."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import structlog

from mediaserver.call.decision import Decision, Outcome, Verdict, rate_text
from mediaserver.call.lines import Lines
from mediaserver.config.bandwidth import MEDIA_KINDS, MediaKind
from mediaserver.core.ledger import Change, Grant, Shortage
from mediaserver.core.sites import Hop
from mediaserver.errors import InsufficientBandwidth
from mediaserver.sdp.bandwidth import PLAIN, Need, Packets, above_udp, audio_need, to_tias
from mediaserver.sdp.codecs import is_media
from mediaserver.sdp.description import Codec

USUAL_PICTURE_BPS: Final = 2_500_000
"""What a picture is lent at most where a line has a budget and no cap says otherwise: 720p with some to spare."""

ELSEWHERE: Final = "elsewhere"
"""How metrics and logs name parties that no site holds."""

BROWSER_PACKETS: Final = Packets(auth_tag=16, extensions=16)
"""Media of a browser: AEAD, and audio level, transport-wide numbers and mid in one-byte form (RFC 8285 §4.2)."""

SRTP_PACKETS: Final = Packets(auth_tag=10)
"""Media of a phone that may be encrypted."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Party:
    """What is known of the other end of a leg, before anything is negotiated."""

    address: str = ""
    """Where its signalling comes from: an IP address."""
    trunk: str | None = None
    user: str | None = None
    packets: Packets = PLAIN
    """Headers of its media, apart from the IP version, which its address tells."""
    room: str | None = None
    """For a publisher: the room whose cap its media count against."""
    participant: str | None = None


class Booking:
    """What one leg has reserved on `way`. `note(what, detail)` gets every decision."""

    def __init__(
        self,
        lines: Lines,
        *,
        leg_id: str,
        party: Party,
        site: str | None,
        way: tuple[Hop, ...],
        contact_id: str = "",
        note: Callable[[str, str], None] | None = None,
    ) -> None:
        self._lines = lines
        self.leg_id = leg_id
        self.party = party
        ipv6 = ":" in party.address
        self.packets = party.packets if party.packets.ipv6 == ipv6 else replace(party.packets, ipv6=ipv6)
        """Headers of the leg's media."""
        self.site = site
        self.way = way
        self.contact_id = contact_id
        self._note = note
        self.decision = Decision({})
        """The last one."""
        self._limits: Mapping[MediaKind, int] = {}
        self._carries: dict[MediaKind, tuple[int, Sequence[Codec]]] = {}
        self._beside: weakref.ref[Booking] | None = None
        self.on_change: Callable[[MediaKind, int | None], None] | None = None
        """Told the new rate of a kind when it changes without the leg asking; None is no bound any more."""

    @property
    def matters(self) -> bool:
        """Whether any line or cap has to do with the leg; most houses have neither, and most calls pass neither."""
        return bool(self.way) or any(self._lines.cap(self.way, kind) for kind in MEDIA_KINDS)

    def narrow(
        self,
        codecs: Mapping[MediaKind, Sequence[Codec]],
        limits: Mapping[MediaKind, int] | None = None,
        others: Mapping[MediaKind, int] | None = None,
    ) -> dict[MediaKind, tuple[Codec, ...]]:
        """What of `codecs` the leg may use, and reserves it.

        `limits` are the peer's own, by its `b=` lines; `others` the wishes of the leg on the other side.
        A kind that has no room is left out; codecs that need more than there is are left out too, and Opus is told
        its rate. Asking again is charged the difference. Raises InsufficientBandwidth when sound was asked for and has
        no room, or when nothing has; nothing stays reserved then, unless it was before.
        """
        self._limits = limits or {}
        limits = _least(self._limits, others or {})
        before = self.decision
        verdicts: dict[MediaKind, Verdict] = {}
        allowed: dict[MediaKind, tuple[Codec, ...]] = {}
        for kind in MEDIA_KINDS:
            asked = tuple(codecs.get(kind, ()))
            if not asked:
                continue
            verdict, kept = (
                self._sound(asked, limits.get(kind))
                if kind == "audio"
                else self._picture(kind, asked, limits.get(kind))
            )
            verdicts[kind] = verdict
            if kept:
                allowed[kind] = kept
        self._decide(Decision(verdicts))
        if self.decision.outcome == "refused":
            denied = self.decision.denied
            if before.verdicts:
                self.decision = before
            else:
                self.release()
            raise InsufficientBandwidth(
                f"There is not enough bandwidth for {' and '.join(denied)} of this call.",
                limit=next(iter(denied.values())),
            )
        return allowed

    def settle(
        self,
        agreed: Mapping[MediaKind, Sequence[Codec]],
        limits: Mapping[MediaKind, int] | None = None,
        others: Mapping[MediaKind, int] | None = None,
    ) -> None:
        """After offer and answer: keeps what the chosen codecs need, and gives back the rest. Never refuses."""
        self._limits = limits or {}
        limits = _least(self._limits, others or {})
        for kind in MEDIA_KINDS:
            verdict = self.decision.verdicts.get(kind)
            if verdict is None or verdict.outcome == "refused":
                continue
            chosen = next((codec for codec in agreed.get(kind, ()) if is_media(codec)), None)
            if chosen is None:
                self._lines.release(self, kind)
                self.decision = Decision({k: v for k, v in self.decision.verdicts.items() if k != kind})
            elif kind == "audio":
                self._settle_sound(verdict, self.need(chosen))
            else:
                self._settle_picture(kind, verdict, limits.get(kind))

    def carry(self, kind: MediaKind, tracks: int, codecs: Sequence[Codec]) -> int:
        """Reserves for so many tracks of one kind, in place of what is reserved for it; for how many there is room.

        Sound is reserved firmly, as the first of `codecs` takes it; of pictures the floor is, and the rest is lent.
        """
        self._carries[kind] = (tracks, codecs)
        if not tracks:
            self._lines.release(self, kind)
            return 0
        floor, wanted = self._one_track(kind, codecs)
        outcome: Grant | Shortage = Grant(0)
        for count in range(tracks, 0, -1):
            outcome = self._lines.reserve(self, kind, floor=count * floor, wanted=count * wanted)
            if isinstance(outcome, Grant):
                self._carried(kind, Verdict("admitted" if count == tracks else "lower_rate", outcome.bps))
                return count
        self._lines.release(self, kind)
        limit = self._lines.limit_key(outcome.hop, "budget", kind) if isinstance(outcome, Shortage) else ""
        self._carried(kind, Verdict("refused", 0, limit))
        return 0

    def cap(self, kind: MediaKind) -> int | None:
        """Most that the leg may send, and that we may send to it, in bits per second with headers; None is no bound.

        0 where it may have none of this kind.
        """
        verdict = self.decision.verdicts.get(kind)
        if verdict is None:
            found = self._lines.cap(self.way, kind)
            return None if found is None else found[0]
        return 0 if verdict.outcome == "refused" else verdict.bps

    def total(self, media: Mapping[MediaKind, Sequence[Codec]]) -> int | None:
        """Most bits per second above UDP that all of `media` take together; None where a picture has no bound.

        Sound without a bound counts as what its first codec takes: it is what the bound leaves room for.
        """
        total, pictures = 0, 0
        for kind, codecs in media.items():
            cap = self.cap(kind)
            chosen = next((codec for codec in codecs if is_media(codec)), None)
            if chosen is None:
                continue
            if kind == "audio":
                usual = self.need(chosen).usual
                cap = usual if cap is None else min(cap, usual)
            elif cap is None:
                return None
            pictures += kind != "audio"
            total += above_udp(kind, cap, self.packets)
        return total if pictures else None

    def carried_bps(self) -> int:
        """Bits per second above UDP of everything that `carry` has reserved."""
        granted = {kind: self._lines.granted(self, kind) for kind in self._carries}
        return sum(above_udp(kind, bps, self.packets) for kind, bps in granted.items() if bps)

    def shares_line(self, kind: MediaKind) -> bool:
        """Whether a line or a trunk on the way bounds the leg, other than what holds for every single track."""
        way = [hop for hop in self.way if hop.sort not in ("room", "participant")]
        per_call = self._lines.cap(way, kind)
        narrow = per_call is not None and per_call != self._lines.cap((), kind)
        return narrow or any(self._lines.budget(hop, kind) is not None for hop in way)

    def stand_beside(self, other: Booking | None) -> None:
        """The account of the leg on the other side, whose wishes count when caps change."""
        self._beside = None if other is None else weakref.ref(other)

    def caps(self) -> dict[MediaKind, int | None]:
        """`cap` of every kind."""
        return {kind: self.cap(kind) for kind in MEDIA_KINDS}

    def reloaded(self, before: Mapping[MediaKind, int | None]) -> None:
        """Budgets and caps may be others than `before`: pictures are reserved within them, and the leg hears of it.

        Sound stays as it was reserved: a codec of constant rate cannot give anything back while people talk.
        """
        other = self._beside() if self._beside is not None else None
        limits = _least(self._limits, other.wishes() if other is not None else {})
        for kind, verdict in list(self.decision.verdicts.items()):
            if kind == "audio" or verdict.outcome == "refused":
                continue
            if kind in self._carries:
                self.carry(kind, *self._carries[kind])
            else:
                self._settle_picture(kind, verdict, limits.get(kind))
        for kind, was in before.items():
            now = self.cap(kind)
            if kind != "audio" and now != was:
                self._changed(kind, was, now)

    def wishes(self) -> dict[MediaKind, int]:
        """The most that pictures may have by caps and the peer's word, as limits for the leg on the other side.

        Loans do not count: what a full line takes back now, it may lend again later.
        """
        wishes: dict[MediaKind, int] = {}
        for kind in MEDIA_KINDS:
            if kind != "audio":
                wanted, _ = (0, "") if kind in self.decision.denied else self._wanted(kind, self._limits.get(kind))
                if wanted is not None:
                    wishes[kind] = wanted
        return wishes

    def release(self) -> None:
        """Gives everything back. Calling it again does nothing."""
        self._lines.release(self)

    def close(self) -> None:
        """Gives everything back and forgets who listened: two that hold each other wait for the collector."""
        self.release()
        self._note = self.on_change = self._beside = None

    def changed(self, change: Change) -> None:
        """The ledger has taken a loan back, or given one."""
        verdict = self.decision.verdicts.get(change.kind)
        if verdict is None:
            return
        outcome: Outcome = "lower_rate" if change.after < change.before else verdict.outcome
        self.decision = Decision(
            {**self.decision.verdicts, change.kind: replace(verdict, bps=change.after, outcome=outcome)}
        )
        self._changed(change.kind, change.before, change.after)

    # -- inside --------------------------------------------------------------------------------------------------

    def _changed(self, kind: MediaKind, before: int | None, after: int | None) -> None:
        self._tell(f"{kind} now {rate_text(after)}, was {rate_text(before)}")
        _log.info(
            "bandwidth_changed",
            contact_id=self.contact_id,
            leg=self.leg_id,
            kind=kind,
            before_bps=before,
            after_bps=after,
        )
        if self.on_change is not None:
            self.on_change(kind, after)

    def need(self, codec: Codec) -> Need:
        """What a sound codec takes on this leg."""
        return audio_need(codec, self.packets)

    def _one_track(self, kind: MediaKind, codecs: Sequence[Codec]) -> tuple[int, int]:
        if kind == "audio":
            usual = next((self.need(codec).usual for codec in codecs if is_media(codec)), 0)
            return usual, usual
        cap = self._lines.cap(self.way, kind)
        wanted = USUAL_PICTURE_BPS if cap is None else cap[0]
        return min(self._lines.lowest(kind), wanted), wanted

    def _carried(self, kind: MediaKind, verdict: Verdict) -> None:
        before = self.decision.verdicts.get(kind)
        decision = Decision({**self.decision.verdicts, kind: verdict})
        if before is None or before.outcome != verdict.outcome:
            # People come and go all the time: only another outcome is news.
            self._decide(Decision({kind: verdict}))
        self.decision = decision

    def _sound(self, codecs: tuple[Codec, ...], peer: int | None) -> tuple[Verdict, tuple[Codec, ...]]:
        cap = self._lines.cap(self.way, "audio")
        needs = [(codec, self.need(codec)) for codec in codecs if is_media(codec)]
        usual = max((need.usual for _, need in needs), default=0)
        bounds = [bound for bound in (cap[0] if cap else None, self._peer_sound(needs, peer)) if bound is not None]
        most = min(bounds, default=usual)
        short = cap[1] if cap else "peer"
        # Firm, not lent: a codec of constant rate cannot give anything back while people talk.
        step = _most_within(needs, most)
        while step is not None:
            outcome = self._lines.reserve(self, "audio", floor=step, wanted=step)
            if isinstance(outcome, Grant):
                kept = tuple(
                    self._limited(codec, step) for codec in codecs if not is_media(codec) or self._fits(codec, step)
                )
                bps = step if bounds or self._bounded("audio") else None
                return Verdict("admitted" if step >= usual else "lower_rate", bps, short if step < usual else ""), kept
            short = self._lines.limit_key(outcome.hop, "budget", "audio")
            step = _most_within(needs, outcome.free)
        return Verdict("refused", 0, short), ()

    def _peer_sound(self, needs: Sequence[tuple[Codec, Need]], peer: int | None) -> int | None:
        # Phones write b=AS for the payload alone, or 0 on hold: a line that leaves no codec is not believed.
        return peer if peer is not None and any(need.lowest <= peer for _, need in needs) else None

    def _fits(self, codec: Codec, bps: int) -> bool:
        return self.need(codec).lowest <= bps

    def _limited(self, codec: Codec, bps: int) -> Codec:
        """Opus is told its rate where it is less than it would take by itself (RFC 7587 §6.1)."""
        need = self.need(codec)
        if codec.key != "opus" or bps >= need.usual:
            return codec
        rate = to_tias("audio", bps, self.packets)
        return replace(codec, fmtp={**codec.fmtp, "maxaveragebitrate": str(max(6000, rate))})

    def _picture(
        self, kind: MediaKind, codecs: tuple[Codec, ...], peer: int | None
    ) -> tuple[Verdict, tuple[Codec, ...]]:
        wanted, limit = self._wanted(kind, peer)
        floor = self._lines.lowest(kind)
        if wanted is not None and wanted < floor:
            self._lines.release(self, kind)
            return Verdict("refused", 0, limit), ()
        asked = USUAL_PICTURE_BPS if wanted is None else wanted
        outcome = self._lines.reserve(self, kind, floor=min(floor, asked), wanted=asked)
        if isinstance(outcome, Shortage):
            limit = self._lines.limit_key(outcome.hop, "budget", kind)
            had = self._lines.granted(self, kind)
            # What a leg has already stays, also when a reload has made the least higher than that.
            return (Verdict("refused", 0, limit), ()) if had is None else (Verdict("lower_rate", had, limit), codecs)
        bps = outcome.bps if self._bounded(kind) else wanted
        if outcome.bps < asked and outcome.hop is not None:
            return Verdict("lower_rate", bps, self._lines.limit_key(outcome.hop, "budget", kind)), codecs
        return Verdict("admitted", bps, limit), codecs

    def _wanted(self, kind: MediaKind, peer: int | None) -> tuple[int | None, str]:
        cap = self._lines.cap(self.way, kind)
        bounds = [*([cap] if cap else []), *([(peer, "peer")] if peer is not None else [])]
        return min(bounds, default=(None, ""))

    def _bounded(self, kind: MediaKind) -> bool:
        return any(self._lines.budget(hop, kind) is not None for hop in self.way)

    def _settle_sound(self, verdict: Verdict, need: Need) -> None:
        exact = need.usual if verdict.bps is None else min(need.usual, verdict.bps)
        self._lines.reserve(self, "audio", floor=exact, wanted=exact)
        if verdict.bps is not None and verdict.bps != exact:
            self.decision = Decision({**self.decision.verdicts, "audio": replace(verdict, bps=exact)})

    def _settle_picture(self, kind: MediaKind, verdict: Verdict, peer: int | None) -> None:
        wanted, _ = self._wanted(kind, peer)
        floor = self._lines.lowest(kind)
        asked = USUAL_PICTURE_BPS if wanted is None else wanted
        outcome = self._lines.reserve(self, kind, floor=min(floor, asked), wanted=asked)
        if isinstance(outcome, Grant):
            bps = outcome.bps if self._bounded(kind) else wanted
            self.decision = Decision({**self.decision.verdicts, kind: replace(verdict, bps=bps)})

    def _decide(self, decision: Decision) -> None:
        self.decision = decision
        if not self.way and all(verdict.bps is None for verdict in decision.verdicts.values()):
            return  # no line and no cap has anything to do with this leg
        self._lines.decided(self, decision)
        self._tell(f"{decision.outcome} at {self.site or ELSEWHERE}: {decision}")

    def _tell(self, detail: str) -> None:
        if self._note is not None:
            self._note("bandwidth", detail)


def _least(one: Mapping[MediaKind, int], other: Mapping[MediaKind, int]) -> dict[MediaKind, int]:
    return {kind: min(each[kind] for each in (one, other) if kind in each) for kind in {**one, **other}}


def _most_within(needs: Sequence[tuple[Codec, Need]], bps: int) -> int | None:
    """The most that a codec would take of `bps`; None where it is too little for any."""
    return max((min(need.usual, bps) for _, need in needs if need.lowest <= bps), default=None)
