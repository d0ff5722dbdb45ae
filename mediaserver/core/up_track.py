"""A track that a peer sends to us: its codecs, its gates and its keyframe requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from mediaserver.core.payloads import payloads_of
from mediaserver.engine.commands import (
    AddUpTrack,
    Kind,
    RemoveUpTrack,
    RequestKeyframe,
    SetGate,
    UpdateUpTrack,
    WatchSpeech,
)
from mediaserver.engine.engine import Engine
from mediaserver.sdp.description import Codec

Gate = Literal["consent", "mute", "queued", "permission"]


class UpTrack:
    """What one m-line receives. `codecs` carry the payload types under which the peer sends, `rids` name its layers.

    A closed gate makes the engine drop and count every packet of the track before anybody gets it; the gates are
    `consent` (the customer has not shown the camera yet), `queued` (no agent is there yet), `mute`, and `permission`
    (a room does not let its participant publish this any more).
    """

    def __init__(
        self,
        *,
        engine: Engine,
        transport: int,
        kind: Kind,
        mid: str | None,
        codecs: Sequence[Codec],
        ssrcs: Sequence[int] = (),
        rtx_ssrcs: Mapping[int, int] | None = None,
        rids: Sequence[str] = (),
        closed_gates: Sequence[Gate] = (),
    ) -> None:
        self._engine = engine
        self.id = engine.new_track_id(transport)
        self.kind = kind
        self.codecs = tuple(codecs)
        self.closed_gates = frozenset(closed_gates)
        self.rids = tuple(rids)
        self._watched = False
        self._ssrcs = tuple(ssrcs)
        self._rtx_ssrcs = dict(rtx_ssrcs or {})
        engine.submit(
            AddUpTrack(
                id=self.id,
                transport=transport,
                kind=kind,
                mid=mid,
                payloads=payloads_of(codecs),
                ssrcs=self._ssrcs,
                rtx_ssrcs=self._rtx_ssrcs,
                rids=self.rids,
                closed_gates=tuple(closed_gates),
            )
        )

    def update(
        self,
        codecs: Sequence[Codec],
        ssrcs: Sequence[int],
        *,
        rtx_ssrcs: Mapping[int, int] | None = None,
        rids: Sequence[str] = (),
    ) -> None:
        """Takes codecs, SSRCs and simulcast layers of a later negotiation; a call without change costs nothing."""
        before = self.codecs, self._ssrcs, self._rtx_ssrcs, self.rids
        self.codecs, self._ssrcs, self.rids = tuple(codecs), tuple(ssrcs), tuple(rids)
        self._rtx_ssrcs = dict(rtx_ssrcs or {})
        if before == (self.codecs, self._ssrcs, self._rtx_ssrcs, self.rids):
            return
        self._engine.submit(
            UpdateUpTrack(
                id=self.id,
                payloads=payloads_of(codecs),
                ssrcs=self._ssrcs,
                rtx_ssrcs=self._rtx_ssrcs,
                rids=self.rids,
            )
        )

    def set_gate(self, gate: Gate, *, is_open: bool) -> None:
        """Opens or closes one named gate; repeating the present state costs nothing."""
        if is_open != (gate in self.closed_gates):
            return
        self.closed_gates = self.closed_gates - {gate} if is_open else self.closed_gates | {gate}
        self._engine.submit(SetGate(id=self.id, gate=gate, open=is_open))

    def watch_speech(self, *, on: bool) -> None:
        """Whether `SpeechChanged` is wanted of this track; repeating the present state costs nothing."""
        if on != self._watched:
            self._watched = on
            self._engine.submit(WatchSpeech(id=self.id, on=on))

    def request_keyframe(self) -> None:
        """Asks the sender for a keyframe by whatever it negotiated; the engine coalesces and repeats."""
        self._engine.submit(RequestKeyframe(id=self.id))

    def remove(self) -> None:
        """Ends the track; its receivers hear nothing more from it."""
        self._engine.submit(RemoveUpTrack(id=self.id))
