"""Both ends of a link without an engine: what one sends the other hears, while the line is up."""

from __future__ import annotations

from collections.abc import Sequence

from mediaserver.link.core_end import CoreEnd
from mediaserver.link.edge_end import EdgeEnd
from mediaserver.link.messages import BringElsewhere, EdgeAddress, Revocation, SetKeys, TokenKey, parse

PUBLIC = EdgeAddress(protocol="udp", ip="198.51.100.1", port=3478, purpose="media")
WEB = EdgeAddress(protocol="tcp", ip="198.51.100.1", port=443, purpose="web")
KEY = TokenKey(id=1, secret=b"k" * 32)
NEW_KEY = TokenKey(id=2, secret=b"n" * 32)


class FakeWire:
    """One end's way to the other; messages wait until they are carried."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.busy: list[bool] = []

    def send(self, payload: bytes) -> None:
        self.sent.append(payload)

    def set_busy(self, busy: bool) -> None:
        self.busy.append(busy)

    def take(self) -> list[bytes]:
        sent, self.sent = self.sent, []
        return sent

    def kinds(self) -> list[str]:
        """What waits, by name."""
        return [type(parse(payload)).__name__ for payload in self.sent]


class FakeSink:
    """What an Edge was told."""

    def __init__(self) -> None:
        self.keys: list[SetKeys] = []
        self.revoked: list[Revocation] = []
        self.elsewhere: list[tuple[str, BringElsewhere]] = []
        """By which Core, and what."""

    def handle_elsewhere(self, core: EdgeEnd, message: BringElsewhere) -> None:
        self.elsewhere.append((core.core_name, message))

    def handle_keys(self, core_id: int, shards: int, keys: SetKeys) -> None:
        assert (core_id, shards) == (3, 2)
        self.keys.append(keys)

    def handle_revocations(self, core_id: int, sessions: Sequence[Revocation]) -> None:
        self.revoked.extend(sessions)


class Pair:
    """A Core's end and an Edge's end."""

    def __init__(
        self,
        name: str = "dmz-1",
        *,
        turn_secrets: Sequence[bytes] = (),
        terminated: Sequence[str] = (),
        may_end_tls: bool = False,
    ) -> None:
        self.core_wire, self.edge_wire = FakeWire(), FakeWire()
        self.sink = FakeSink()
        self.revoked: list[Revocation] = []
        self.media_keys: list[bytes] = []
        self.changes: list[bool] = []
        self.terminated = terminated
        self.core = CoreEnd(
            name=name,
            core_id=3,
            shards=2,
            software="test",
            wire=self.core_wire,
            keys=(KEY,),
            turn_secrets=turn_secrets,
            revoked=lambda: self.revoked,
            media_ready=self.media_keys.append,
            changed=lambda core: self.changes.append(core.is_ready),
            may_end_tls=may_end_tls,
        )
        self.edge = self.new_edge("first")

    def new_edge(self, instance: str) -> EdgeEnd:
        """The Edge, started anew."""
        self.edge = EdgeEnd(
            core_name="core.bank.example",
            edge_name="edge.bank.example",
            software="test",
            instance=instance,
            addresses=(PUBLIC, WEB),
            media_ports=(7443, 7444),
            terminated=self.terminated,
            wire=self.edge_wire,
            sink=self.sink,
            may_have_id=lambda name, core_id: (name, core_id) == ("core.bank.example", 3),
            changed=lambda _: None,
        )
        return self.edge

    def carry(self) -> None:
        """Until nothing more is said."""
        while self.core_wire.sent or self.edge_wire.sent:
            for payload in self.core_wire.take():
                self.edge.handle_message(payload)
            for payload in self.edge_wire.take():
                self.core.handle_message(payload)

    def connect(self) -> None:
        self.core.handle_up()
        self.edge.handle_up()
        self.carry()

    def cut(self, reason: str = "cut") -> None:
        self.core_wire.take()
        self.edge_wire.take()
        self.core.handle_down(reason)
        self.edge.handle_down(reason)
