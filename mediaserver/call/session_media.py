"""What a SIP leg asks of its media, whichever way they travel: plain RTP, or as a browser has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from mediaserver.call.leg import Codecs, LegMedia
from mediaserver.config.bandwidth import MediaKind
from mediaserver.engine.commands import Kind
from mediaserver.sdp.bandwidth import Packets
from mediaserver.sdp.description import Bandwidth, Direction, SessionDescription
from mediaserver.sdp.offer_answer import NegotiatedMedia
from mediaserver.sdp.picture import PictureBounds


class SessionMedia(Protocol):
    """`offer` and `answer` only propose: an offer is in force with `accept_answer`, an answer with `commit`, and

    `drop` forgets either and leaves the session as it was.
    """

    bandwidth: Callable[[Kind], tuple[Bandwidth, ...]]
    """Gives the `b=` lines of what we write."""
    direction: Direction
    """What the house wants of every line, seen from us: less than both ways while it holds the peer."""
    takes_text: bool
    """Real-time text is taken where the peer offers it."""
    offers_text: bool
    """It is offered, too."""
    on_moved: Callable[[], None] | None
    """Told that ports are others now, which the peer has to learn by an offer."""

    @property
    def text_line(self) -> int | None:
        """The engine transport of the peer's real-time text; None where there is none."""

    @property
    def media(self) -> dict[Kind, LegMedia]:
        """The tracks by kind."""

    @property
    def transports(self) -> tuple[int, ...]:
        """Engine transports."""

    @property
    def agreed(self) -> dict[Kind, NegotiatedMedia]:
        """What the last offer and answer agreed on, by kind."""

    @property
    def remote(self) -> SessionDescription | None:
        """The peer's description that is in force."""

    @property
    def secure(self) -> bool:
        """Whether what was agreed is encrypted, all of it."""
        ...

    @property
    def picture_bounds(self) -> PictureBounds:
        """The most that the peer's decoder takes, by its last description."""

    def codecs_of(self, description: SessionDescription) -> Codecs:
        """The codecs of the sections that a call would use."""
        ...

    def peer_limits(self, packets: Packets) -> dict[MediaKind, int]:
        """What the peer takes at most of each kind, in bits per second."""

    @property
    def has_picture(self) -> bool:
        """Whether there may be a picture for `aim` and `limit_picture` to bound."""
        ...

    def aim(self, bounds: PictureBounds) -> None:
        """Tells the engine what picture the peer may be given."""

    def limit_picture(self, *, send_bps: int | None, receive_bps: int | None) -> None:
        """Bounds the picture both ways, in bits per second above UDP; None is no bound."""

    async def offer(self, wanted: Codecs, *, srtp: bool) -> bytes:
        """Our offer, the first or a later one."""

    def repeat(self) -> bytes:
        """What holds, as an offer that changes nothing (RFC 4028 §7.4)."""

    def turn(self) -> bytes:
        """What holds, as an offer with `direction` for every line (RFC 3264 §8.4)."""

    def accept_answer(self, body: bytes, *, final: bool = True) -> None:
        """Takes the answer to our offer; with `final` False the next one takes its place."""

    def expect(self) -> None:
        """The call is answered: a peer that sent nothing before has its time from now on."""

    async def answer(
        self, offer: SessionDescription, wanted: Codecs, *, srtp_required: bool, srtp_allowed: bool
    ) -> bytes:
        """Our answer to an offer. Raises NegotiationError when nothing can be taken; nothing has changed then."""

    def commit(self) -> None:
        """The answer that was proposed last is on its way: it is in force."""

    def drop(self) -> None:
        """Forgets what was proposed."""

    def close(self) -> None:
        """Closes every transport. Calling it again does nothing."""
