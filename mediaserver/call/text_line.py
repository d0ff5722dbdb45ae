"""The m-line of a phone's real-time text: no tracks, but one data channel of the engine that topics know (RFC 8865)."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Literal

from mediaserver.call.sip_line import RtpLine
from mediaserver.engine.commands import OpenText, TextFormat
from mediaserver.engine.engine import Engine
from mediaserver.sdp.description import Codec, MediaDescription
from mediaserver.sdp.offer_answer import NegotiatedMedia
from mediaserver.sdp.text import text_formats


@dataclass(slots=True, eq=False, kw_only=True)
class TextLine(RtpLine):
    """What is typed while the phone may not be sent to waits for it in the engine, within bounds."""

    kind: Literal["text"] = "text"
    ssrc: int = field(default_factory=lambda: secrets.randbelow(0xFFFFFFFE) + 1)

    def offered(self, codecs: tuple[Codec, ...]) -> tuple[Codec, ...]:
        """What we offer: what this line has had before, under its payload types, else `codecs`."""
        return self.known or codecs

    def apply(
        self, media: NegotiatedMedia, ours: MediaDescription, theirs: MediaDescription, *, engine: Engine, cname: str
    ) -> None:
        """Puts into force what the two sections agree on; redundancy goes one way only where one side has none."""
        receive, send = text_formats(ours), text_formats(theirs)
        if receive is None or send is None:
            self.silence()
            return
        self.agreed = media
        self.expect(engine)
        engine.submit(
            OpenText(
                id=self.rtp.id,
                ssrc=self.ssrc,
                cname=cname,
                receive=TextFormat(t140=receive.t140, red=receive.red),
                send=TextFormat(t140=send.t140, red=send.red) if media.direction.sends else None,
                characters_per_second=send.characters_per_second,
            )
        )

    def silence(self) -> None:
        """There is no text any more; whoever has the line in a topic takes it out."""
        self.agreed = None
