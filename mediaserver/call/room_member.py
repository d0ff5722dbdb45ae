"""A member of a room: a page that sends and receives over one peer connection, and talks over its WebSocket session."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import structlog

from mediaserver.call.booking import BROWSER_PACKETS, Party
from mediaserver.call.events import EndCause, QualityChanged
from mediaserver.call.member_news import MemberNews
from mediaserver.call.quality_message import quality_message
from mediaserver.call.room_party import Parts, RoomParty
from mediaserver.call.signaling import Signaling
from mediaserver.config.bandwidth import MEDIA_KINDS, MediaKind
from mediaserver.core.participant import Participant, new_participant_id
from mediaserver.core.permissions import Permissions, Publishable, publishables
from mediaserver.core.rooms import Rooms
from mediaserver.core.subscription import Subscription, Want
from mediaserver.engine import events as engine_events
from mediaserver.errors import LimitExceeded, RemoteProtocolError
from mediaserver.runtime.metrics import Metrics
from mediaserver.runtime.tasks import TaskGroupOwner
from mediaserver.runtime.token_bucket import TokenBucket
from mediaserver.sdp.description import Direction
from mediaserver.webrtc import messages, room_messages

CHANGES_PER_SECOND: Final = 5.0
CHANGES_AT_ONCE: Final = 20.0
"""How often a member may change what it publishes, wants or permits: each change is work for a whole room."""

_STOP_DEADLINE_S: Final = 1.0
_log = structlog.get_logger(__name__)


class RoomMember:
    """Implements `call.signaling.RoomMemberSession`. `party` makes its place in the room."""

    def __init__(
        self,
        *,
        info: room_messages.RoomInfo,
        participant: Participant,
        rooms: Rooms,
        signaling: Signaling,
        party: Callable[[RoomMember], RoomParty],
        on_closed: Callable[[RoomMember], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.info = info
        self._participant = participant
        self._rooms = rooms
        self._signaling = signaling
        self._on_closed = on_closed
        self._clock = clock
        self._changes = TokenBucket(per_second=CHANGES_PER_SECOND, burst=CHANGES_AT_ONCE)
        self._news = MemberNews(signaling)
        participant.observer = self._news
        self._tasks = TaskGroupOwner(f"member-{participant.id}")
        self._log = _log.bind(room=info.name, participant=participant.id)
        self._party = party(self)
        self._tasks.spawn(self._news.deliver(), name="news")

    # -- what the page says --------------------------------------------------------------------------------------

    async def handle(self, message: messages.ClientMessage) -> None:
        """See `call.signaling.RoomMemberSession`."""
        match message:
            case messages.Offer():
                await self._take_offer(message)
            case room_messages.Publish():
                self._publish(message)
            case room_messages.Subscribe():
                await self._subscribe(message)
            case room_messages.Permit(participant=other, publish=names):
                self._permit(other, publishables(names))
            case messages.Hangup():
                self.end(EndCause("caller", "hangup"))
            case messages.Candidate():
                pass  # RFC 8445 §2.7: a lite agent sends no checks, so it has no use for the browser's candidates
            case _:
                raise RemoteProtocolError(f"{message.type} does not belong to a room", status=400)

    async def gone(self, reason: str) -> None:
        """See `call.signaling.RoomMemberSession`."""
        self.end(EndCause("caller", reason))
        await self._tasks.stop(_STOP_DEADLINE_S)

    # -- what the room says --------------------------------------------------------------------------------------

    def layers_wanted(self, mid: str, event: engine_events.UpTrackLayersWanted) -> None:
        """Tells the page which layers it need not send."""
        self._news.layers(mid, event.rids)

    def quality_changed(self, event: QualityChanged) -> None:
        """Tells the page how its line is doing."""
        self._news.quality(quality_message(event.quality))

    def edge_left(self) -> None:
        """The page is to find another way for its media."""
        self._tasks.spawn(self._signaling.send(messages.RestartIce()), name="restart-ice")

    def end(self, cause: EndCause) -> None:
        """Leaves the room. Calling it again does nothing."""
        self._party.close(cause)

    def closed(self, cause: EndCause) -> None:
        """The place in the room is given up."""
        self._log.info("member_left", by=cause.by, reason=cause.reason)
        self._news.close(messages.Ended(by=cause.by, reason=cause.reason, code=cause.code))
        self._on_closed(self)

    # -- inside --------------------------------------------------------------------------------------------------

    async def _take_offer(self, offer: messages.Offer) -> None:
        first = not self._party.peer.sections
        if first:
            self._rooms.check(self.info.name, "member")
        answer = await self._party.take_offer(offer.sdp, offer.kinds)
        await self._signaling.send(messages.Answer(id=offer.id, sdp=answer))
        if self._party.refused:
            self._news.refused(self._participant.permissions, self._party.refused)
        if first:
            self._log.info("member_joined", slots=len(self._participant.slots), publishes=self._participant.publishes)

    def _publish(self, message: room_messages.Publish) -> None:
        self._count_change()
        live: set[MediaKind] = {kind for kind in MEDIA_KINDS if getattr(message, kind)}
        if ("screen" in live) != ("screen" in self._participant.live) and not self._party.book_screen(
            shown="screen" in live
        ):
            live.discard("screen")
            mid = self._party.mid_of_kind("screen")
            self._news.refused(self._participant.permissions, {mid: "bandwidth"} if mid is not None else {})
        if live != self._participant.live:
            self._participant.live = live
            self._rooms.changed(self.info.name, self._participant)
        if not live <= self._participant.permissions.publish:
            self._news.permitted(self._participant.permissions)

    async def _subscribe(self, message: room_messages.Subscribe) -> None:
        self._count_change()
        wants = tuple(
            Want(want.participant, want.kind, want.width, want.height, want.priority, want.paused)
            for want in message.wants
        )
        unknown = self._rooms.subscribe(self.info.name, self._participant, Subscription(wants, message.fill))
        await self._signaling.send(room_messages.Subscribed(id=message.id, unknown=unknown))

    def _permit(self, other: str, publish: frozenset[Publishable]) -> None:
        self._count_change()
        if not self._participant.permissions.moderate:
            raise RemoteProtocolError("only a moderator may say what others publish", status=403)
        room = self._rooms.get(self.info.name)
        person = room.get(other) if room is not None else None
        if person is None:
            raise RemoteProtocolError("nobody in the room has this id", status=404)
        self._rooms.permit(self.info.name, other, Permissions(publish, person.permissions.moderate))
        self._log.info("permissions_changed", other=other, publish=sorted(publish))

    def _count_change(self) -> None:
        if not self._changes.take(self._clock()):
            raise LimitExceeded("Too many changes came at once; please wait a moment.", limit="room_changes")


class RoomMembers:
    """Implements `call.signaling.RoomMembers`, of configuration and engine."""

    def __init__(self, parts: Parts, *, metrics: Metrics) -> None:
        self._parts = parts
        self._defaults = defaults = parts.defaults
        # A microphone, a camera and a screen beside the slots.
        sections = {"audio": 1 + defaults.audio_slots, "video": 2 + defaults.video_slots}
        self._policy = parts.policy(Direction.SENDRECV, sections=sections)
        self._present: dict[str, RoomMember] = {}
        metrics.gauge("room_members", "Members of all rooms, with a WebSocket session each").set_function(
            lambda: len(self._present)
        )

    def __len__(self) -> int:
        return len(self._present)

    async def enter(
        self,
        *,
        room: str,
        name: str,
        may_publish: frozenset[Publishable] | None,
        moderate: bool,
        signaling: Signaling,
    ) -> RoomMember:
        """See `call.signaling.RoomMembers`."""
        self._parts.rooms.check(room, "member")
        allowed = publishables(self._defaults.publish) if may_publish is None else may_publish
        participant = Participant(
            new_participant_id(), name, live=set(), permissions=Permissions(allowed, moderate), member=True
        )
        info = room_messages.RoomInfo(
            name=room,
            participant=participant.id,
            audio_slots=self._defaults.audio_slots,
            video_slots=self._defaults.video_slots,
            publish=participant.permissions.named(),
            moderate=moderate,
            audio_codecs=self._policy.audio,
            video_codecs=self._policy.video,
        )
        member = RoomMember(
            info=info,
            participant=participant,
            rooms=self._parts.rooms,
            signaling=signaling,
            party=lambda owner: self._party(owner, room, participant, signaling.source),
            on_closed=self._left,
        )
        self._present[participant.id] = member
        return member

    async def close_all(self, reason: str) -> None:
        """Ends every session."""
        for member in list(self._present.values()):
            member.end(EndCause("system", reason, 503))

    def _party(self, member: RoomMember, room: str, participant: Participant, source: str) -> RoomParty:
        account = Party(address=source, packets=BROWSER_PACKETS, room=room, participant=participant.id)
        return RoomParty(
            parts=self._parts,
            room=room,
            participant=participant,
            policy=self._policy,
            booking=self._parts.admission.book(participant.id, account),
            on_closed=member.closed,
            on_layers=member.layers_wanted,
            on_quality=member.quality_changed,
            on_edge_left=member.edge_left,
        )

    def _left(self, member: RoomMember) -> None:
        self._present.pop(member.info.participant, None)
