"""A service as a process: ready, drain, stop, signals."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from mediaserver.runtime import process
from mediaserver.runtime.sdnotify import Notifier


class Service:
    """Writes down what is asked of it; drains when `calls` says that nothing is left."""

    def __init__(self) -> None:
        self.did: list[str] = []
        self.no_calls = asyncio.Event()
        self.started = asyncio.Event()
        self.draining = asyncio.Event()
        self.alive = True
        self.start_error: Exception | None = None
        self.start_takes_s = 0.0

    async def start(self) -> None:
        self.did.append("start")
        self.started.set()
        await asyncio.sleep(self.start_takes_s)
        if self.start_error is not None:
            raise self.start_error

    async def drain(self, deadline_s: float) -> None:
        self.did.append(f"drain {deadline_s:g}")
        self.draining.set()
        await self.no_calls.wait()
        self.did.append("drained")

    async def stop(self) -> None:
        self.did.append("stop")

    async def answers(self) -> bool:
        return self.alive


def run(service: Service, on_ready: Callable[[], None] = lambda: None, **environment: str) -> asyncio.Task[None]:
    return asyncio.get_running_loop().create_task(
        process.run(service, notifier=Notifier(environment), drain_deadline_s=20.0, on_ready=on_ready)
    )


async def test_sigterm_drains_and_then_stops() -> None:
    service, ready = Service(), asyncio.Event()
    running = run(service, ready.set)
    await ready.wait()
    os.kill(os.getpid(), signal.SIGTERM)
    await service.draining.wait()
    assert service.did == ["start", "drain 20"]
    service.no_calls.set()
    await running
    assert service.did == ["start", "drain 20", "drained", "stop"]


async def test_a_second_signal_cuts_the_drain_short() -> None:
    service, ready = Service(), asyncio.Event()
    running = run(service, ready.set)
    await ready.wait()
    os.kill(os.getpid(), signal.SIGINT)
    await service.draining.wait()
    os.kill(os.getpid(), signal.SIGTERM)
    await running
    assert service.did == ["start", "drain 20", "stop"]


async def test_sighup_reads_the_configuration_again_whatever_became_of_the_last_time() -> None:
    service, ready = Service(), asyncio.Event()
    reloads: asyncio.Queue[int] = asyncio.Queue()

    async def reload() -> None:
        reloads.put_nowait(reloads.qsize())
        raise RuntimeError("a mistake of ours")

    running = asyncio.get_running_loop().create_task(
        process.run(service, notifier=Notifier({}), drain_deadline_s=20.0, on_ready=ready.set, on_reload=reload)
    )
    await ready.wait()
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGHUP)
        await asyncio.wait_for(reloads.get(), 30)
    assert not running.done()
    service.no_calls.set()
    os.kill(os.getpid(), signal.SIGTERM)
    await running


async def test_sighup_without_a_way_to_reload_changes_nothing() -> None:
    service, ready = Service(), asyncio.Event()
    running = run(service, ready.set)
    await ready.wait()
    os.kill(os.getpid(), signal.SIGHUP)
    await asyncio.sleep(0.05)
    assert not running.done()
    service.no_calls.set()
    os.kill(os.getpid(), signal.SIGTERM)
    await running


async def test_a_signal_during_the_start_ends_it_without_a_drain() -> None:
    service = Service()
    service.start_takes_s = 30.0
    running = run(service)
    await service.started.wait()
    os.kill(os.getpid(), signal.SIGTERM)
    await running
    assert service.did == ["start", "stop"]


async def test_a_start_that_fails_is_cleaned_up_and_told() -> None:
    service = Service()
    service.start_error = OSError("address in use")
    with pytest.raises(OSError, match="address in use"):
        await run(service)
    assert service.did == ["start", "stop"]


async def test_the_service_manager_hears_of_every_step(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as double:
        double.bind(str(tmp_path / "notify"))
        double.setblocking(False)
        service, ready = Service(), asyncio.Event()
        service.no_calls.set()
        running = run(service, ready.set, NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="100000")
        await ready.wait()
        loop, said = asyncio.get_running_loop(), []
        async with asyncio.timeout(30):
            while said.count("WATCHDOG=1") < 2:
                said.append((await loop.sock_recv(double, 200)).decode())
        os.kill(os.getpid(), signal.SIGTERM)
        await running
        with contextlib.suppress(BlockingIOError):
            while True:
                said.append(double.recv(200).decode())
    assert said[0].startswith("READY=1")
    assert said[1:3] == ["WATCHDOG=1", "WATCHDOG=1"]
    rest = [line for line in said[1:] if line != "WATCHDOG=1"]
    assert rest == [
        "STOPPING=1\nSTATUS=draining for at most 20 s",
        "EXTEND_TIMEOUT_USEC=35000000",
        "STOPPING=1\nSTATUS=stopping",
    ]


async def test_the_watchdog_is_not_fed_while_a_part_hangs(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as double:
        double.bind(str(tmp_path / "notify"))
        double.setblocking(False)
        service, ready = Service(), asyncio.Event()
        service.alive = False
        service.no_calls.set()
        running = run(service, ready.set, NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="40000")
        await ready.wait()
        await asyncio.sleep(0.1)
        assert double.recv(200).startswith(b"READY=1")
        with pytest.raises(BlockingIOError):
            double.recv(200)
        os.kill(os.getpid(), signal.SIGTERM)
        await running
