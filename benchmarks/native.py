"""Builds the native programs: the load peers (Rust) and the limit program (C with the engine's AEAD)."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import ROOT

MANIFEST = ROOT / "rust" / "Cargo.toml"


@dataclass(frozen=True, slots=True)
class Programs:
    load: Path
    limit: Path


def build_load() -> Path:
    """Release build of the load peers. Raises CalledProcessError with the compiler's output shown."""
    cargo = os.environ.get("CARGO", "cargo")
    where = ["--locked", "--manifest-path", str(MANIFEST)]
    subprocess.run([cargo, "build", "--release", "--quiet", "--package", "mediaserver-load", *where], check=True)
    metadata = subprocess.run(
        [cargo, "metadata", "--format-version", "1", "--no-deps", *where], check=True, capture_output=True
    )
    return Path(json.loads(metadata.stdout)["target_directory"]) / "release" / "mediaserver-load"


def build() -> Programs:
    """Release builds of both; quick when nothing changed. Raises CalledProcessError with the compiler's output shown."""
    load = build_load()
    release = load.parent
    limit = release / "limit"
    subprocess.run(
        [str(ROOT / "benchmarks" / "limit" / "build.sh"), str(limit), str(release / "libmediaserver_load.a")],
        check=True,
    )
    return Programs(load, limit)
