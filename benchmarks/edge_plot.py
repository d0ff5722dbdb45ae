"""Cost per relayed packet against the rate, as a PNG: a panel for each size and shape."""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

LABELS = {
    ("mediaserver", "channel"): ("TURN, ChannelData", "C0-"),
    ("mediaserver", "send"): ("TURN, Send", "C0--"),
    ("coturn", "channel"): ("coturn, ChannelData", "C1-"),
    ("coturn", "send"): ("coturn, Send", "C1--"),
    ("turn_floor", "channel"): ("floor of TURN", "C7:"),
    ("edge", "path"): ("Edge's path", "C2-"),
    ("edge_floor", "path"): ("floor of a path", "C8:"),
}
"""By server and form: what a line is called, and how it looks."""


def draw(costs: Mapping[str, Mapping[str, Sequence[float]]], path: Path, title: str) -> None:
    """Samples in µs by server and name of the case. Raises ImportError where matplotlib is missing."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    lines = _lines(costs)
    panels = sorted({panel for panel, *_ in lines})
    figure, axes = pyplot.subplots(
        1, len(panels), figsize=(4 * len(panels), 5), sharey=True, squeeze=False, layout="constrained"
    )
    for axis, panel in zip(axes[0], panels, strict=True):
        for (its_panel, server, form), points in lines.items():
            if its_panel == panel:
                label, style = LABELS[server, form]
                axis.plot([rate for rate, _ in points], [cost for _, cost in points], style, marker="o", label=label)
        axis.set_xscale("log")
        axis.set_title(f"{panel[0]} B, {'bursts of 8' if panel[1] == 'burst' else 'single packets'}", fontsize="small")
        axis.set_xlabel("packets/s")
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("CPU µs per relayed packet")
    axes[0][0].set_ylim(bottom=0)
    axes[0][-1].legend(fontsize="small")
    figure.suptitle(title, fontsize="small")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _lines(
    costs: Mapping[str, Mapping[str, Sequence[float]]],
) -> dict[tuple[tuple[int, str], str, str], list[tuple[int, float]]]:
    """Points by panel (size and shape), server and form."""
    found: dict[tuple[tuple[int, str], str, str], list[tuple[int, float]]] = {}
    for server, cases in costs.items():
        for name, samples in cases.items():
            match = re.fullmatch(r"(\w+?)_(\d+)b_(\d+)pps_(\w+)", name)
            if match and samples:
                key = ((int(match[2]), match[4]), server, match[1])
                found.setdefault(key, []).append((int(match[3]), statistics.median(samples)))
    return {key: sorted(points) for key, points in found.items()}
