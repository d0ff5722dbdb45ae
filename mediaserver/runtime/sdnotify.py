"""Tells the service manager how the daemon is: ready, stopping, alive (sd_notify(3), over $NOTIFY_SOCKET)."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping

import structlog

_log = structlog.get_logger(__name__)


class Notifier:
    """Sends datagrams to the service manager; without one every call does nothing."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        environment = os.environ if environment is None else environment
        self._address = _address(environment.get("NOTIFY_SOCKET", ""))
        self._watchdog_s = _watchdog(environment)
        self._socket: socket.socket | None = None
        if self._address is not None:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)

    @property
    def watchdog_interval_s(self) -> float | None:
        """How often `alive` is wanted, half of what the service manager allows; None where it does not watch."""
        return self._watchdog_s

    def ready(self, status: str = "") -> None:
        """Start-up is complete."""
        self._send("READY=1", *_status(status))

    def reloading(self) -> None:
        """The configuration is being read again; `ready` ends it. The service manager wants the time with it."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send(*_status(text))

    def stopping(self, status: str = "") -> None:
        """Shutting down has begun."""
        self._send("STOPPING=1", *_status(status))

    def extend_timeout(self, seconds: float) -> None:
        """Ask for `seconds` more before start-up or shutting down counts as hung."""
        self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * 1_000_000)}")

    def alive(self) -> None:
        """Feed the watchdog."""
        self._send("WATCHDOG=1")

    def close(self) -> None:
        """Close the socket; later calls do nothing."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, *lines: str) -> None:
        if self._socket is None or self._address is None or not lines:
            return
        try:
            self._socket.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            # A service manager that is away or slow must not stop the daemon.
            _log.warning("service_manager_not_told", error=error.strerror, said=lines[0])


def _address(value: str) -> str | None:
    if value.startswith("/"):
        return value
    if value.startswith("@"):
        # An abstract socket: its name starts with a NUL byte (unix(7)).
        return "\0" + value[1:]
    return None


def _watchdog(environment: Mapping[str, str]) -> float | None:
    allowed = environment.get("WATCHDOG_USEC", "")
    # WATCHDOG_PID says which process is meant; a child that inherited the environment must stay silent.
    if (
        not allowed.isdecimal()
        or int(allowed) == 0
        or environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid())
    ):
        return None
    return int(allowed) / 2_000_000


def _status(text: str) -> tuple[str, ...]:
    # A line feed would start another assignment.
    return (f"STATUS={' '.join(text.split())}",) if text else ()
