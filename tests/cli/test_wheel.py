"""The wheel of `make dist` installs in a fresh environment without a compiler, and runs."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def wheel() -> Path:
    root = Path(__file__).resolve().parents[2]
    subprocess.run(["make", "dist"], cwd=root, check=True, capture_output=True, timeout=1500)
    [made] = (root / "dist").glob("mediaserver-*.whl")
    return made


def test_the_wheel_is_abi3_and_holds_no_tests(wheel: Path) -> None:
    assert "-cp311-abi3-" in wheel.name
    names = zipfile.ZipFile(wheel).namelist()
    assert {"mediaserver/py.typed", "mediaserver/web/widget.js", "mediaserver/media/greeting.webm"} <= set(names)
    assert any(name.startswith("mediaserver/_engine") and name.endswith(".so") for name in names)
    assert not any(name.startswith("tests/") for name in names)


def test_the_wheel_installs_and_runs_without_a_compiler(wheel: Path, project_root: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    python = tmp_path / "venv/bin/python"
    pip = [str(python), "-m", "pip", "install", "--quiet", "--only-binary=:all:"]
    environment = {**os.environ, "CC": "/bin/false", "CARGO": "/bin/false"}
    locked = ["--require-hashes", "-r", str(project_root / "requirements/runtime.lock")]
    subprocess.run([*pip, *locked], check=True, env=environment)
    subprocess.run([*pip, "--no-deps", str(wheel)], check=True, env=environment)
    command = str(tmp_path / "venv/bin/mediaserver")
    said = subprocess.run([command, "version"], check=True, capture_output=True, text=True, cwd=tmp_path)
    assert said.stdout.startswith("mediaserver 0.")
    config = str(project_root / "config/mediaserver.yaml")
    checked = subprocess.run(
        [command, "check-config", "--config", config, "--state-dir", str(tmp_path / "state")],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert checked.stdout == f"{config}: good\n"
    loaded = subprocess.run([str(python), "-c", "import mediaserver._engine"], check=False, cwd=tmp_path)
    assert loaded.returncode == 0
