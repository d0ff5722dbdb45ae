"""The real daemon under the real command: ready, watched, drained; with the service manager's socket played by a double."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.peers.held_thread import thread_held, thread_named
from tests.peers.namespace import LOOPBACK

pytestmark = pytest.mark.timeout(240)

_CONFIG = """
state_dir: {state}
networks: {{main: {{addresses: [{{bind: 127.0.0.1}}]}}}}
listeners:
  http: {{bind: ["127.0.0.1:{http}"]}}
  https: {{bind: ["127.0.0.1:{https}"]}}
  admin: {{bind: ["127.0.0.1:{admin}"]}}
  sip: {{udp: {sip}, tcp: {sip}, tls: {sips}}}
  webrtc: {{port: {webrtc}}}
users: {{agent: {{secret: {{state: agent-password}}}}}}
entries: {{demo: {{to: {{user: agent}}}}}}
media: {{sip_ports: 40000-40999, shards: 2}}
log: {{format: json}}
"""


@dataclass
class Daemon:
    """A running daemon, and what it tells its service manager."""

    process: subprocess.Popen[str]
    manager: socket.socket
    http: str
    admin: str
    sip: int
    state: Path

    def told(self) -> str:
        try:
            return self.manager.recv(500).decode()
        except TimeoutError:
            code = self.process.poll()
            said = self.process.communicate()[1] if code is not None else "it runs and says nothing"
            raise AssertionError(f"nothing was told; exit code {code}: {said}") from None

    def stop(self) -> tuple[int, str, str]:
        self.process.send_signal(signal.SIGTERM)
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    names = ("http", "https", "admin", "sip", "sips", "webrtc")
    # Out of the way of `media.sip_ports` below, which no listener may share.
    first = LOOPBACK.free_port(len(names))
    ports = {name: first + number for number, name in enumerate(names)}
    config = tmp_path / "mediaserver.yaml"
    config.write_text(_CONFIG.format(state=tmp_path / "state", **ports))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)
        process = subprocess.Popen(
            [sys.executable, "-m", "mediaserver", "run", "--config", str(config)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "400000"},
        )
        yield Daemon(
            process,
            manager,
            f"http://127.0.0.1:{ports['http']}",
            f"http://127.0.0.1:{ports['admin']}",
            ports["sip"],
            tmp_path / "state",
        )
        process.kill()
        process.communicate()


def get(url: str) -> tuple[int, str]:
    with urllib.request.urlopen(url, timeout=30) as response:
        return response.status, response.read().decode()


def test_ready_means_that_every_door_is_open(daemon: Daemon) -> None:
    assert daemon.told().startswith("READY=1")
    assert get(f"{daemon.http}/healthz")[0] == 200
    assert get(f"{daemon.http}/readyz")[0] == 200
    assert "mediaserver_" in get(f"{daemon.admin}/metrics")[1]
    with socket.create_connection(("127.0.0.1", daemon.sip), timeout=30):
        pass


def test_the_watchdog_is_fed_while_it_runs(daemon: Daemon) -> None:
    assert daemon.told().startswith("READY=1")
    assert [daemon.told(), daemon.told()] == ["WATCHDOG=1", "WATCHDOG=1"]


def falls_silent(manager: socket.socket, *, most: int) -> bool:
    """Whether the watchdog is fed so many times more at most, and then not for longer than a thread may take to answer."""
    manager.settimeout(7)
    try:
        return [manager.recv(500) for _ in range(most + 1)] == []
    except TimeoutError:
        return True
    finally:
        manager.settimeout(60)


@pytest.mark.parametrize("name", ["shard-1", "audio-0", "streams", "event loop"])
def test_a_thread_that_hangs_stops_the_feeding_and_one_that_only_sleeps_does_not(daemon: Daemon, name: str) -> None:
    assert daemon.told().startswith("READY=1")
    assert daemon.told() == "WATCHDOG=1"
    pid = daemon.process.pid
    with thread_held(pid, pid if name == "event loop" else thread_named(pid, name)):
        # What was on its way, or answered before, may still be told; then nothing for much longer than an interval.
        assert falls_silent(daemon.manager, most=4)
    assert daemon.told() == "WATCHDOG=1", "the thread goes on, and so does the feeding"
    code, _, err = daemon.stop()
    assert code == 0
    assert name == "event loop" or f"no answer from {name}" in err


def test_sighup_takes_over_budgets_and_a_wrong_file_changes_nothing(daemon: Daemon, tmp_path: Path) -> None:
    assert daemon.told().startswith("READY=1")
    file = tmp_path / "mediaserver.yaml"
    good = file.read_text()
    for text in (good + "sites: {a: {here: true, budget: {audio: 1 Mbit/s}}}\n", good + "sites: {b: {}}\n"):
        file.write_text(text)
        daemon.process.send_signal(signal.SIGHUP)
        while not (told := daemon.told()).startswith("RELOADING=1"):
            assert told == "WATCHDOG=1"
        while not daemon.told().startswith("READY=1"):
            pass
    metrics = get(f"{daemon.admin}/metrics")[1]
    assert 'mediaserver_admission_budget_bits_per_second{hop="site a",kind="audio"} 1e+06' in metrics
    assert 'mediaserver_config_reloads_total{result="done"} 1.0' in metrics
    assert 'mediaserver_config_reloads_total{result="refused"} 1.0' in metrics
    code, _, err = daemon.stop()
    assert code == 0
    assert "sites.b: say what belongs to the site" in err


def test_sigterm_without_calls_ends_at_once_with_0(daemon: Daemon) -> None:
    assert daemon.told().startswith("READY=1")
    begin = time.monotonic()
    code, _, _ = daemon.stop()
    assert code == 0
    assert time.monotonic() - begin < 30


def test_every_line_of_the_log_is_json_and_none_has_a_secret(daemon: Daemon) -> None:
    assert daemon.told().startswith("READY=1")
    _, out, err = daemon.stop()
    lines = [json.loads(line) for line in err.splitlines()]
    assert {"ready", "draining", "stopped"} <= {line["event"] for line in lines}
    for secret in (daemon.state / "secrets").iterdir():
        assert secret.read_text() not in out + err


def test_a_kernel_that_grants_less_buffer_than_asked_is_told_once(daemon: Daemon) -> None:
    assert daemon.told().startswith("READY=1")
    _, _, err = daemon.stop()
    told = [line for line in map(json.loads, err.splitlines()) if line["event"] == "receive_buffer_small"]
    asked = 8 * 1024 * 1024
    granted = min(asked, int(Path("/proc/sys/net/core/rmem_max").read_text()))
    assert [(line["granted_bytes"], line["asked_bytes"]) for line in told] == [(granted, asked)] * (granted < asked)


def test_a_port_that_is_taken_is_told_in_one_line(daemon: Daemon, tmp_path: Path) -> None:
    assert daemon.told().startswith("READY=1")
    again = subprocess.run(
        [sys.executable, "-m", "mediaserver", "run", "--config", str(tmp_path / "mediaserver.yaml")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert again.returncode == 1
    assert "cannot start:" in again.stderr
    assert "Traceback" not in again.stderr
