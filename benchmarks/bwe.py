"""Bandwidth estimation on a virtual wire: runs `bwe` of rust/netem, the test cases of RFC 8867, and takes its figures."""

from __future__ import annotations

import os
import subprocess

from benchmarks.figures import Figure, Report, median
from benchmarks.native import MANIFEST

SEEDS = 5


def measure(report: Report, seeds: int = SEEDS) -> None:
    """Build, run every case with ``seeds`` seeds (each twice: the program stops when two runs differ) and report."""
    cargo = os.environ.get("CARGO", "cargo")
    command = [cargo, "run", "--release", "--quiet", "--locked", "--manifest-path", str(MANIFEST)]
    command += ["--package", "mediaserver-netem", "--bin", "bwe", "--", "--seeds", str(seeds)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    table = []
    for line in output.splitlines():
        if line.startswith("# "):
            table.append(line.removeprefix("# "))
            print(line)
            continue
        _, name, unit, aim, *samples = line.split()
        values = [float(sample) for sample in samples]
        if aim.startswith(">>"):
            report.add(
                Figure(name, min(values), unit.replace("_", " "), tuple(values), least=float(aim[2:]), note="worst")
            )
            continue
        bound = float(aim[2:]) if aim.startswith("<=") else None
        least = float(aim[2:]) if aim.startswith(">=") else None
        report.add(median(name, values, unit.replace("_", " "), bound=bound, least=least))
    report.details["bwe_table"] = table
