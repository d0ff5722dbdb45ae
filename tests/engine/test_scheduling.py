"""How the kernel schedules the engine's threads."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest

from mediaserver.engine.certificate import DtlsCertificate
from mediaserver.engine.config import TurnConfig
from tests.engine.conftest import running
from tests.engine.phones import LOOPBACK


def real_time_allowed() -> bool:
    """Whether a thread of this process may be real-time, tried in one that ends with it."""
    allowed = []

    def ask() -> None:
        try:
            os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))
        except PermissionError:
            allowed.append(False)
        else:
            allowed.append(True)

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    return allowed[0]


def policies() -> dict[str, int]:
    """The policy of each thread of this process, by the thread's name."""
    return {
        (task / "comm").read_text().strip(): os.sched_getscheduler(int(task.name)) & ~os.SCHED_RESET_ON_FORK
        for task in Path("/proc/self/task").iterdir()
    }


@pytest.mark.parametrize("wanted", [False, True], ids=["as-all", "real-time"])
async def test_threads_of_packets_are_real_time_where_that_is_wanted_and_allowed(
    dtls_certificate: DtlsCertificate, wanted: bool
) -> None:
    expected = wanted and real_time_allowed()
    limits = {"allocations": 1, "allocations_per_user": 1, "answers_per_second": 1}
    turn = TurnConfig(binds=(f"{LOOPBACK}:0",), realm="test", secrets=(b"secret",), **limits)
    async with running(dtls_certificate, shards=2, real_time=wanted, turn=turn) as engine:
        threads = ("shard0", "shard1", "relay")
        async with asyncio.timeout(30):
            while not all(f"{thread}.real_time" in engine.counters() for thread in threads):
                await asyncio.sleep(0.01)
        counters, found = engine.counters(), policies()
        assert [counters[f"{thread}.real_time"] for thread in threads] == [expected] * 3
        policy = os.SCHED_RR if expected else os.SCHED_OTHER
        assert [found[thread] for thread in ("shard-0", "shard-1", "relay")] == [policy] * 3
