"""Contacts and what software of the house may do with their calls, over legs without media."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from mediaserver.call.admission import Admission
from mediaserver.call.agents import Agents, Presentation
from mediaserver.call.call import Call
from mediaserver.call.call_request import CallRequest
from mediaserver.call.dial_failed import DialFailed
from mediaserver.call.dial_plan import DialPlan
from mediaserver.call.events import EndCause
from mediaserver.call.leg import LegMedia
from mediaserver.call.routing import Destination
from mediaserver.call.webhook import Webhooks
from mediaserver.config.loader import load_text
from mediaserver.config.sections import Target
from mediaserver.contact.attributes import AttributeLimits
from mediaserver.contact.call_control import CallControl
from mediaserver.contact.connected_call import ConnectedCall
from mediaserver.contact.contact import Contact
from mediaserver.contact.contacts import Contacts
from mediaserver.core.down_track import DownTrack
from mediaserver.core.up_track import UpTrack
from mediaserver.runtime.metrics import Metrics
from mediaserver.sdp.codecs import KNOWN
from mediaserver.sdp.description import Fingerprint
from mediaserver.store.records import ContactRecord
from tests.call.fakes import FakeEngine, FakeLeg
from tests.store.memory_records import MemoryRecords

CONFIG = """
users: {anna: {secret: {env: A}}, ben: {secret: {env: A}}, expert: {secret: {env: A}}}
trunks: {carrier: {target: "sip:carrier.test"}}
limits: {attributes: 3, attribute_size: 64 B, contacts: 20}
routes:
  - match: {called: "666"}
    to: {refuse: 603}
  - match: {called: "09*"}
    to: {trunk: carrier}
  - match: {called: "+*"}
    to: {trunk: carrier}
  - match: {called: "5*"}
    to: {user: ben}
"""
GREETING = 77


class FakeCalls:
    """Whom `fails` names does not answer; of the others each has a leg, `legs`, once rung."""

    def __init__(self, engine: FakeEngine) -> None:
        self.engine = engine
        self.fails: dict[str, DialFailed] = {}
        self.legs: dict[str, FakeLeg] = {}
        self.rung: list[CallRequest] = []
        self.gates: dict[str, asyncio.Event] = {}

    async def ring(self, request: CallRequest) -> FakeLeg:
        self.rung.append(request)
        name = str(request.destination.target.user)
        if name in self.gates:
            await self.gates[name].wait()
        if name in self.fails:
            raise self.fails[name]
        leg = self.legs[name] = make_leg(f"{name}-leg-{len(self.rung)}", self.engine)
        return leg

    async def connect(self, request: CallRequest, *, on_ended: Callable[[Call, EndCause], None]) -> Call:
        callee = await self.ring(request)
        call = Call(
            call_id=request.call_id,
            caller=request.caller,
            callee=callee,
            longest_s=60,
            on_ended=on_ended,
            on_replaced=request.on_leg,
            on_digit=request.on_digit,
            engine=self.engine,  # type: ignore[arg-type]
        )
        await call.join()
        return call


def make_leg(name: str, engine: FakeEngine) -> FakeLeg:
    """A leg with sound, that takes telephone events."""
    leg = FakeLeg(name)
    leg._engine = engine  # type: ignore[assignment]
    event = next(codec for codec in KNOWN.values() if codec.key == "telephone-event")
    common: dict[str, Any] = {"engine": engine, "transport": 1, "kind": "audio", "mid": None}
    sound = KNOWN["PCMU"]
    up, down = UpTrack(**common, codecs=(sound,)), DownTrack(**common, codecs=(sound, event), ssrc=1, cname="c")
    leg.media["audio"] = LegMedia(up, down)
    return leg


class FakeAnnouncements:
    """Knows `greeting`."""

    def clip(self, name: str) -> int | None:
        return GREETING if name == "greeting" else None


class FakeWriter:
    """Keeps records at once."""

    def __init__(self) -> None:
        self.records: list[ContactRecord] = []

    def submit(self, record: ContactRecord) -> bool:
        self.records.append(record)
        return True


class CallHouse:
    """`told` is what happened: (type, data)."""

    def __init__(self) -> None:
        config = load_text(CONFIG).config
        self.metrics = Metrics()
        self.engine = FakeEngine()
        self.calls = FakeCalls(self.engine)
        self.writer = FakeWriter()
        self.records = MemoryRecords()
        self.told: list[tuple[str, Mapping[str, Any]]] = []
        limits = AttributeLimits(config.limits.attributes, config.limits.attribute_size)
        plan = DialPlan(config, webhooks=Webhooks(config, secret_of=lambda *_: None, metrics=self.metrics))
        fakes: dict[str, Any] = {
            "calls": self.calls,
            "announcements": FakeAnnouncements(),
            "engine": self.engine,
            "dial_plan": plan,
            "server_name": "ms",
            "attribute_limits": limits,
        }
        writer: Any = self.writer
        self.contacts = Contacts(
            config=config,
            fingerprint=Fingerprint("sha-256", bytes(32)),
            agents=Agents(),
            records=writer,
            metrics=self.metrics,
            admission=Admission(config, metrics=self.metrics),
            tell=lambda type_, contact_id, call_id, data: self.told.append((type_, data)),
            **fakes,
        )
        self.control = CallControl(contacts=self.contacts, records=self.records, **fakes)

    async def phone_call(self, name: str = "caller", *, to: str = "anna") -> tuple[str, FakeLeg]:
        """A phone has called a user, who has answered or is being rung: the call's id and the phone's leg."""
        leg = make_leg(f"{name}-leg", self.engine)
        contact = Contact(id=f"{name}-contact", source="192.0.2.1", caller=name, number=name)
        contact.add_leg(leg)
        runner = self.contacts.run(
            contact,
            lambda over: ConnectedCall(
                contact=contact,
                leg=leg,
                destination=Destination(Target(user=to), to, f"user {to}"),
                presentation=Presentation(name=name, number=name),
                calls=self.calls,  # type: ignore[arg-type]
                server_name="ms",
                on_over=over,
            ),
            origin="sip",
            to=to,
        )
        runner.begin()
        await settled()
        return contact.call_id, leg

    @property
    def types(self) -> list[str]:
        return [type_ for type_, _ in self.told]

    async def close(self) -> None:
        await self.contacts.end_all(EndCause("system", "test_over"))
        await self.contacts.all_over()


async def settled() -> None:
    """Everything that can happen without a clock has happened."""
    for _ in range(30):
        await asyncio.sleep(0)
