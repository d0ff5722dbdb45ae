"""Cost per forwarded packet against the number of receivers, as a PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path


def draw(points: Mapping[str, Sequence[tuple[int, float]]], path: Path, title: str) -> None:
    """A line for each server; both axes are logarithmic. Raises ImportError where matplotlib is missing."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import LogLocator, ScalarFormatter

    figure, axes = pyplot.subplots(figsize=(8, 5), layout="constrained")
    counts = sorted({count for line in points.values() for count, _ in line})
    for name, line in points.items():
        if line:
            style = "--" if name == "limit" else "-"
            axes.plot([count for count, _ in line], [value for _, value in line], style, marker="o", label=name)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(counts)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7)))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(ScalarFormatter())
    axes.minorticks_off()
    axes.set_xlabel("receivers of one publisher")
    axes.set_ylabel("CPU µs per forwarded packet")
    axes.grid(alpha=0.3)
    axes.legend()
    axes.set_title(title, fontsize="small")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
