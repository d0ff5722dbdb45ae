"""A track that we send to a peer: its source is an up track, a clip, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mediaserver.core.payloads import payloads_of
from mediaserver.core.transcoder import Transcoder
from mediaserver.core.up_track import UpTrack
from mediaserver.engine.commands import (
    AddDownTrack,
    Kind,
    RemoveDownTrack,
    SendDtmf,
    SetDownTrackTarget,
    Subscribe,
    Unsubscribe,
    UpdateDownTrack,
)
from mediaserver.engine.engine import Engine
from mediaserver.sdp.description import Codec


class DownTrack:
    """What one m-line sends. `codecs` carry the payload types that the peer expects, in order of preference.

    Sequence numbers and timestamps stay continuous whatever the source is switched to.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        transport: int,
        kind: Kind,
        mid: str | None,
        ssrc: int,
        cname: str,
        codecs: Sequence[Codec],
        rtx_ssrc: int | None = None,
    ) -> None:
        self._engine = engine
        self.id = engine.new_track_id(transport)
        self.kind = kind
        self.codecs = tuple(codecs)
        self.active = True
        self.source: UpTrack | None = None
        self.transcoder: Transcoder | None = None
        """What stands between the source and this, where they share no codec."""
        self.mixed: int | None = None
        """What an audio thread makes of several sources, or of one for several, in place of a source."""
        self.target = SetDownTrackTarget(id=self.id)
        engine.submit(
            AddDownTrack(
                id=self.id,
                transport=transport,
                kind=kind,
                mid=mid,
                ssrc=ssrc,
                rtx_ssrc=rtx_ssrc,
                cname=cname,
                payloads=payloads_of(codecs),
            )
        )

    def update(self, codecs: Sequence[Codec], *, active: bool) -> None:
        """Takes the codecs and the direction of a later negotiation; a call without change costs nothing."""
        if (tuple(codecs), active) == (self.codecs, self.active):
            return
        self.codecs, self.active = tuple(codecs), active
        self._engine.submit(UpdateDownTrack(id=self.id, payloads=payloads_of(codecs), active=active))

    def subscribe(self, source: UpTrack) -> None:
        """Forwards `source` from now on, in place of what was forwarded or played before."""
        if self.source is source and self.transcoder is None:
            return
        self.source, self.mixed = source, None
        self._engine.submit(Subscribe(id=self.id, up=source.id))
        self.stop_transcoding()

    def transcode(self, source: UpTrack, sent: Codec, wanted: Codec, on_refused: Callable[[str], None]) -> None:
        """Sends `source` as `wanted` from now on; `on_refused` gets the reason when that cannot be."""
        before = self.transcoder
        if before is not None and before.source is source and before.codecs == (sent, wanted):
            before.tell(on_refused)
            return
        after = Transcoder(engine=self._engine, source=source, sent=sent, wanted=wanted, on_refused=on_refused)
        self.source, self.mixed = source, None
        self._engine.submit(Subscribe(id=self.id, up=after.id))
        self.stop_transcoding()
        self.transcoder = after

    def hear_mix(self, mixed: int) -> None:
        """Sends a track that an audio thread makes and somebody else keeps, from now on; `mixed` is its id."""
        if self.mixed == mixed:
            return
        self.source, self.mixed = None, mixed
        self._engine.submit(Subscribe(id=self.id, up=mixed))
        self.stop_transcoding()

    def stop_transcoding(self) -> None:
        """Gives back the transcoder, if there is one; for who subscribes to something else next, or ends."""
        if self.transcoder is not None:
            self.transcoder.close()
            self.transcoder = None

    def unsubscribe(self) -> None:
        """Forwards nothing from now on."""
        if self.source is None and self.mixed is None:
            return
        self.source = self.mixed = None
        self._engine.submit(Unsubscribe(id=self.id))
        self.stop_transcoding()

    def set_target(
        self,
        *,
        max_width: int | None = None,
        max_height: int | None = None,
        max_macroblocks: int | None = None,
        max_spatial: int | None = None,
        max_temporal: int | None = None,
        max_bitrate_bps: int | None = None,
        strict: bool = False,
        priority: int = 100,
        is_screen: bool = False,
        paused: bool = False,
    ) -> None:
        """The most that the receiver shall get, and who goes first when bandwidth is short: `SetDownTrackTarget`.

        What is left out goes back to its default; repeating the present target costs nothing."""
        target = SetDownTrackTarget(
            id=self.id,
            max_width=max_width,
            max_height=max_height,
            max_macroblocks=max_macroblocks,
            max_spatial=max_spatial,
            max_temporal=max_temporal,
            max_bitrate_bps=max_bitrate_bps,
            strict=strict,
            priority=priority,
            is_screen=is_screen,
            paused=paused,
        )
        if target == self.target:
            return
        self.target = target
        self._engine.submit(target)

    def send_dtmf(self, digits: str, *, duration_ms: int = 100, gap_ms: int = 100) -> None:
        """Sends key presses (0-9 A-D * #) as RFC 4733 events, if the peer negotiated telephone-event."""
        self._engine.submit(SendDtmf(id=self.id, digits=digits, duration_ms=duration_ms, gap_ms=gap_ms))

    def remove(self) -> None:
        """Ends the track."""
        self.stop_transcoding()
        self._engine.submit(RemoveDownTrack(id=self.id))
