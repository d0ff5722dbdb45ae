"""A figure, how it is printed, and the JSON file that keeps it with machine, commit and date."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).resolve().parent / "results"


@dataclass(frozen=True, slots=True)
class Figure:
    """One number with its unit; ``samples`` are what it is the median of, ``bound`` what it must not exceed,
    ``least`` what it must reach."""

    name: str
    value: float
    unit: str
    samples: Sequence[float] = ()
    bound: float | None = None
    note: str = ""
    least: float | None = None

    @property
    def passed(self) -> bool:
        return (self.bound is None or self.value <= self.bound) and (self.least is None or self.value >= self.least)

    def line(self) -> str:
        """``name: value unit``, and behind it what helps to judge the value."""
        extra = []
        if len(self.samples) > 1:
            extra.append(f"[{shown(min(self.samples))}..{shown(max(self.samples))} n={len(self.samples)}]")
        if self.bound is not None:
            extra.append(f"(at most {shown(self.bound)}: {'ok' if self.passed else 'MISSED'})")
        if self.least is not None:
            extra.append(f"(at least {shown(self.least)}: {'ok' if self.passed else 'MISSED'})")
        if self.note:
            extra.append(f"# {self.note}")
        return " ".join([f"{self.name}: {shown(self.value)} {self.unit}".rstrip(), *extra])


def shown(value: float) -> str:
    """Three significant digits below 100, whole numbers above."""
    if abs(value) < 10:
        return f"{value:.2f}"
    return f"{value:.1f}" if abs(value) < 100 else f"{value:.0f}"


def median(
    name: str,
    samples: Sequence[float],
    unit: str,
    *,
    bound: float | None = None,
    least: float | None = None,
    note: str = "",
) -> Figure:
    """The figure of several samples."""
    return Figure(name, statistics.median(samples), unit, tuple(samples), bound, note, least)


@dataclass(slots=True)
class Report:
    """The figures of one run; each is printed as soon as it is known."""

    program: str
    figures: list[Figure] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)

    def add(self, *figures: Figure) -> None:
        for figure in figures:
            self.figures.append(figure)
            print(figure.line(), flush=True)

    def write(self) -> Path:
        """Write ``results/PROGRAM-DATE.json`` and give its path."""
        RESULTS.mkdir(exist_ok=True)
        now = datetime.now(UTC)
        path = RESULTS / f"{self.program}-{now:%Y%m%dT%H%M%SZ}.json"
        content = {
            "program": self.program,
            "date": now.isoformat(timespec="seconds"),
            "commit": commit(),
            "machine": machine(),
            "figures": [asdict(figure) | {"passed": figure.passed} for figure in self.figures],
            "details": self.details,
        }
        path.write_text(json.dumps(content, indent=2) + "\n")
        return path


def commit() -> str:
    """The commit that is checked out, with ``+changes`` when files differ from it."""

    def git(*arguments: str) -> str:
        result = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
        return result.stdout.strip() if result.returncode == 0 else ""

    head = git("rev-parse", "--short=12", "HEAD") or "unknown"
    return head + ("+changes" if git("status", "--porcelain", "--untracked-files=no") else "")


def machine() -> dict[str, Any]:
    """What the figures depend on: CPU and its AES, cores, kernel, Python, load before the run."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    fields = dict(line.split(":", 1) for line in cpuinfo.split("\n\n")[0].splitlines() if ":" in line)
    named = {key.strip(): value.strip() for key, value in fields.items()}
    flags = named.get("flags", named.get("Features", "")).split()
    wanted = ("aes", "vaes", "vpclmulqdq", "avx2", "avx512f", "sha_ni", "pmull")
    return {
        "cpu": named.get("model name", platform.processor() or platform.machine()),
        "cpu_flags": [flag for flag in wanted if flag in flags],
        "cpus": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_average": list(os.getloadavg()),
    }
