"""What sound costs: `transcode` of rust/audio on virtual time, `mixing` of rust/engine in real time."""

from __future__ import annotations

import os
import subprocess

from benchmarks.figures import Report, median
from benchmarks.native import MANIFEST

ROUNDS = 5
MIXED_LEGS = 102
"""34 conferences of three."""
MIXING_S = 20
_BOUNDS: dict[str, tuple[float | None, float | None]] = {
    "mixed_legs_per_core": (None, 100.0),
    "mixed_late_ticks": (0.1, None),
    "mixed_frames_given": (None, 99.5),
}
"""At most, at least."""


def measure(report: Report, rounds: int = ROUNDS) -> None:
    """Build, run every pair of codecs `rounds` times, and report. Raises CalledProcessError."""
    for name, unit, samples in _figures("mediaserver-audio", "transcode", str(rounds)):
        report.add(median(name, samples, unit))


def measure_mixing(report: Report, *, quick: bool = False) -> None:
    """Build, let all conferences talk in real time, and report. Raises CalledProcessError."""
    shape = ["12", "2", "1"] if quick else [str(MIXED_LEGS), str(MIXING_S), str(ROUNDS)]
    for name, unit, samples in _figures("mediaserver-engine", "mixing", *shape):
        most, least = _BOUNDS[name]
        report.add(median(name, samples, unit, bound=most, least=least))


def _figures(package: str, program: str, *arguments: str) -> list[tuple[str, str, list[float]]]:
    cargo = os.environ.get("CARGO", "cargo")
    command = [cargo, "run", "--release", "--quiet", "--locked", "--manifest-path", str(MANIFEST)]
    command += ["--package", package, "--bin", program, "--", *arguments]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    lines = (line.split() for line in output.splitlines())
    return [(name, unit, [float(sample) for sample in samples]) for _, name, unit, *samples in lines]
