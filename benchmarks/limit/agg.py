"""Reads the raw samples of the limit program from stdin and prints one line per figure.

``name: median unit [min..max n=N] alone=median(n)``; ``alone`` are the samples taken while nobody else ran on the
sibling hyperthread, by the program's own probe (see main.c).
"""

from __future__ import annotations

import statistics
import sys

ALONE = 9.0
"""Independent adds per ns."""


def shown(value: float) -> str:
    if abs(value) < 10:
        return f"{value:.2f}"
    return f"{value:.1f}" if abs(value) < 100 else f"{value:.0f}"


def main() -> None:
    samples: dict[tuple[str, str], list[tuple[float, float]]] = {}
    notes: dict[str, None] = {}
    for line in sys.stdin:
        fields = line.rstrip("\n").split("\t")
        if fields[0] == "@" and len(fields) >= 5:
            samples.setdefault((fields[1], fields[2]), []).append((float(fields[3]), float(fields[4])))
        elif line.strip():
            notes[line.strip()] = None
    print("\n".join(notes))
    for (name, unit), taken in samples.items():
        values = sorted(value for value, _ in taken)
        quiet = [value for value, probe in taken if probe >= ALONE]
        alone = f" alone={shown(statistics.median(quiet))}({len(quiet)})" if len(quiet) >= 2 else ""
        span = f"[{shown(values[0])}..{shown(values[-1])} n={len(values)}]"
        print(f"{name}: {shown(statistics.median(values))} {unit} {span}{alone}")


if __name__ == "__main__":
    main()
