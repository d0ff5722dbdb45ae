"""sd_notify against a double of the service manager's socket."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mediaserver.runtime.sdnotify import Notifier


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """The double, and the value of NOTIFY_SOCKET that leads to it."""
    double = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    double.settimeout(5)
    if request.param == "path":
        double.bind(str(tmp_path / "notify"))
        yield double, str(tmp_path / "notify")
    else:
        name = f"mediaserver-test-{os.getpid()}"
        double.bind("\0" + name)
        yield double, "@" + name
    double.close()


def test_a_reload_is_told_with_its_time(manager: tuple[socket.socket, str]) -> None:
    double, address = manager
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notifier = Notifier({"NOTIFY_SOCKET": address})
    notifier.reloading()
    notifier.close()
    first, second = double.recv(200).decode().splitlines()
    assert first == "RELOADING=1"
    key, _, value = second.partition("=")
    assert key == "MONOTONIC_USEC"
    assert before <= int(value) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


def test_each_call_is_one_datagram(manager: tuple[socket.socket, str]) -> None:
    double, address = manager
    notifier = Notifier({"NOTIFY_SOCKET": address})
    notifier.ready("in service")
    notifier.alive()
    notifier.status("2 calls\nREADY=0")
    notifier.extend_timeout(1.5)
    notifier.stopping("draining")
    notifier.close()
    assert [double.recv(200) for _ in range(5)] == [
        b"READY=1\nSTATUS=in service",
        b"WATCHDOG=1",
        b"STATUS=2 calls READY=0",
        b"EXTEND_TIMEOUT_USEC=1500000",
        b"STOPPING=1\nSTATUS=draining",
    ]


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1"}])
def test_without_a_service_manager_nothing_happens(environment: dict[str, str]) -> None:
    notifier = Notifier(environment)
    notifier.ready()
    notifier.close()
    assert notifier.watchdog_interval_s is None


def test_a_service_manager_that_is_gone_is_no_error(tmp_path: Path) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")})
    notifier.ready()
    notifier.close()


def test_the_watchdog_is_fed_twice_as_often_as_needed() -> None:
    assert Notifier({"WATCHDOG_USEC": "20000000"}).watchdog_interval_s == 10.0
    assert Notifier({"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": str(os.getpid())}).watchdog_interval_s == 10.0


def test_a_watchdog_of_another_process_is_not_ours() -> None:
    assert Notifier({"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": "1"}).watchdog_interval_s is None
