"""The command line, run as an operator runs it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from mediaserver.config.loader import load_text
from mediaserver.config.model import Config

# Stands in for the daemon, so that the command is tested without sockets or the extension: it starts, is drained
# and stops, and says so.
_DOUBLE = """
import asyncio, sys, types

class Daemon:
    def __init__(self, config, *, secrets):
        self._password = secrets.text(config.users["agent"].secret)
    async def start(self):
        if {fail!r}:
            raise OSError({fail!r})
    async def drain(self, deadline_s):
        print("drain", deadline_s, flush=True)
    async def stop(self):
        print("stop", flush=True)
    async def answers(self):
        return True

module = types.ModuleType("mediaserver.daemon")
module.Daemon = Daemon
sys.modules["mediaserver.daemon"] = module
from mediaserver.cli import main
main()
"""


@pytest.fixture
def shipped(project_root: Path) -> Path:
    return project_root / "config/mediaserver.yaml"


def mediaserver(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mediaserver", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **environment},
    )


def test_check_config_finds_the_shipped_file_good(shipped: Path, tmp_path: Path) -> None:
    done = mediaserver("check-config", "--config", shipped, "--state-dir", tmp_path)
    assert (done.returncode, done.stdout) == (0, f"{shipped}: good\n")


def test_check_config_leaves_no_state_behind(shipped: Path, tmp_path: Path) -> None:
    mediaserver("check-config", "--config", shipped, "--state-dir", tmp_path / "state")
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("command", ["check-config", "show-config", "ports", "run"])
def test_a_bad_file_exits_with_78_and_names_every_mistake(command: str, tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("web:\n  pages: 1\nlog:\n  levle: info\n")
    done = mediaserver(command, "--config", file, "--state-dir", tmp_path / "state")
    assert done.returncode == 78
    assert f"{file}:2:3: web.pages: expected true or false, found 1" in done.stderr
    assert f"{file}:4:3: log.levle: there is no such key; did you mean level?" in done.stderr
    assert not (tmp_path / "state").exists()


def test_a_secret_that_others_can_read_exits_with_78(tmp_path: Path) -> None:
    secret = tmp_path / "pw"
    secret.write_text("hunter2")
    secret.chmod(0o644)
    file = tmp_path / "c.yaml"
    file.write_text(f"users:\n  bob:\n    secret: {{file: {secret}}}\n")
    done = mediaserver("check-config", "--config", file)
    assert done.returncode == 78
    assert f"{file}:3:5: users.bob.secret: {secret} can be read by others" in done.stderr
    assert "hunter2" not in done.stderr


def test_show_config_prints_what_loads_back_and_no_secret(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("users: {bob: {secret: {env: BOB_PW}}}\nmedia: {rtp_timeout: 90s}\n")
    done = mediaserver("show-config", "--config", file, BOB_PW="hunter2")
    assert "hunter2" not in done.stdout
    assert yaml.safe_load(done.stdout)["media"]["rtp_timeout"] == "90s"
    shown = load_text(done.stdout).config
    assert shown == load_text(file.read_text()).config
    assert shown.limits == Config().limits


def test_the_file_may_come_from_the_environment(shipped: Path) -> None:
    assert mediaserver("check-config", MEDIASERVER_CONFIG=str(shipped)).returncode == 0


def test_ports_prints_every_opening(shipped: Path) -> None:
    done = mediaserver("ports", "--config", shipped)
    assert done.returncode == 0
    for words in (("tcp", "8443"), ("udp", "10000"), ("tcp", "5061"), ("udp", "20000-29999")):
        assert any(all(word in line.split() for word in words) for line in done.stdout.splitlines()), words


def test_the_links_certificate_is_printed_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(f"state_dir: {tmp_path / 'state'}\nlink: {{name: edge.example.org}}\n")
    first, second = (mediaserver("link-certificate", "--config", path) for _ in range(2))
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith("-----BEGIN CERTIFICATE-----")
    assert first.stdout == second.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("nobody",), 1, "there is no Edge nobody"),
        (("nobody", "--deadline", "soon"), 2, "--deadline"),
    ],
)
def test_an_edge_that_cannot_be_left_is_told(
    shipped: Path, tmp_path: Path, arguments: tuple[str, ...], code: int, text: str
) -> None:
    done = mediaserver("drain-edge", *arguments, "--config", shipped, MEDIASERVER_STATE_DIR=str(tmp_path))
    assert done.returncode == code
    assert text in done.stderr


def test_version_is_one_line() -> None:
    done = mediaserver("version")
    assert done.returncode == 0
    assert done.stdout.startswith("mediaserver ")
    assert done.stdout.count("\n") == 1


class Running:
    """`mediaserver run` with the double in the daemon's place, and a double of the service manager's socket."""

    def __init__(self, folder: Path, config: Path) -> None:
        self.state = folder / "state"
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.manager.bind(str(folder / "notify"))
        self.manager.settimeout(20)
        self.process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(_DOUBLE.format(fail="")), "run",
             "--config", str(config), "--state-dir", str(self.state)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "NOTIFY_SOCKET": str(folder / "notify")},
        )  # fmt: skip

    def told(self) -> str:
        return self.manager.recv(500).decode()

    def end(self) -> tuple[str, str]:
        try:
            return self.process.communicate(timeout=60)
        finally:
            self.process.kill()


@pytest.fixture
def running(tmp_path: Path, shipped: Path) -> Iterator[Running]:
    started = Running(tmp_path, shipped)
    yield started
    started.process.kill()
    started.process.communicate()
    started.manager.close()


def test_run_is_ready_drains_on_sigterm_and_exits_with_0(running: Running) -> None:
    assert running.told().startswith("READY=1")
    running.process.send_signal(signal.SIGTERM)
    out, _ = running.end()
    assert running.process.returncode == 0
    assert out.splitlines()[-2:] == ["drain 60.0", "stop"]
    assert running.told().startswith("STOPPING=1")


def test_run_says_where_to_go_but_passwords_only_to_a_terminal(running: Running) -> None:
    assert running.told().startswith("READY=1")
    running.process.send_signal(signal.SIGTERM)
    out, err = running.end()
    password = (running.state / "secrets/agent-password").read_text()
    assert "http://localhost:8080/call/demo" in out
    assert "first start: made self-signed certificate" in out
    assert password not in out + err


def test_run_shows_the_password_to_a_terminal(tmp_path: Path, shipped: Path) -> None:
    ours, theirs = os.openpty()
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(_DOUBLE.format(fail="")), "run",
         "--config", str(shipped), "--state-dir", str(tmp_path / "state")],
        stdout=theirs,
        stderr=subprocess.PIPE,
        env={**os.environ, "COLUMNS": "140", "TERM": "dumb"},
    )  # fmt: skip
    os.close(theirs)
    said = b""
    while b"Metrics" not in said:
        said += os.read(ours, 65536)
    child.send_signal(signal.SIGTERM)
    _, err = child.communicate(timeout=60)
    os.close(ours)
    password = (tmp_path / "state/secrets/agent-password").read_bytes()
    assert password in said
    assert password not in err


def test_a_start_that_fails_exits_with_1_and_says_why(tmp_path: Path, shipped: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_DOUBLE.format(fail="address 127.0.0.1:8080 is in use")), "run",
         "--config", str(shipped), "--state-dir", str(tmp_path / "state")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "cannot start: address 127.0.0.1:8080 is in use" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_state_folder_open_to_others_exits_with_78(tmp_path: Path, shipped: Path) -> None:
    tmp_path.chmod(0o755)
    done = mediaserver("run", "--config", shipped, "--state-dir", tmp_path)
    assert done.returncode == 78
    assert "chmod 700" in done.stderr
