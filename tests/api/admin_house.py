"""The whole API of the administration's listener, over a house of calls without media."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp.test_utils import TestServer

from mediaserver.api.api_tokens import ApiTokensResource
from mediaserver.api.app import HttpLimits, make_app
from mediaserver.api.auth import AdminAuth, DaemonTokens, Scope
from mediaserver.api.calls import CallsResource
from mediaserver.api.contacts import ContactsResource
from mediaserver.api.context import Admission, EntryAccess
from mediaserver.api.edges import EdgeShown, EdgesResource
from mediaserver.api.entries import EntriesAdminResource
from mediaserver.api.event_stream import EventsResource
from mediaserver.api.media_probes import MediaProbeShown, MediaProbesResource
from mediaserver.api.metrics import ApiMetrics
from mediaserver.api.openapi import Described, OpenApiResource
from mediaserver.api.operation import Operation
from mediaserver.api.records import RecordsResource
from mediaserver.api.registrations import RegistrationsResource
from mediaserver.api.revoked_certificates import RevokedCertificatesResource
from mediaserver.api.source import SourceResolver
from mediaserver.api.tokens import TokensResource
from mediaserver.api.trunks import TrunksResource
from mediaserver.call.trunks import Trunks
from mediaserver.config.loader import load_text
from mediaserver.runtime.metrics import Metrics
from mediaserver.sip.certificates.standing import CertificateStanding, StandingSettings
from mediaserver.sip.config import NullCounters
from mediaserver.sip.flow import Flow
from mediaserver.sip.location import Binding
from mediaserver.sip.uri import parse_sip_uri
from mediaserver.store.events import SqliteEvents
from mediaserver.store.journal import Journal
from mediaserver.store.records import SqliteRecords
from mediaserver.store.revoked_certificates import SqliteRevokedCertificates
from tests.api.fakes import FakeRevocations, three_records
from tests.contact.call_house import CallHouse

ADMIN = "admin-token-for-tests"
_TRUNKS = "trunks: {pbx: {target: 'sip:192.0.2.1'}}\n"


class Clock:
    """Monotonic seconds that tests move."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def _nobody(address: str, body: bytes | None) -> bytes:
    raise AssertionError(f"{address} is not to be asked")


class FakeEdges:
    """Two Edges, of which one is away."""

    def __init__(self) -> None:
        self.deadline_s: float | None = None

    def status(self) -> list[EdgeShown]:
        first = EdgeShown(name="dmz", state="ready")
        if self.deadline_s is not None:
            first = EdgeShown(name="dmz", state="draining", sessions=3, remaining_s=self.deadline_s)
        return [first, EdgeShown(name="other", state="away", reason="nothing listens there")]

    async def leave(self, name: str, deadline_s: float | None) -> None:
        assert name == "dmz"
        self.deadline_s = deadline_s


class FakeProbes:
    """One Edge that opens ports, beside others that open none."""

    def __init__(self) -> None:
        self.is_open = False

    async def open(self, edge: str) -> MediaProbeShown:
        if edge != "dmz":
            return MediaProbeShown(state="refused", reason="edge.sip_media_ports opens none there")
        self.is_open = True
        return MediaProbeShown(state="open", ip="203.0.113.5", port=30000)

    async def close(self, edge: str) -> MediaProbeShown | None:
        if edge != "dmz" or not self.is_open:
            return None
        self.is_open = False
        return MediaProbeShown(state="closed", ip="203.0.113.5", port=30000, packets=3, heard_from="192.0.2.9:4000")


class AdminHouse:
    """Start it, ask it, stop it. `ask` sends the admin token unless told otherwise."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.calls = CallHouse()
        self.clock = Clock()
        self.admission = Admission()
        self.tokens = DaemonTokens(session_key=b"s" * 32, room_key=b"r" * 32)
        self.revocations = FakeRevocations()
        self.described: list[Described] = []
        self.edges = FakeEdges()
        self.probes = FakeProbes()

    async def start(self) -> None:
        self.file = await SqliteRecords.open(self._folder / "records.sqlite")
        self.journal = Journal(await SqliteEvents.open(self.file), keep_s=3600.0, most=1000, metrics=Metrics())
        await self.journal.start()
        await self.calls.records.add(*three_records())
        admin = AdminAuth(ADMIN, self.tokens)
        flow = Flow("udp", "192.0.2.9", 5060, "192.0.2.7", 5062)
        binding = Binding("alice@example.org", parse_sip_uri("sip:alice@10.0.0.7"), flow, 130.0, 1.0, "c", 1, "phone")
        self.events = EventsResource(journal=self.journal, admin=admin, source_of=SourceResolver())
        trunks = Trunks(
            load_text(_TRUNKS).config.trunks,
            realm="example.org",
            password_of=lambda name, trunk: None,
            metrics=Metrics(),
            now=lambda: 0.0,
        )
        entry = EntryAccess("demo", "Talk to us")
        certificates = CertificateStanding(
            StandingSettings(),
            authorities=(),
            revoked=(),
            fetch=_nobody,
            counters=NullCounters(),
            now=lambda: datetime.now(UTC),
        )
        self.described = [
            CallsResource(
                control=self.calls.control,
                admin=admin,
                admission=self.admission,
                clock=self.clock,
                entries={"demo": entry, "plain": EntryAccess("plain", "Talk to us", video="none")},
            ),
            ContactsResource(control=self.calls.control, admin=admin),
            self.events,
            TokensResource(tokens=self.tokens, admin=admin),
            ApiTokensResource(tokens=self.tokens, admin=admin, revocations=self.revocations),
            EntriesAdminResource(entries={"demo": entry}, admin=admin),
            RecordsResource(store=self.calls.records, admin=admin),
            EdgesResource(edges=self.edges, admin=admin),
            MediaProbesResource(probes=self.probes, edges=self.edges, admin=admin),
            TrunksResource(status=trunks.status, admin=admin),
            RegistrationsResource(
                bindings=lambda: [binding], remove=lambda aor: aor == binding.aor, now=lambda: 100.0, admin=admin
            ),
            RevokedCertificatesResource(
                certificates=certificates, kept=await SqliteRevokedCertificates.open(self.file), admin=admin
            ),
        ]
        limits = HttpLimits(requests_per_second_per_source=100_000, request_burst_per_source=100_000)
        app = make_app(
            [*self.described, OpenApiResource(self.operations)],
            name="admin",
            metrics=ApiMetrics(Metrics()),
            source_of=SourceResolver(),
            limits=limits,
        )
        self.server = TestServer(app)
        await self.server.start_server()
        self.http = aiohttp.ClientSession(str(self.server.make_url("/")).rstrip("/"))

    async def stop(self) -> None:
        await self.calls.close()
        await self.events.stop()
        await self.http.close()
        await self.server.close()
        await self.journal.stop(2.0)
        await self.file.close()

    @property
    def operations(self) -> list[Operation]:
        """Everything that the resources can do."""
        return [operation for resource in self.described for operation in resource.operations()]

    def token(self, *scopes: Scope, subject: str = "crm") -> str:
        return self.tokens.mint_api(subject, scopes, lifetime_s=600)

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = ADMIN,
        headers: Mapping[str, str] | None = None,
        data: str | bytes | None = None,
    ) -> tuple[int, Any]:
        """Status and JSON; `body` is sent as JSON, `data` as it is."""
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        if body is not None:
            sent.setdefault("Content-Type", "application/json")
            data = json.dumps(body)
        async with self.http.request(method, path, data=data, headers=sent) as response:
            text = await response.text()
            self.last = response
            return response.status, json.loads(text) if text else None
