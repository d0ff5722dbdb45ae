"""The Edge's end of the link to one Core: hears its keys and revocations, and says where visitors reach the Edge."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import structlog

from mediaserver.errors import RemoteProtocolError
from mediaserver.link.end import End
from mediaserver.link.messages import (
    MAX_REASON,
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
    common_version,
)
from mediaserver.link.wire import Wire

_log = structlog.get_logger(__name__)


class CoreSink(Protocol):
    """What an Edge does with what a Core tells."""

    def handle_keys(self, core_id: int, shards: int, keys: SetKeys) -> None:
        """These keys are good from now on, and no others of this Core, which has so many shards."""
        ...

    def handle_revocations(self, core_id: int, sessions: Sequence[Revocation]) -> None:
        """These sessions have ended."""
        ...

    def handle_open_ports(self, core: EdgeEnd, message: OpenPorts) -> None:
        """This Core wants ports; `tell_ports` or `refuse_ports` answers."""
        ...

    def handle_aim_ports(self, core_id: int, message: AimPorts) -> None:
        """Where the peer of ports of this Core is."""
        ...

    def handle_elsewhere(self, core: EdgeEnd, message: BringElsewhere) -> None:
        """This Core has nothing for a visitor who will come again."""
        ...

    def handle_dial(self, core: EdgeEnd, dial: Dial) -> None:
        """This Core wants a connection opened; `refuse_dial` tells it that there will be none."""
        ...


class EdgeEnd(End):
    """One Core as the Edge knows it. `changed` is called when the Core came, and when it went.

    `may_have_id` says whether the Core of this certificate name may have the core id that it claims: otherwise one Core
    could put its keys in the place of another's."""

    def __init__(
        self,
        *,
        core_name: str,
        edge_name: str,
        software: str,
        instance: str,
        addresses: Sequence[EdgeAddress],
        media_ports: Sequence[int],
        terminated: Sequence[str] = (),
        wire: Wire,
        sink: CoreSink,
        may_have_id: Callable[[str, int], bool],
        changed: Callable[[EdgeEnd], None],
    ) -> None:
        super().__init__(wire, other=core_name)
        self.core_name = core_name
        """The name in the Core's certificate."""
        self._edge_name = edge_name
        self._software = software
        self._instance = instance
        self._addresses = tuple(addresses)
        self._media_ports = tuple(media_ports)
        self._terminated = tuple(terminated)
        self._shards = 0
        self._sink = sink
        self._may_have_id = may_have_id
        self._changed = changed
        self._drain_deadline_s: float | None = None
        self.core_id: int | None = None
        """The Core's id in its tokens; None while it is not there."""
        self.is_draining = False
        """The Core takes no new visitors."""

    def handle_up(self) -> None:
        """The link is up; the Core speaks first."""
        self.core_id = None
        self.reason = "waiting for the Core's hello"

    def handle_down(self, reason: str) -> None:
        """The link is down. Keys and paths stay: a link that is back within seconds shall find them."""
        was_there = self.core_id is not None
        self.core_id = None
        self.reason = reason
        if was_there:
            self._changed(self)

    def set_addresses(self, addresses: Sequence[EdgeAddress]) -> None:
        """Visitors reach this Edge elsewhere from now on."""
        self._addresses = tuple(addresses)
        if self.core_id is not None:
            self._send(EdgeAddresses(addresses=self._addresses))

    def drain(self, deadline_s: float | None) -> None:
        """Take no new sessions and end after the deadline; None goes on after all."""
        self._drain_deadline_s = deadline_s
        if self.core_id is not None:
            self._send(Drain(deadline_s=deadline_s))

    def refuse_dial(self, number: int, reason: str) -> None:
        """A connection that the Core wants could not be opened."""
        if self.core_id is not None:
            self._send(DialFailed(number=number, reason=reason[:MAX_REASON]))

    def tell_ports(self, opened: PortsOpened) -> None:
        """Ports that the Core wants are open."""
        if self.core_id is not None:
            self._send(opened)

    def refuse_ports(self, transport: int, reason: str) -> None:
        """Ports that the Core wants could not be opened."""
        if self.core_id is not None:
            self._send(PortsRefused(transport=transport, reason=reason[:MAX_REASON]))

    def _handle(self, message: AnyMessage) -> None:
        match message:
            case CoreHello():
                self._greet(message)
            case SetKeys() if self.core_id is not None:
                self._sink.handle_keys(self.core_id, self._shards, message)
            case Revoke() if self.core_id is not None:
                self._sink.handle_revocations(self.core_id, message.sessions)
            case Drain() if self.core_id is not None:
                self.is_draining = message.deadline_s is not None
                _log.info("core_drains", core=self.core_name, deadline_s=message.deadline_s)
            case BringElsewhere() if self.core_id is not None:
                self._sink.handle_elsewhere(self, message)
            case Dial() if self.core_id is not None:
                self._sink.handle_dial(self, message)
            case OpenPorts() if self.core_id is not None:
                self._sink.handle_open_ports(self, message)
            case AimPorts() if self.core_id is not None:
                self._sink.handle_aim_ports(self.core_id, message)
            case _:
                raise RemoteProtocolError(f"a {type(message).__name__} at the wrong time")

    def _greet(self, hello: CoreHello) -> None:
        if not self._may_have_id(self.core_name, hello.core_id):
            self.reason = f"the Core claims core id {hello.core_id}, which is not its own"
            raise RemoteProtocolError(self.reason)
        version = common_version(hello.versions)
        self._send(
            EdgeHello(
                version=version,
                name=self._edge_name,
                software=self._software,
                instance=self._instance,
                addresses=self._addresses,
                media_ports=self._media_ports,
                terminated=self._terminated,
                drain_deadline_s=self._drain_deadline_s,
            )
        )
        if not version:
            self.reason = f"the Core speaks only versions {hello.versions} of the link"
            _log.error("link_version", core=self.core_name, software=hello.software, versions=hello.versions)
            return
        self.core_id = hello.core_id
        self._shards = hello.shards
        self.is_draining = False
        self.reason = ""
        self._changed(self)
