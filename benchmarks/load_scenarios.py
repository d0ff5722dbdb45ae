"""Who joins whom: each scenario turns one arrival into peers, holds them for a while and takes them away."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import aiohttp

from benchmarks.generator import AUDIO, Generator, Handle, Reading, Stream, layers
from benchmarks.load_result import Result
from benchmarks.load_target import JoinError, LoadTarget, Session
from benchmarks.webrtc_client import Peer

FIRST_MEDIA_S = 10.0
"""Without a packet for so long after connecting, a join has failed."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What participants do."""

    room: str = "load"
    entry: str = "demo"
    size: int = 4
    """Participants of one meeting."""
    video: Stream = field(default_factory=Stream)
    simulcast: bool = False
    """Whether the picture is sent in three layers, the largest of them ``video``; calls send one."""

    def streams(self) -> list[Stream]:
        """What a publisher sends."""
        return [AUDIO, *(layers(self.video) if self.simulcast else [self.video])]


class Scenario(Protocol):
    """Arrivals come one by one, at a rate that somebody else keeps."""

    async def begin(self) -> None:
        """What must be there before the first arrival."""

    async def arrive(self, number: int) -> Callable[[], Awaitable[None]]:
        """Join; the callable leaves again. Raises JoinError."""

    async def end(self) -> None:
        """Undo ``begin``."""


class Media:
    """Peers at work, and when each received something first."""

    def __init__(self, generator: Generator, result: Result) -> None:
        self._generator = generator
        self._result = result
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._gone_expected = 0
        self._gone_packets = 0
        self._gone_wrong = 0
        self.bytes = 0

    async def add(self, peer: Peer, streams: list[Stream]) -> Handle:
        return await self._generator.add(peer, streams)

    async def first_packet(self, handle: Handle) -> None:
        """Wait for the first media. Raises JoinError."""
        waiting = self._waiting[handle.id] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(FIRST_MEDIA_S):
                await waiting
        except TimeoutError:
            raise JoinError("no_media", f"no packet in {FIRST_MEDIA_S:g} s") from None
        finally:
            del self._waiting[handle.id]

    async def remove(self, handle: Handle) -> None:
        figures = await self._generator.remove(handle)
        self._gone_expected += figures.expected
        self._gone_packets += figures.expected - max(0, figures.lost)
        self._gone_wrong += figures.wrong
        self.bytes += figures.bytes

    async def read(self) -> Reading:
        """Figures of all; whoever waits for a first packet and has one goes on."""
        reading = await self._generator.read()
        members = reading.members
        for id, waiting in list(self._waiting.items()):
            if id in members and members[id].first_ms >= 0 and not waiting.done():
                waiting.set_result(None)
        self._result.expected = self._gone_expected + sum(one.expected for one in members.values())
        self._result.received = self._gone_packets + sum(one.expected - max(0, one.lost) for one in members.values())
        self._result.wrong = self._gone_wrong + sum(one.wrong for one in members.values())
        return reading


@dataclass(slots=True)
class _Leg:
    """One transport of a participant."""

    handle: Handle
    session: Session


class Rooms:
    """Legs into rooms by WHIP and WHEP."""

    def __init__(self, target: LoadTarget, media: Media, shape: Shape) -> None:
        self._target = target
        self._media = media
        self._shape = shape

    async def open(self, room: str, kind: str) -> _Leg:
        """Publish or view; a viewer's first packet has come."""
        simulcast = self._shape.simulcast
        peer, session = await self._target.join_room(room, kind, ("audio", "video"), simulcast=simulcast)
        streams = self._shape.streams() if kind == "whip" else []
        try:
            handle = await self._media.add(peer, streams)
        except BaseException:
            await self._target.leave_room(session)
            raise
        leg = _Leg(handle, session)
        if kind == "whep":
            try:
                await self._media.first_packet(handle)
            except BaseException:
                await self.close(leg)
                raise
        return leg

    async def close(self, leg: _Leg) -> None:
        await self._media.remove(leg.handle)
        await self._target.leave_room(leg.session)


class Broadcast:
    """One publisher that stays, viewers that come and go."""

    def __init__(self, rooms: Rooms, shape: Shape) -> None:
        self._rooms = rooms
        self._shape = shape
        self._publisher: _Leg | None = None

    async def begin(self) -> None:
        self._publisher = await self._rooms.open(self._shape.room, "whip")

    async def arrive(self, number: int) -> Callable[[], Awaitable[None]]:
        leg = await self._rooms.open(self._shape.room, "whep")
        return lambda: self._rooms.close(leg)

    async def end(self) -> None:
        if self._publisher is not None:
            await self._rooms.close(self._publisher)


@dataclass(slots=True)
class _Place:
    """A participant of a meeting: what it sends, and what it sees of others by their places."""

    room: str
    sends: _Leg | None = None
    views: dict[str, _Leg] = field(default_factory=dict)


class Meetings:
    """Everybody publishes into a room of their own and views the rooms of all others in the meeting."""

    def __init__(self, rooms: Rooms, shape: Shape) -> None:
        self._rooms = rooms
        self._shape = shape
        self._meetings: dict[int, dict[str, _Place]] = {}

    async def begin(self) -> None:
        """Nothing: the first participant opens a meeting."""

    async def arrive(self, number: int) -> Callable[[], Awaitable[None]]:
        meeting = self._meetings.setdefault(number // self._shape.size, {})
        room = f"{self._shape.room}-{number // self._shape.size}-{number % self._shape.size}"
        place = _Place(room)
        others = list(meeting.values())
        try:
            place.sends = await self._rooms.open(room, "whip")
            meeting[room] = place
            pairs = [(place, other) for other in others] + [(other, place) for other in others]
            await asyncio.gather(*(self._view(viewer, seen) for viewer, seen in pairs))
        except BaseException:
            await self._leave(meeting, place)
            raise
        return lambda: self._leave(meeting, place)

    async def _view(self, viewer: _Place, seen: _Place) -> None:
        leg = await self._rooms.open(seen.room, "whep")
        viewer.views[seen.room] = leg

    async def _leave(self, meeting: dict[str, _Place], place: _Place) -> None:
        meeting.pop(place.room, None)
        legs = [leg for other in meeting.values() if (leg := other.views.pop(place.room, None)) is not None]
        legs += place.views.values()
        place.views = {}
        if place.sends is not None:
            legs.append(place.sends)
        await asyncio.gather(*(self._rooms.close(leg) for leg in legs))

    async def end(self) -> None:
        """Nothing: everybody has left."""


class Calls:
    """Callers of an entry, as its page calls; who answers is the daemon's configuration."""

    def __init__(self, target: LoadTarget, media: Media, shape: Shape, token: str) -> None:
        self._target = target
        self._media = media
        self._shape = shape
        self._token = token

    async def begin(self) -> None:
        """Nothing: every caller stands alone."""

    async def arrive(self, number: int) -> Callable[[], Awaitable[None]]:
        stack = contextlib.AsyncExitStack()
        try:
            socket = await stack.enter_async_context(self._target.page_socket())
            hello: dict[str, Any] = {"type": "hello", "version": 1, "role": "caller", "entry": self._shape.entry}
            await socket.send_json(hello | ({"token": self._token} if self._token else {}))
            await _expect(socket, "welcome")
            peer = self._target.peer(("audio", "video"), sends=True, receives=True)
            stack.callback(peer.close)
            await socket.send_json({"type": "offer", "id": 0, "sdp": peer.offer()})
            answer = await _expect(socket, "answer")
            await self._target.connect(peer, answer["sdp"])
            handle = await self._media.add(peer, [AUDIO, self._shape.video])
            stack.push_async_callback(self._media.remove, handle)
            following = asyncio.create_task(_follow(socket, peer), name="call")
            stack.push_async_callback(_stop, following)
            first = asyncio.create_task(self._media.first_packet(handle), name="first-packet")
            stack.push_async_callback(_stop, first)
            await asyncio.wait({first, following}, return_when=asyncio.FIRST_COMPLETED)
            if not first.done():
                raise JoinError("ended", f"the call ended before any media: {following.result()}")
            first.result()
        except BaseException:
            await stack.aclose()
            raise

        async def leave() -> None:
            early = following.done()
            if not early:
                with contextlib.suppress(ConnectionError):
                    await socket.send_json({"type": "hangup"})
            await stack.aclose()
            if early:
                raise JoinError("ended_early", following.result())

        return leave

    async def end(self) -> None:
        """Nothing: every caller has hung up."""


async def _expect(socket: aiohttp.ClientWebSocketResponse, kind: str) -> dict[str, Any]:
    async with asyncio.timeout(15):
        while True:
            frame = await socket.receive()
            if frame.type != aiohttp.WSMsgType.TEXT:
                raise JoinError("socket_closed", f"the socket closed before {kind!r}")
            message: dict[str, Any] = json.loads(frame.data)
            if message["type"] == kind:
                return message
            if message["type"] in ("error", "ended"):
                code = message.get("code") or message.get("reason")
                raise JoinError(f"refused_{code}", str(message))


async def _follow(socket: aiohttp.ClientWebSocketResponse, peer: Peer) -> str:
    """Answer what the server offers; returns why the call is over."""
    async for frame in socket:
        if frame.type != aiohttp.WSMsgType.TEXT:
            break
        message = json.loads(frame.data)
        if message["type"] == "offer":
            await socket.send_json({"type": "answer", "id": message["id"], "sdp": peer.answer(message["sdp"])})
        elif message["type"] in ("ended", "error"):
            return str(message.get("reason") or message.get("message"))
    return "the socket closed"


async def _stop(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.wait({task})


@dataclass(frozen=True, slots=True)
class Pace:
    """When participants come and how long they stay."""

    rate: float
    """Arrivals per second, reached after ``ramp_s``."""
    hold_s: float
    ramp_s: float
    duration_s: float
    """Of the arrivals; the last ones stay ``hold_s`` longer."""

    def arrivals(self) -> list[float]:
        """Seconds after the start at which each comes."""
        times = []
        number = 0
        while True:
            # While the rate rises in a straight line, rate·t²/(2·ramp) have come by t.
            in_ramp = self.rate * self.ramp_s / 2
            if number < in_ramp:
                at = (2 * self.ramp_s * number / self.rate) ** 0.5
            else:
                at = self.ramp_s + (number - in_ramp) / self.rate
            if at >= self.duration_s:
                return times
            times.append(at)
            number += 1


class Crowd:
    """Keeps the pace, and the books of who is there."""

    def __init__(self, scenario: Scenario, pace: Pace, result: Result) -> None:
        self._scenario = scenario
        self._pace = pace
        self._result = result
        self.present = 0
        self.joined = 0

    async def run(self) -> None:
        """All arrivals, until the last has left."""
        await self._scenario.begin()
        began = time.monotonic()
        try:
            async with asyncio.TaskGroup() as group:
                for number, at in enumerate(self._pace.arrivals()):
                    await asyncio.sleep(max(0.0, began + at - time.monotonic()))
                    group.create_task(self._one(number), name=f"arrival-{number}")
        finally:
            await self._scenario.end()

    async def _one(self, number: int) -> None:
        began = time.monotonic()
        try:
            leave = await self._scenario.arrive(number)
        except JoinError as error:
            self._result.failures[error.reason] += 1
            return
        except TimeoutError:
            self._result.failures["timeout"] += 1
            return
        self._result.join_ms.append((time.monotonic() - began) * 1000)
        self.joined += 1
        self.present += 1
        try:
            await asyncio.sleep(self._pace.hold_s)
            await leave()
        except JoinError as error:
            self._result.failures[error.reason] += 1
        finally:
            self.present -= 1
