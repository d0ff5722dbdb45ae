"""The search for SRTP keys in use finds those of the engine: without that it would prove nothing where it finds none."""

from __future__ import annotations

import asyncio
import os
from contextlib import nullcontext

import pytest

from mediaserver.engine import commands
from mediaserver.engine.engine import Engine
from tests.engine.phones import until
from tests.engine.test_engine_rtp import SRTP_SUITES, bridge, open_leg
from tests.peers.memory_search import copy_of_memory
from tests.peers.srtp_session_keys import find_session_keys, is_srtp, opens


@pytest.mark.parametrize("suite", ["AEAD_AES_128_GCM", "AEAD_AES_256_GCM"])
async def test_keys_in_use_are_found_and_those_of_nobody_are_not(
    small_engine: Engine, suite: commands.SrtpSuite, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = commands.SrtpKeys(
        local_suite=suite,
        local_key=os.urandom(SRTP_SUITES[suite]),
        remote_suite=suite,
        remote_key=os.urandom(SRTP_SUITES[suite]),
    )
    plain, protected = await open_leg(small_engine), await open_leg(small_engine, srtp=keys)
    await bridge(small_engine, plain, protected)
    plain.phone.send(plain.phone.rtp(b"a secret said" * 12), plain.target)
    await until(lambda: len(protected.phone.received) == 1, what="one packet")
    (packet,) = protected.phone.received
    assert is_srtp(packet)
    changed = packet[:-1] + bytes([packet[-1] ^ 1])
    # It is our own process, which cannot stand still while it looks.
    monkeypatch.setattr("tests.peers.memory_search._still", lambda _pid: nullcontext())
    memory = copy_of_memory(os.getpid())
    found = await asyncio.to_thread(find_session_keys, memory, {"sent": [packet], "forged": [changed]})
    assert set(found) == {"sent"}
    assert opens(found["sent"], packet)
    assert len(found["sent"].key) == (32 if suite == "AEAD_AES_256_GCM" else 16)
