"""What transcoding costs: runs `transcode` of rust/audio on virtual time and takes its figures."""

from __future__ import annotations

import os
import subprocess

from benchmarks.figures import Report, median
from benchmarks.native import MANIFEST

ROUNDS = 5


def measure(report: Report, rounds: int = ROUNDS) -> None:
    """Build, run every pair of codecs `rounds` times, and report. Raises CalledProcessError."""
    cargo = os.environ.get("CARGO", "cargo")
    command = [cargo, "run", "--release", "--quiet", "--locked", "--manifest-path", str(MANIFEST)]
    command += ["--package", "mediaserver-audio", "--bin", "transcode", "--", str(rounds)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    for line in output.splitlines():
        _, name, unit, *samples = line.split()
        report.add(median(name, [float(sample) for sample in samples], unit))
