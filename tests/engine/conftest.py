"""A running engine on loopback ."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from mediaserver.engine import certificate
from mediaserver.engine.certificate import DtlsCertificate
from mediaserver.engine.config import DscpMarks, EngineConfig, TurnConfig
from mediaserver.engine.engine import Engine
from tests.engine.phones import LOOPBACK, Phone


def port_range() -> tuple[int, int]:
    """200 UDP ports below all that the kernel and the other peers take, elsewhere for each engine."""
    first = random.randrange(10_000, 11_800, 2)
    return first, first + 199


@pytest.fixture(scope="session")
def dtls_certificate() -> DtlsCertificate:
    return certificate.generate()


@asynccontextmanager
async def running(
    dtls: DtlsCertificate,
    *,
    shards: int,
    dscp: DscpMarks | None = None,
    real_time: bool = False,
    ports: int = 1,
    turn: TurnConfig | None = None,
) -> AsyncIterator[Engine]:
    engine = Engine(
        EngineConfig(
            shards=shards,
            webrtc_binds=(f"{LOOPBACK}:0",),
            webrtc_ports=ports,
            sip_binds=(LOOPBACK,),
            sip_ports=port_range(),
            certificate_der=dtls.certificate_der,
            private_key_der=dtls.private_key_der,
            ufrag_key=os.urandom(32),
            dscp=dscp or DscpMarks(),
            real_time=real_time,
            turn=turn,
        )
    )
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()


@pytest.fixture(params=[1, 2], ids=["one-shard", "two-shards"])
async def engine(request: pytest.FixtureRequest, dtls_certificate: DtlsCertificate) -> AsyncIterator[Engine]:
    """An engine; with two shards every other transport is on the other one."""
    async with running(dtls_certificate, shards=request.param) as started:
        yield started


@pytest.fixture
async def small_engine(dtls_certificate: DtlsCertificate) -> AsyncIterator[Engine]:
    async with running(dtls_certificate, shards=1) as started:
        yield started


@pytest.fixture(autouse=True)
async def hang_up_phones() -> AsyncIterator[None]:
    """Close the sockets of every phone that a test opened."""
    yield
    for phone in Phone.opened:
        phone.close()
    Phone.opened.clear()
    await asyncio.sleep(0)
