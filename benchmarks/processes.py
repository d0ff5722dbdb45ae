"""CPU time and memory of a process as the kernel counts them, and spinners that keep cores awake."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path


def cpu_ns(pid: int) -> int:
    """Run time of all threads, exact where the kernel keeps schedstat (utime and stime have ticks of 4 ms)."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread that ended in between
            total += int((task / "schedstat").read_text().split()[0])
    return total


def thread_cpu_ns(pid: int) -> dict[str, int]:
    """The same by thread name; threads of one name are added."""
    found: dict[str, int] = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            name = (task / "comm").read_text().strip()
            found[name] = found.get(name, 0) + int((task / "schedstat").read_text().split()[0])
    return found


def memory_bytes(pid: int) -> int:
    """Private and proportional shared memory (PSS) of a process."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/{pid}/smaps_rollup has no Pss")


@contextlib.contextmanager
def cores_awake() -> Iterator[None]:
    """One spinner per core that runs only when nobody else wants to (SCHED_IDLE).

    An idle virtual core sleeps between packets, and waking it is charged to whoever woke it: at low rates that doubles
    the cost per packet and measures the hypervisor.
    """
    code = (
        "import os\n"
        "os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))\n"
        "os.sched_setaffinity(0, {%d})\n"
        "while os.getppid() == %d: \n"
        "    for _ in range(1000000): pass\n"
    )
    spinners = [
        subprocess.Popen([sys.executable, "-S", "-c", code % (core, os.getpid())])
        for core in sorted(os.sched_getaffinity(0))
    ]
    try:
        yield
    finally:
        for spinner in spinners:
            spinner.send_signal(signal.SIGKILL)
            spinner.wait()
