"""How the kernel schedules the engine's threads."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest

from mediaserver.engine.certificate import DtlsCertificate
from tests.engine.conftest import running


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
async def test_shards_are_real_time_where_that_is_wanted_and_allowed(
    dtls_certificate: DtlsCertificate, wanted: bool
) -> None:
    expected = wanted and real_time_allowed()
    async with running(dtls_certificate, shards=2, real_time=wanted) as engine:
        async with asyncio.timeout(30):
            while "shard1.real_time" not in (counters := engine.counters()):
                await asyncio.sleep(0.01)
        assert [counters[f"shard{shard}.real_time"] for shard in range(2)] == [expected, expected]
        found = policies()
        assert [found[f"shard-{shard}"] for shard in range(2)] == [os.SCHED_RR if expected else os.SCHED_OTHER] * 2
