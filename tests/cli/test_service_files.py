"""The files for systemd and the kernel: what the service may do, and that their readers take them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest

from mediaserver.config.model import Config
from mediaserver.engine.config import EngineConfig

DROP_INS = ("edge.conf", "real-time.conf")
UNIT = "mediaserver.service"
SYSTEM_UNITS = Path("/usr/lib/systemd/system")


def settings(file: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in file.read_text().splitlines():
        key, equals, value = line.partition("=")
        if equals and not key.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


@pytest.fixture
def unit(project_root: Path) -> dict[str, list[str]]:
    return settings(project_root / "systemd" / UNIT)


@pytest.fixture
def machine(tmp_path: Path, project_root: Path) -> Path:
    """The root folder of a machine on which the service is installed."""
    units = tmp_path / "etc/systemd/system"
    drop_ins = units / f"{UNIT}.d"
    drop_ins.mkdir(parents=True)
    shutil.copy(project_root / "systemd" / UNIT, units)
    for program in ("opt/mediaserver/bin/mediaserver", "bin/kill"):
        command = tmp_path / program
        command.parent.mkdir(parents=True)
        command.write_text("#!/bin/sh\n")
        command.chmod(0o755)
    shutil.copytree(SYSTEM_UNITS, tmp_path / SYSTEM_UNITS.relative_to("/"))
    return tmp_path


def run(*command: str | Path) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_unit_notifies_drains_and_runs_without_root(unit: dict[str, list[str]]) -> None:
    assert unit["Type"] == ["notify"]
    assert unit["KillSignal"] == ["SIGTERM"]
    assert unit["DynamicUser"] == ["yes"]
    assert unit["CapabilityBoundingSet"] == unit["AmbientCapabilities"] == [""]
    assert unit["RestartPreventExitStatus"] == ["78"]
    assert unit["LimitCORE"] == ["0"], "a core dump holds keys"
    assert float(unit["TimeoutStopSec"][0]) > Config().drain.deadline + 15, "and what follows the deadline"
    assert int(unit["WatchdogSec"][0]) >= 10


@pytest.mark.parametrize(("drop_ins", "most"), [((), 1.5), (("edge.conf",), 2.0), (DROP_INS, 2.0)])
def test_what_the_service_may_do_is_little(
    machine: Path, project_root: Path, drop_ins: tuple[str, ...], most: float
) -> None:
    for name in drop_ins:
        shutil.copy(project_root / "systemd" / name, machine / f"etc/systemd/system/{UNIT}.d")
    said = run("systemd-analyze", "security", "--offline=yes", f"--root={machine}", UNIT)
    level = re.search(r"Overall exposure level for mediaserver.service: ([0-9.]+)", said)
    assert level is not None, said
    assert float(level[1]) <= most, said
    # That the drop-ins are read at all.
    assert ("Service has elevated networking privileges" in said) is ("edge.conf" in drop_ins)


@pytest.mark.parametrize("drop_ins", [(), DROP_INS])
def test_systemd_reads_the_unit_without_a_complaint(
    machine: Path, project_root: Path, drop_ins: tuple[str, ...]
) -> None:
    for name in drop_ins:
        shutil.copy(project_root / "systemd" / name, machine / f"etc/systemd/system/{UNIT}.d")
    done = subprocess.run(
        ["systemd-analyze", "verify", f"--root={machine}", UNIT],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert [line for line in done.stderr.splitlines() if "mediaserver" in line] == []


def test_the_user_and_the_folder_of_the_configuration_are_made(machine: Path, project_root: Path) -> None:
    for name in ("passwd", "group"):
        (machine / "etc" / name).touch()
    run("systemd-sysusers", f"--root={machine}", project_root / "systemd/sysusers.conf")
    entry = (machine / "etc/passwd").read_text().strip().split(":")
    assert entry[0] == "mediaserver"
    assert entry[6].endswith("nologin")
    (machine / "etc/mediaserver").mkdir()
    (machine / "etc/mediaserver/mediaserver.yaml").touch(mode=0o644)
    run("systemd-tmpfiles", f"--root={machine}", "--create", project_root / "systemd/tmpfiles.conf")
    for path, mode in (("etc/mediaserver", 0o750), ("etc/mediaserver/mediaserver.yaml", 0o640)):
        found = (machine / path).stat()
        assert (found.st_mode & 0o777, found.st_uid, found.st_gid) == (mode, 0, int(entry[3]))


def test_the_kernel_may_grant_the_buffers_that_the_engine_asks_for(project_root: Path) -> None:
    lines = (project_root / "systemd/sysctl.conf").read_text().splitlines()
    values = dict(re.split(r"\s*=\s*", line) for line in lines if line and not line.startswith("#"))
    (asked,) = (field.default for field in msgspec.structs.fields(EngineConfig) if field.name == "receive_buffer_bytes")
    assert values == {"net.core.rmem_max": str(asked), "net.core.wmem_max": str(asked)}
