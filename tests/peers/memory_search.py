"""Looks for secrets in the memory of a running process and in its core dump, as somebody would who has taken the machine."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.peers.process import PeerError, PeerProcess
from tests.peers.secret_forms import Needles

CHUNK_BYTES = 4 * 1024 * 1024
_ZEROS = bytes(64 * 1024)
CORE_PATTERN = Path("/proc/sys/kernel/core_pattern")


@dataclass(frozen=True, slots=True)
class Region:
    """A stretch of a process's memory without a hole."""

    start: int
    data: bytes


def copy_of_memory(pid: int) -> list[Region]:
    """What the process can read, while it stands still for a moment: it goes on while the copy is searched.

    Raises PeerError where nothing could be read.
    """
    regions = []
    with _still(pid), Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for begin, end in _readable(pid):
            regions += _regions(memory.fileno(), begin, end)
    if not regions:
        raise PeerError(f"nothing of the memory of process {pid} could be read")
    return regions


def find_in_regions(regions: Iterable[Region], needles: Needles) -> dict[str, int]:
    """In how many places each needle is in a copy."""
    found = dict.fromkeys(needles.names, 0)
    for region in regions:
        for name, count in needles.count_in(region.data).items():
            found[name] += count
    return found


def find_in_memory(pid: int, needles: Needles) -> dict[str, int]:
    """In how many places each needle is in what the process can read, while it stands still."""
    return find_in_regions(copy_of_memory(pid), needles)


def find_in_file(path: Path, needles: Needles) -> dict[str, int]:
    """The same in a file."""
    found = dict.fromkeys(needles.names, 0)
    with path.open("rb") as file:
        for chunk in _chunks(file.fileno(), 0, path.stat().st_size, overlap=needles.longest - 1):
            for name, count in needles.count_in(chunk).items():
                found[name] += count
    return found


async def core_dump(process: PeerProcess, directory: Path) -> Path:
    """End a process of ours so that the kernel writes its memory to a file in `directory`, its working directory.

    Raises PeerError where the kernel hands dumps to a program, or puts them elsewhere."""
    pattern = _pattern()
    _want_dump(process.pid)
    os.kill(process.pid, signal.SIGABRT)
    await process.wait(60)
    return _dump_in(directory, pattern)


def _pattern() -> str:
    pattern = CORE_PATTERN.read_text().strip()
    if "/" in pattern or pattern.startswith("|"):
        raise PeerError(f"core dumps of this machine go to {pattern}: `sysctl kernel.core_pattern=core` for the tests")
    return pattern


def _want_dump(pid: int) -> None:
    resource.prlimit(pid, resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    # Everything, shared memory and mapped files too (core(5)).
    Path(f"/proc/{pid}/coredump_filter").write_text("0x7f")


def _dump_in(directory: Path, pattern: str) -> Path:
    for file in directory.glob(f"{pattern.partition('%')[0]}*"):
        return file
    raise PeerError(f"there is no core dump in {directory}; the kernel's pattern is {pattern}")


@contextmanager
def _still(pid: int) -> Iterator[None]:
    """What is moved about while it is looked for would be missed."""
    os.kill(pid, signal.SIGSTOP)
    try:
        deadline = time.monotonic() + 10
        while any(state not in "TtZX" for state in _states(pid)):
            if time.monotonic() > deadline:
                raise PeerError(f"process {pid} does not stand still")
            time.sleep(0.001)
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _states(pid: int) -> list[str]:
    # The command's name may hold spaces and brackets; the state follows its last bracket (proc(5)).
    return [path.read_text().rpartition(")")[2].split()[0] for path in Path(f"/proc/{pid}/task").glob("*/stat")]


def _readable(pid: int) -> Iterator[tuple[int, int]]:
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        span, rights, _, _, _, *name = line.split(maxsplit=5)
        if rights.startswith("r") and name[:1] not in (["[vvar]"], ["[vvar_vclock]"], ["[vsyscall]"]):
            begin, _, end = span.partition("-")
            yield int(begin, 16), int(end, 16)


def _regions(file: int, begin: int, end: int) -> Iterator[Region]:
    """Pages of a mapped file that is shorter than its mapping are holes, and so is what was never written to."""
    while begin < end:
        data = bytearray()
        start = begin
        while begin < end:
            try:
                piece = os.pread(file, min(len(_ZEROS), end - begin), begin)
            except OSError:
                piece = b""
            if not piece or piece == _ZEROS:
                break
            data += piece
            begin += len(piece)
        if data:
            yield Region(start, bytes(data))
        else:
            begin += len(piece) or resource.getpagesize()


def _chunks(file: int, begin: int, end: int, *, overlap: int) -> Iterator[bytes]:
    tail = b""
    while begin < end:
        data = os.pread(file, min(CHUNK_BYTES, end - begin), begin)
        if not data:
            return
        yield tail + data
        begin += len(data)
        tail = data[-overlap:]
