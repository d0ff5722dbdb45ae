"""The project's own files agree with each other."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest


def requirements(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line and not line.startswith(("#", "-r"))]


def test_runtime_requirements_are_the_projects_dependencies(project_root: Path) -> None:
    project = tomllib.loads((project_root / "pyproject.toml").read_text())["project"]
    assert requirements(project_root / "requirements/runtime.in") == project["dependencies"]


def test_python_and_rust_carry_the_same_version(project_root: Path) -> None:
    project = tomllib.loads((project_root / "pyproject.toml").read_text())["project"]
    workspace = tomllib.loads((project_root / "rust/Cargo.toml").read_text())["workspace"]
    assert project["version"] == workspace["package"]["version"]


@pytest.mark.parametrize("name", ["runtime", "build", "dev"])
def test_every_locked_package_has_a_version_and_hashes(project_root: Path, name: str) -> None:
    text = (project_root / f"requirements/{name}.lock").read_text()
    entries = re.split(r"\n(?=[A-Za-z])", text.strip())
    assert entries
    for entry in entries:
        assert re.match(r"[A-Za-z0-9._-]+(\[[a-z,-]+\])?==\S+", entry), entry
        assert "--hash=sha256:" in entry, entry
    assert "://" not in text


def test_the_lock_holds_what_is_asked_for(project_root: Path) -> None:
    locked = {
        re.split(r"[=\[]", line)[0].lower()
        for line in (project_root / "requirements/dev.lock").read_text().splitlines()
        if re.match("[a-z]", line)
    }
    for name in ("runtime", "build", "dev"):
        wanted = {
            re.split(r"[\[<>=]", line)[0].lower() for line in requirements(project_root / f"requirements/{name}.in")
        }
        assert wanted <= locked, name


def test_every_make_target_in_the_readme_exists(project_root: Path) -> None:
    targets = set(re.findall(r"(?m)^([a-z0-9-]+):", (project_root / "Makefile").read_text()))
    named = set(re.findall(r"`?\bmake ([a-z][a-z0-9-]*)", (project_root / "README.md").read_text()))
    assert named <= targets, named - targets


def test_every_attack_in_the_list_has_its_test(project_root: Path) -> None:
    rows = re.findall(r"(?m)^\| .* \| `([^`]+)` `([^`]+)` \|$", (project_root / "tests/ATTACKS.md").read_text())
    assert len(rows) > 40
    missing = [
        f"{path} {name}"
        for path, name in rows
        if not re.search(rf"\b(fn|def) {name}\(", (project_root / path).read_text())
    ]
    assert missing == []
