"""One child process of a test: its log file, waiting for a line in it, and ending it with its whole process group."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

POLL_S = 0.02


class PeerError(Exception):
    """A peer did not start, ended too early or did not do what a test waited for; the text carries its log's end."""


class PeerProcess:
    """A process in a group of its own whose output goes to ``log_path``.

    The kernel kills it when the test process dies (``setpriv --pdeathsig``), so that an aborted run leaves nothing.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        directory: Path,
        environment: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
        pass_files: Sequence[int] = (),
    ) -> None:
        self.name = name
        self.log_path = directory / f"{name}.log"
        self._argv = ["setpriv", "--pdeathsig", "KILL", *prefix, *argv]
        self._directory = directory
        self._environment = dict(environment or {})
        self._pass_files = tuple(pass_files)
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        if self._process is None:
            raise PeerError(f"{self.name} was not started")
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return None if self._process is None else self._process.returncode

    async def start(self) -> None:
        with self.log_path.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._argv,
                cwd=self._directory,
                env={**os.environ, **self._environment},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=self._pass_files,
            )

    def log(self) -> str:
        """Everything the process wrote up to now."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def log_tail(self, characters: int = 3000) -> str:
        return self.log()[-characters:]

    async def wait_for_log(self, pattern: str, timeout_s: float = 40.0) -> re.Match[str]:
        """Wait until a line matches; raises :class:`PeerError` when the process ends or the time is up."""
        expression = re.compile(pattern)
        deadline = time.monotonic() + timeout_s
        while True:
            match = expression.search(self.log())
            if match is not None:
                return match
            if self.returncode is not None:
                raise PeerError(f"{self.name} ended with {self.returncode} before {pattern!r}:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise PeerError(f"{self.name} did not print {pattern!r} in {timeout_s} s:\n{self.log_tail()}")
            await asyncio.sleep(POLL_S)

    async def wait(self, timeout_s: float) -> int:
        """Wait for the process to end by itself and return its exit code."""
        if self._process is None:
            raise PeerError(f"{self.name} was not started")
        try:
            async with asyncio.timeout(timeout_s):
                return await self._process.wait()
        except TimeoutError:
            raise PeerError(f"{self.name} still runs after {timeout_s} s:\n{self.log_tail()}") from None

    async def stop(self, grace_s: float = 3.0, first: signal.Signals = signal.SIGTERM) -> int | None:
        """End the process politely, then its whole group by force; returns its exit code."""
        if self._process is None:
            return None
        group = self._process.pid
        if self._process.returncode is None:
            _signal_process(group, first)
            try:
                async with asyncio.timeout(grace_s):
                    await self._process.wait()
            except TimeoutError:
                _signal_group(group, signal.SIGKILL)
                await self._process.wait()
        _signal_group(group, signal.SIGKILL)  # children that outlived their parent
        return self._process.returncode

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()


def _signal_process(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _signal_group(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return
