"""What the calling side hears before anybody has answered: of several devices the first that sends something."""

from __future__ import annotations

from functools import partial

from mediaserver.call.leg import KINDS, Leg
from mediaserver.call.linking import link
from mediaserver.call.transcoding import stronger, transcoded_into
from mediaserver.core.down_track import DownTrack
from mediaserver.core.up_track import UpTrack


class EarlyMedia:
    """Early media towards one caller (RFC 3960). One device is heard at a time; the next when that one is gone."""

    def __init__(self, caller: Leg) -> None:
        self._caller = caller
        self._sending: list[Leg] = []
        """Devices that send, the one that is heard first."""

    @property
    def heard(self) -> Leg | None:
        """Whom the caller hears: while there is one, nobody's ringing is passed on."""
        return self._sending[0] if self._sending else None

    async def begin(self, leg: Leg) -> bool:
        """`leg` sends from now on. False where the caller cannot be made to hear it."""
        if leg in self._sending:
            return True
        self._sending.append(leg)
        if self.heard is leg and not await self._caller.hear_early(leg):
            if leg in self._sending:  # it may be gone meanwhile
                self._sending.remove(leg)
            return False
        self._connect()
        return True

    def changed(self, leg: Leg) -> None:
        """The media of `leg` have changed."""
        if leg is self.heard:
            self._connect()

    def gone(self, leg: Leg) -> None:
        """`leg` did not take the call."""
        if leg in self._sending:
            was_heard = leg is self.heard
            self._sending.remove(leg)
            if was_heard:
                self._part(leg)
                self._connect()

    def end(self, answered: Leg | None) -> None:
        """Somebody has `answered`, or nobody will."""
        heard = self.heard
        self._sending.clear()
        self._caller.hears_early = False
        if heard is not None and heard is not answered:
            self._part(heard)

    def _connect(self) -> None:
        heard, caller = self.heard, self._caller
        caller.hears_early = heard is not None
        if heard is None:
            return
        for kind in KINDS:
            ours, theirs = caller.media.get(kind), heard.media.get(kind)
            if ours is None or theirs is None:
                continue
            if theirs.up is not None:
                self._link(ours.down, theirs.up, heard)
            # Sound goes back, too: it opens the way through NATs, and some services take orders before they answer.
            if kind == "audio" and ours.up is not None:
                self._link(theirs.down, ours.up, heard)

    def _link(self, down: DownTrack | None, up: UpTrack, heard: Leg) -> None:
        """Forwards `up` to `down`, decoded and encoded where the two share no codec and that is to be."""
        rule = stronger(self._caller.transcode, heard.transcode)
        codecs = transcoded_into(up.codecs, down.codecs, rule) if down is not None and down.kind == "audio" else None
        if down is None or codecs is None:
            link(down, up)
        else:
            down.transcode(up, *codecs, partial(self._refused, down))

    def _refused(self, down: DownTrack, reason: str) -> None:
        """Nothing is heard until somebody answers; then the call asks again, and ends where it must."""
        down.unsubscribe()
        self._caller.log.warning("transcoder_refused", early=True, reason=reason)

    def _part(self, leg: Leg) -> None:
        for kind in KINDS:
            ours, theirs = self._caller.media.get(kind), leg.media.get(kind)
            if theirs is None:
                continue
            link(theirs.down, None)
            if ours is not None and ours.down is not None and theirs.up is not None and ours.down.source is theirs.up:
                link(ours.down, None)
