"""What goes from a track of one leg to a track of another one, and whether it can."""

from __future__ import annotations

from mediaserver.call.leg import KINDS, Leg
from mediaserver.core.down_track import DownTrack
from mediaserver.core.transcoder import transcodable
from mediaserver.core.up_track import UpTrack
from mediaserver.sdp.codecs import matches


def spoken(leg: Leg) -> tuple[str, ...]:
    """Kinds and codecs of a leg, without payload types and directions."""
    return tuple(f"{kind} {codec}" for kind in KINDS for codec in leg.codecs.get(kind, ()))


def sound(leg: Leg) -> tuple[UpTrack | None, DownTrack | None]:
    """The tracks of a leg's sound."""
    media = leg.media.get("audio")
    return (media.up, media.down) if media is not None else (None, None)


def fits(up: UpTrack, down: DownTrack) -> bool:
    """Whether what is sent first is something that the other one takes."""
    first = transcodable(up.codecs)
    return first is not None and any(matches(first, codec) for codec in down.codecs)


def mixes(leg: Leg) -> bool:
    """Whether the sound of a leg, if it has any, can be decoded and encoded; what a room sends is a mix already."""
    return not leg.hosts and all(track is None or transcodable(track.codecs) is not None for track in sound(leg))


def part(leg: Leg) -> None:
    """A leg that leaves its call gets nothing more from it, and its end is nobody's business there."""
    leg.listen(None)
    leg.stop_playing()
    for media in leg.media.values():
        link(media.down, None)
    clear_places(leg)


def clear_places(leg: Leg) -> None:
    """Nobody is heard apart any more."""
    for place in leg.places:
        place.unsubscribe()


def stop_transcoding(leg: Leg) -> None:
    """The tracks of a leg that has ended are gone, but what was made for them is not."""
    for media in leg.media.values():
        if media.down is not None:
            media.down.stop_transcoding()
    for place in leg.places:
        place.stop_transcoding()


def link(down: DownTrack | None, up: UpTrack | None) -> None:
    """Forwards `up` to `down`, or nothing; without `down` there is nothing to do."""
    if down is None:
        return
    if up is None:
        down.unsubscribe()
    else:
        down.subscribe(up)
