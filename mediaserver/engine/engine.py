"""The async facade over the Rust packet engine: typed commands in, typed events out, nothing that waits on the loop."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

import msgspec
import structlog

from mediaserver import _engine
from mediaserver.engine import commands, events
from mediaserver.engine.config import EngineConfig, SharedTls
from mediaserver.engine.event_pump import EventPump
from mediaserver.engine.ids import IdSequence, make_id, shard_of
from mediaserver.errors import LimitExceeded, MediaServerError

REQUEST_TIMEOUT_S = 5.0
"""A shard answers within a millisecond; one that has not answered by then is stuck."""

_log = structlog.get_logger(__name__)

EventCallback = Callable[[events.AnyEvent], None]


class EngineError(MediaServerError):
    """The engine refused a command, did not answer, or is not running."""


class CommandRefused(EngineError):
    """The engine refused a command; nothing changed."""


@dataclass(frozen=True, slots=True)
class LocalIce:
    """Our side of a WebRTC transport, for the local description."""

    id: int
    ufrag: str
    pwd: str
    addresses: tuple[commands.Address, ...]
    tcp_addresses: tuple[commands.Address, ...] = ()


@dataclass(frozen=True, slots=True)
class LocalRtp:
    """Our side of an RTP transport, for the local description."""

    id: int
    ip: str
    rtp_port: int
    rtcp_port: int


class Engine:
    """One engine per process. All methods belong to the loop on which `start` ran."""

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self._native: _engine.Engine | None = None
        self._pump: EventPump | None = None
        self._encoder = msgspec.msgpack.Encoder()
        self._counters_decoder = msgspec.msgpack.Decoder(dict[str, int])
        self._ids = IdSequence()
        self._requests = itertools.count(1)
        self._audio_threads = itertools.cycle(range(max(1, config.audio_threads)))
        self._pending: dict[int, asyncio.Future[events.AnyEvent]] = {}
        self._subscribers: dict[int, list[EventCallback]] = {}
        self._batch: list[commands.Command] = []
        self._flush_handle: asyncio.Handle | None = None
        self._transport_count = [0] * config.shards
        self._transports: set[int] = set()
        self.on_closed: Callable[[int], None] | None = None
        """Told of every transport that has ended."""
        self.on_stream: Callable[[events.StreamOpened], None] | None = None
        """Takes connections of the shared TLS port, each with its socket."""
        self.connected: Counter[str] = Counter()
        """Transports over which media could flow since the start, by the name of their SRTP profile."""

    async def start(self) -> None:
        """Bind the sockets and start the shards. Raises EngineError with the reason when it cannot."""
        try:
            native = _engine.Engine(self._encoder.encode(self.config))
            await asyncio.get_running_loop().run_in_executor(None, native.start)
        except (ValueError, OSError, RuntimeError) as error:
            raise EngineError(f"the packet engine cannot start: {error}") from error
        self._native = native
        self._pump = EventPump(native, self._deliver)
        self._pump.start()

    async def stop(self, deadline_s: float = 2.0) -> None:
        """Close all transports and end the threads, within `deadline_s`. Waiting requests fail with EngineError."""
        native, self._native = self._native, None
        if native is None:
            return
        if self._flush_handle is not None:
            self._flush_handle.cancel()
            self._flush_handle = None
        if self._batch:
            native.submit(self._encoder.encode(self._batch))
            self._batch.clear()
        await asyncio.get_running_loop().run_in_executor(None, native.stop, int(deadline_s * 1000))
        if self._pump is not None:
            self._pump.stop()
        for future in self._pending.values():
            if not future.done():
                future.set_exception(EngineError("the packet engine was stopped"))
        self._pending.clear()

    @property
    def running(self) -> bool:
        """Between `start` and `stop`."""
        return self._native is not None

    def new_id(self, shard: int | None = None) -> int:
        """A fresh id on `shard`; without one, on the shard with the fewest transports."""
        if shard is None:
            shard = min(range(self.config.shards), key=self._transport_count.__getitem__)
        return self._ids.next(shard)

    def new_track_id(self, transport: int) -> int:
        """A fresh id on the shard of `transport`, as a track of it needs."""
        return self._ids.next(shard_of(transport))

    def new_transcoder_id(self) -> int:
        """A fresh id, of a transcoder or a mix, on one of the audio threads, whose numbers follow those of the shards."""
        number = next(self._audio_threads)
        return self._ids.next(self.config.shards + number)

    def edge_id(self, worker: int) -> int:
        """The id by which commands and events name a worker of an Edge's engine."""
        relays = int(self.config.turn is not None)
        return make_id(self.config.shards + self.config.audio_threads + relays + worker, 0)

    def new_listener_id(self, mix: int) -> int:
        """A fresh id on the audio thread of `mix`, for what somebody hears of it."""
        return self._ids.next(shard_of(mix))

    def submit(self, *batch: commands.Command) -> None:
        """Queue commands; all commands of one tick of the loop go to the engine together, in order. Never waits."""
        if self._native is None:
            raise EngineError("the packet engine is not running")
        self._batch.extend(batch)
        if self._flush_handle is None:
            self._flush_handle = asyncio.get_running_loop().call_soon(self._flush)

    async def request(self, command: commands.Command, *, timeout_s: float = REQUEST_TIMEOUT_S) -> events.AnyEvent:
        """Submit one command and wait for its answer. Raises EngineError when it is refused or not answered in time."""
        number = next(self._requests)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[events.AnyEvent] = loop.create_future()
        self._pending[number] = future
        # A timer of the loop costs less than `asyncio.timeout`, and a call makes several requests.
        deadline = loop.call_later(timeout_s, _give_up, future, command, timeout_s)
        try:
            self.submit(msgspec.structs.replace(command, request=number))
            answer = await future
        finally:
            deadline.cancel()
            self._pending.pop(number, None)
        if isinstance(answer, events.CommandFailed):
            if answer.reason.startswith("limit"):
                raise LimitExceeded(f"{answer.command}: {answer.reason}", limit=answer.reason.partition(" ")[2])
            raise CommandRefused(f"{answer.command}: {answer.reason}")
        return answer

    async def open_ice_transport(self, *, shard: int | None = None, restart_grace_ms: int = 5_000) -> LocalIce:
        """Make a WebRTC transport and give its credentials and host candidates. Raises EngineError, LimitExceeded."""
        transport = self._new_transport(shard)
        try:
            answer = await self.request(commands.OpenIceTransport(id=transport, restart_grace_ms=restart_grace_ms))
        except (CommandRefused, LimitExceeded):
            self._forget_transport(transport)
            raise
        except BaseException:
            self._abandon_transport(transport)
            raise
        return self._local_ice(answer)

    async def restart_ice(self, transport: int) -> LocalIce:
        """New credentials for a WebRTC transport; DTLS and SSRCs stay. Raises EngineError."""
        return self._local_ice(await self.request(commands.RestartIce(id=transport)))

    async def open_rtp_transport(
        self,
        bind_ip: str,
        *,
        rtcp_mux: bool = False,
        latching_ms: int = 0,
        timeout_ms: int = 0,
        shard: int | None = None,
        at_edge: Callable[[int], Awaitable[commands.EdgePorts]] | None = None,
    ) -> LocalRtp:
        """Make an RTP transport on a port pair of its own. Raises EngineError; LimitExceeded when no port is free.

        `at_edge` opens the pair for the transport of this id at an Edge; it ends with `on_closed`."""
        transport = self._new_transport(shard)
        ports: commands.EdgePorts | None = None
        try:
            ports = await at_edge(transport) if at_edge is not None else None
            answer = await self.request(
                commands.OpenRtpTransport(
                    id=transport,
                    bind_ip=bind_ip,
                    rtcp_mux=rtcp_mux,
                    latching_ms=latching_ms,
                    timeout_ms=timeout_ms,
                    edge=ports,
                )
            )
        except (CommandRefused, LimitExceeded):
            self._forget_transport(transport)
            if ports is not None and self.on_closed is not None:
                self.on_closed(transport)
            raise
        except BaseException:
            self._abandon_transport(transport)
            raise
        if not isinstance(answer, events.RtpTransportOpened):
            raise EngineError(f"the packet engine answered open_rtp_transport with {type(answer).__name__}")
        return LocalRtp(answer.id, answer.ip, answer.rtp_port, answer.rtcp_port)

    def close_transport(self, transport: int, reason: str = "commanded") -> None:
        """Close a transport with its tracks; `TransportClosed` follows."""
        self.submit(commands.CloseTransport(id=transport, reason=reason))

    async def drain_turn(self, alternates: Iterable[commands.Address] | None) -> None:
        """Send new TURN clients to one of these servers, or away where there is none; None takes them again."""
        told = None if alternates is None else tuple(alternates)
        await self.request(commands.DrainTurn(id=0, alternates=told))

    async def set_shared_tls(self, settings: SharedTls) -> None:
        """Take these names, certificates and proxies for connections that come from now on. Raises EngineError."""
        await self.request(commands.SetSharedTls(id=0, **msgspec.structs.asdict(settings)))

    async def load_clip(self, tracks: Iterable[commands.ClipTrack]) -> int:
        """Load a clip on every shard and give its id. Raises EngineError, LimitExceeded."""
        clip = self._ids.next(0)
        await self.request(commands.LoadClip(id=clip, tracks=tuple(tracks)))
        return clip

    async def stats(self, ids: Iterable[int]) -> list[events.TransportStats]:
        """Counters of the transports `ids`; those that are gone are left out. Raises EngineError."""
        by_shard: defaultdict[int, list[int]] = defaultdict(list)
        for transport in ids:
            by_shard[shard_of(transport)].append(transport)
        reads = [commands.ReadStats(id=group[0], ids=tuple(group)) for group in by_shard.values()]
        # One shard is the usual case, and needs no task of its own.
        answers = [await self.request(reads[0])] if len(reads) == 1 else await asyncio.gather(*map(self.request, reads))
        return [item for answer in answers if isinstance(answer, events.Stats) for item in answer.transports]

    async def ping(self) -> None:
        """Returns when every thread has answered, one that sleeps too. Raises EngineError that names those that do not."""
        if self._native is None:
            raise EngineError("the packet engine is not running")
        threads = self._native.threads
        pings = (self.request(commands.Ping(id=make_id(number, 0))) for number in range(len(threads)))
        answers = await asyncio.gather(*pings, return_exceptions=True)
        # One that refuses the command has answered as well.
        silent = [
            name
            for name, answer in zip(threads, answers, strict=True)
            if isinstance(answer, BaseException) and not isinstance(answer, CommandRefused)
        ]
        if silent:
            raise EngineError(f"no answer from {', '.join(silent)}")

    @property
    def takes_streams(self) -> bool:
        """Whether it has a thread for TCP connections of visitors, while it runs."""
        return self._native is not None and "streams" in self._native.threads

    @property
    def transports(self) -> int:
        """How many are open."""
        return len(self._transports)

    def new_link_id(self) -> int:
        """A fresh id of a link or of a listener for links."""
        return self._ids.next(0)

    async def dial_link(self, command: commands.DialLink) -> None:
        """Keep a link to an Edge. Raises EngineError when certificates, key or address are not usable."""
        await self.request(command)

    async def listen_link(self, command: commands.ListenLink) -> commands.Address:
        """Admit Cores, and give the address that was bound. Raises EngineError."""
        answer = await self.request(command)
        if not isinstance(answer, events.LinkListening):
            raise EngineError(f"the packet engine answered listen_link with {type(answer).__name__}")
        return answer.address

    def subscribe_events(self, object_id: int, callback: EventCallback) -> Callable[[], None]:
        """Call `callback` with every event about the transport or track; the returned function ends that."""
        callbacks = self._subscribers.setdefault(object_id, [])
        callbacks.append(callback)

        def unsubscribe() -> None:
            if callback in callbacks:
                callbacks.remove(callback)
            if not callbacks and self._subscribers.get(object_id) is callbacks:
                del self._subscribers[object_id]

        return unsubscribe

    def counters(self) -> Mapping[str, int]:
        """Counters and gauges by name, all shards together; `shard0.` and so on where they belong to one."""
        if self._native is None:
            return {}
        return self._counters_decoder.decode(self._native.counters())

    def _new_transport(self, shard: int | None) -> int:
        transport = self.new_id(shard)
        self._transports.add(transport)
        self._transport_count[shard_of(transport)] += 1
        return transport

    def _forget_transport(self, transport: int) -> None:
        if transport in self._transports:
            self._transports.remove(transport)
            self._transport_count[shard_of(transport)] -= 1

    def _abandon_transport(self, transport: int) -> None:
        # The answer may still be on its way (cancelled or timed out): close what would otherwise have no owner.
        self._forget_transport(transport)
        if self._native is not None:
            self.submit(commands.CloseTransport(id=transport))

    @staticmethod
    def _local_ice(answer: events.AnyEvent) -> LocalIce:
        if not isinstance(answer, events.IceTransportOpened):
            raise EngineError(f"the packet engine answered open_ice_transport with {type(answer).__name__}")
        return LocalIce(answer.id, answer.ufrag, answer.pwd, answer.addresses, answer.tcp_addresses)

    def _deliver_stream(self, event: events.StreamOpened) -> bool:
        """Gives a connection of the shared TLS port to who takes it, and closes one that nobody takes; else false."""
        if event.id == 0 and self.on_stream is not None:
            self.on_stream(event)
            return True
        if event.id != 0 and self._subscribers.get(event.id):
            return False
        # Whose link this was is gone, or the doors are closed; so the visitor is told by an end.
        os.close(event.fd)
        return True

    def _flush(self) -> None:
        self._flush_handle = None
        batch, self._batch = self._batch, []
        if self._native is not None and batch:
            self._native.submit(self._encoder.encode(batch))

    def _deliver(self, event: events.AnyEvent) -> None:
        if isinstance(event, events.StreamOpened) and self._deliver_stream(event):
            return
        request: int | None = getattr(event, "request", None)
        if request is not None:
            future = self._pending.get(request)
            if future is not None and not future.done():
                future.set_result(event)
        elif isinstance(event, events.CommandFailed):
            _log.warning("engine_command_failed", command=event.command, id=event.id, reason=event.reason)
        if isinstance(event, events.TransportConnected):
            self.connected[event.srtp_profile] += 1
        elif isinstance(event, events.TransportClosed):
            self._forget_transport(event.id)
            if self.on_closed is not None:
                self.on_closed(event.id)
        object_id: int | None = getattr(event, "id", None)
        if object_id is None:
            return
        for callback in tuple(self._subscribers.get(object_id, ())):
            try:
                callback(event)
            except Exception:  # noqa: BLE001
                # One subscriber's mistake must not keep the others from their events.
                _log.exception("engine_event_callback_failed", event_type=type(event).__name__, id=object_id)


def _give_up(future: asyncio.Future[events.AnyEvent], command: commands.Command, timeout_s: float) -> None:
    if not future.done():
        name = type(command).__name__
        future.set_exception(EngineError(f"the packet engine did not answer {name} in {timeout_s} s"))
