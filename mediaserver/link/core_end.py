"""The Core's end of the link to one Edge: tells it keys and revocations, and hears where visitors reach it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Final, TypeVar

import structlog

from mediaserver.errors import RemoteProtocolError
from mediaserver.link.end import End
from mediaserver.link.messages import (
    REVOCATIONS_PER_MESSAGE,
    VERSIONS,
    AimPorts,
    AnyMessage,
    BringElsewhere,
    CoreHello,
    Dial,
    DialFailed,
    Drain,
    EdgeAddress,
    EdgeAddresses,
    EdgeHello,
    OpenPorts,
    PortsOpened,
    PortsRefused,
    Revocation,
    Revoke,
    SetKeys,
    TokenKey,
)
from mediaserver.link.wire import Wire

MEDIA_KEY_BYTES: Final = 32

_log = structlog.get_logger(__name__)

_T = TypeVar("_T")


class CoreEnd(End):
    """One Edge as the Core knows it. `changed` is called after every change of what its properties say."""

    def __init__(
        self,
        *,
        name: str,
        core_id: int,
        shards: int,
        software: str,
        wire: Wire,
        keys: Sequence[TokenKey],
        turn_secrets: Sequence[bytes] = (),
        revoked: Callable[[], Iterable[Revocation]],
        media_ready: Callable[[bytes], None],
        changed: Callable[[CoreEnd], None],
        may_end_tls: bool = False,
    ) -> None:
        super().__init__(wire, other=name)
        self.name = name
        """The Edge's name in the configuration."""
        self._core_id = core_id
        self._shards = shards
        self._software = software
        self._keys = tuple(keys)
        self._turn_secrets = tuple(turn_secrets)
        self._revoked = revoked
        self._media_ready = media_ready
        # For as long as we live: media go on while the rest of the link comes back, and also when the Edge was restarted.
        self._media_secret = os.urandom(MEDIA_KEY_BYTES)
        self._changed = changed
        self._may_end_tls = may_end_tls
        self.terminated: tuple[str, ...] = ()
        """Names of pages whose TLS ends at the Edge, which is trusted with them; what was said last."""
        self._hello: EdgeHello | None = None
        self.addresses: tuple[EdgeAddress, ...] = ()
        """Where visitors reach the Edge; what was said last, also while the link is down."""
        self.media_ports: tuple[int, ...] = ()
        """UDP ports of the Edge's threads for the media part of the link."""
        self.on_dial_failed: Callable[[CoreEnd, int, str], None] | None = None
        """Told the number of a connection that the Edge could not open, and why."""
        self.on_ports: Callable[[CoreEnd, PortsOpened | PortsRefused], None] | None = None
        """Told what became of ports that were asked for."""
        self._own_drain_deadline_s: float | None = None
        """Seconds that we give to our sessions."""
        self.drain_deadline_s: float | None = None
        """Seconds that the Edge gave to its sessions when it began to drain; None while it does not."""

    @property
    def is_ready(self) -> bool:
        """The Edge has our keys and takes visitors' packets."""
        return self._hello is not None

    @property
    def instance(self) -> str:
        """Names the Edge's present life; empty while it is away."""
        return self._hello.instance if self._hello is not None else ""

    @property
    def is_draining(self) -> bool:
        """The Edge takes no new sessions."""
        return self.drain_deadline_s is not None

    def handle_up(self) -> None:
        """The link is up."""
        self._hello = None
        self.reason = "waiting for the Edge's hello"
        self._send(CoreHello(versions=VERSIONS, core_id=self._core_id, shards=self._shards, software=self._software))
        self._changed(self)

    def handle_down(self, reason: str) -> None:
        """The link is down."""
        self._hello = None
        self.reason = reason
        self._changed(self)

    def set_keys(self, keys: Sequence[TokenKey], turn_secrets: Sequence[bytes]) -> None:
        """Keys that prove ufrags from now on, and secrets that make TURN passwords; at most two of each."""
        self._keys, self._turn_secrets = tuple(keys), tuple(turn_secrets)
        if self.is_ready:
            self._send_keys()

    def open_media(self) -> None:
        """Begin the media links anew; nothing while the Edge is away, for they begin when it comes."""
        if self.is_ready:
            self._media_ready(self._media_secret)

    def drain(self, deadline_s: float) -> None:
        """We take no new visitors and end after the deadline; the Edge brings them to other Cores, now or when it comes."""
        self._own_drain_deadline_s = deadline_s
        if self.is_ready:
            self._send(Drain(deadline_s=deadline_s))

    def bring_elsewhere(self, source: str, core_id: int | None) -> None:
        """Whoever comes from this address is for the Core of this id, or with None for any that takes new visitors."""
        if self.is_ready:
            self._send(BringElsewhere(source=source, core_id=core_id))

    def revoke(self, sessions: Iterable[Revocation]) -> None:
        """Sessions have ended. While the Edge is away nothing is sent: it is told all of them when it comes back."""
        if self.is_ready:
            self._send_revocations(sessions)

    def dial(self, number: int, ip: str, port: int) -> None:
        """Open a TCP connection from the Edge; it comes as a stream of this number, or `on_dial_failed` is called."""
        self._send(Dial(number=number, ip=ip, port=port))

    def open_ports(
        self, transport: int, ip: str, *, rtp: int | None = None, worker: int | None = None, latching_ms: int = 0
    ) -> None:
        """Open a pair of ports for media of a transport, that of the number `rtp` at the thread `worker` where they are
        given, and to anybody for this long; `on_ports` is called."""
        self._send(OpenPorts(transport=transport, ip=ip, rtp=rtp, worker=worker, latching_ms=latching_ms))

    def aim_ports(
        self, transport: int, rtp: tuple[str, int] | None, rtcp: tuple[str, int] | None, latching_ms: int
    ) -> None:
        """Where the peer of a pair sends from by its description, and how long others may come in its place."""
        self._send(AimPorts(transport=transport, rtp=rtp, rtcp=rtcp, latching_ms=latching_ms))

    def set_busy(self, busy: bool) -> None:
        """Whether paths of ours lead over this Edge."""
        self._wire.set_busy(busy)

    def _handle(self, message: AnyMessage) -> None:
        match message:
            case EdgeHello():
                self._greet(message)
            case EdgeAddresses() if self.is_ready:
                self.addresses = message.addresses
            case Drain() if self.is_ready:
                self.drain_deadline_s = message.deadline_s
            case DialFailed() if self.is_ready:
                if self.on_dial_failed is not None:
                    self.on_dial_failed(self, message.number, message.reason)
                return
            case PortsOpened() | PortsRefused() if self.is_ready:
                if self.on_ports is not None:
                    self.on_ports(self, message)
                return
            case _:
                raise RemoteProtocolError(f"a {type(message).__name__} at the wrong time")
        self._changed(self)

    def _greet(self, hello: EdgeHello) -> None:
        if hello.version not in VERSIONS:
            self.reason = f"the Edge speaks no version of the link that we do ({', '.join(map(str, VERSIONS))})"
            _log.error("link_version", edge=self.name, software=hello.software)
            return
        if hello.terminated and not self._may_end_tls:
            self.reason = (
                f"the Edge ends the TLS of {', '.join(hello.terminated)[:200]} itself: trust it by "
                f"link.edges.{self.name}.tls: terminate, or give it edge.tls: pass"
            )
            _log.error("edge_ends_tls_unasked", edge=self.name, names=hello.terminated)
            return
        self._hello = hello
        self.reason = ""
        self.terminated = hello.terminated
        self.addresses = hello.addresses
        self.media_ports = hello.media_ports
        self.drain_deadline_s = hello.drain_deadline_s
        self._send_keys()
        self._media_ready(self._media_secret)
        self._send_revocations(self._revoked())
        if self._own_drain_deadline_s is not None:
            self._send(Drain(deadline_s=self._own_drain_deadline_s))

    def _send_keys(self) -> None:
        self._send(SetKeys(tokens=self._keys, turn=self._turn_secrets, media=self._media_secret))

    def _send_revocations(self, sessions: Iterable[Revocation]) -> None:
        for some in _parts(sessions, REVOCATIONS_PER_MESSAGE):
            self._send(Revoke(sessions=some))


def _parts(items: Iterable[_T], size: int) -> Iterator[tuple[_T, ...]]:
    rest = iter(items)
    while part := tuple(islice(rest, size)):
        yield part
