"""What a load run found: a row per second, the joins, the verdict; written as JSON, CSV and PNG."""

from __future__ import annotations

import csv
import json
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Second:
    """One row."""

    at_s: float
    """Since the run began."""
    present: int
    """Participants or calls at this moment."""
    joined: int
    """All up to now."""
    failed: int
    packets_per_s: float = 0.0
    """Received."""
    mbit_per_s: float = 0.0
    loss: float = 0.0
    """Share of the packets expected in this second that did not come."""
    latency_p99_ms: float = 0.0
    """Through the server, between peers of one worker."""
    lateness_p99_ms: float = 0.0
    """How late the generator itself sent."""
    loop_lag_ms: float = 0.0
    """How late the generator's event loop was."""
    busy: float = 0.0
    """Share of the time that the busiest worker worked."""
    cores: float = 0.0
    """CPU of the generator."""


@dataclass(frozen=True, slots=True)
class Levels:
    """Service levels; None is not asked for."""

    max_join_ms: float | None = None
    """Of the 95th percentile."""
    max_loss: float | None = None
    """Share of all packets."""
    max_failed: int | None = None


@dataclass(slots=True)
class Result:
    """Filled while the run goes on."""

    scenario: str
    settings: dict[str, Any] = field(default_factory=dict)
    seconds: list[Second] = field(default_factory=list)
    join_ms: list[float] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    expected: int = 0
    received: int = 0
    wrong: int = 0
    """Sampled packets that were not what the server should have sent."""

    @property
    def failed(self) -> int:
        return self.failures.total()

    @property
    def loss(self) -> float:
        return max(0.0, 1 - self.received / self.expected) if self.expected else 0.0

    def join_percentile_ms(self, share: float) -> float:
        """0.0 when nobody joined."""
        ordered = sorted(self.join_ms)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0

    def saturation(self) -> list[str]:
        """Why the generator itself may have been the limit; empty where it was not."""
        reasons = []
        checks: Sequence[tuple[str, str, float, str]] = (
            ("busy", "the busiest worker's share of its core", 0.85, ""),
            ("lateness_p99_ms", "frames left late, 99th percentile", 5.0, " ms"),
            ("loop_lag_ms", "the event loop was late", 100.0, " ms"),
        )
        for name, text, bound, unit in checks:
            over = [getattr(second, name) for second in self.seconds if getattr(second, name) > bound]
            # One bad second is a neighbour's; a tenth of them is ours.
            if len(over) > max(1, len(self.seconds) // 10):
                worst, count = statistics.median(over), len(over)
                reasons.append(f"{text}: {worst:.2f}{unit} in {count} of {len(self.seconds)} seconds (bound {bound:g})")
        return reasons

    def missed(self, levels: Levels) -> list[str]:
        """The service levels that were not kept."""
        found = []
        join = self.join_percentile_ms(0.95)
        if levels.max_join_ms is not None and (join > levels.max_join_ms or not self.join_ms):
            found.append(f"join {join:.0f} ms (95th percentile of {len(self.join_ms)}), at most {levels.max_join_ms:g}")
        if levels.max_loss is not None and self.loss > levels.max_loss:
            found.append(f"loss {self.loss:.4f}, at most {levels.max_loss:g}")
        if levels.max_failed is not None and self.failed > levels.max_failed:
            found.append(f"{self.failed} failed, at most {levels.max_failed}")
        if self.wrong:
            found.append(f"{self.wrong} packets were not right")
        return found

    def lines(self) -> list[str]:
        """``name: value unit``."""
        lines = [
            f"load_joined: {len(self.join_ms)}",
            f"load_failed: {self.failed}",
            f"load_join_median_ms: {self.join_percentile_ms(0.5):.0f} ms",
            f"load_join_p95_ms: {self.join_percentile_ms(0.95):.0f} ms",
        ]
        if self.expected:
            lines += [f"load_packets: {self.received}", f"load_loss: {self.loss:.5f}"]
        if self.seconds:
            lines += [
                f"load_most_present: {max(second.present for second in self.seconds)}",
                f"load_generator_cores: {max(second.cores for second in self.seconds):.2f}",
            ]
        return lines + [f"load_failed_{reason}: {count}" for reason, count in self.failures.most_common()]

    def write(self, stem: Path, formats: Sequence[str], levels: Levels) -> list[Path]:
        """Write ``stem.json``, ``.csv``, ``.png`` as asked for. Raises ImportError where matplotlib is missing."""
        stem.parent.mkdir(parents=True, exist_ok=True)
        written = []
        for kind in formats:
            path = stem.with_name(f"{stem.name}.{kind}")
            {"json": self._write_json, "csv": self._write_csv, "png": self._write_png}[kind](path, levels)
            written.append(path)
        return written

    def _write_json(self, path: Path, levels: Levels) -> None:
        content = {
            "scenario": self.scenario,
            "settings": self.settings,
            "levels": asdict(levels),
            "missed": self.missed(levels),
            "generator_saturated": self.saturation(),
            "joined": len(self.join_ms),
            "failed": self.failed,
            "failures": dict(self.failures),
            "join_p50_ms": self.join_percentile_ms(0.5),
            "join_p95_ms": self.join_percentile_ms(0.95),
            "join_p99_ms": self.join_percentile_ms(0.99),
            "packets": self.received,
            "loss": self.loss,
            "wrong": self.wrong,
            "seconds": [asdict(second) for second in self.seconds],
        }
        path.write_text(json.dumps(content, indent=2) + "\n")

    def _write_csv(self, path: Path, _levels: Levels) -> None:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, [item.name for item in fields(Second)])
            writer.writeheader()
            writer.writerows(
                {name: round(value, 4) for name, value in asdict(second).items()} for second in self.seconds
            )

    def _write_png(self, path: Path, levels: Levels) -> None:
        import matplotlib as mpl

        mpl.use("Agg")
        from matplotlib import pyplot

        at = [second.at_s for second in self.seconds]
        rows: Sequence[tuple[str, Sequence[str]]] = (
            ("participants", ("present", "joined", "failed")),
            ("Mbit/s received", ("mbit_per_s",)),
            ("loss", ("loss",)),
            ("ms", ("latency_p99_ms", "lateness_p99_ms", "loop_lag_ms")),
            ("cores", ("busy", "cores")),
        )
        figure, axes = pyplot.subplots(len(rows), 1, sharex=True, figsize=(9, 11), layout="constrained")
        for axis, (label, names) in zip(axes, rows, strict=True):
            for name in names:
                axis.plot(at, [getattr(second, name) for second in self.seconds], label=name, linewidth=1.2)
            axis.set_ylabel(label)
            axis.set_ylim(bottom=0)
            axis.grid(alpha=0.3)
            axis.legend(loc="upper left", fontsize="small")
        axes[-1].set_xlabel("seconds")
        missed = self.missed(levels)
        verdict = "; ".join(missed) if missed else "every service level kept"
        if self.saturation():
            verdict += "\nthe generator itself was saturated"
        join = f"join {self.join_percentile_ms(0.5):.0f} ms median, {self.join_percentile_ms(0.95):.0f} ms p95"
        figure.suptitle(f"{self.scenario}: {len(self.join_ms)} joined, {self.failed} failed, {join}\n{verdict}")
        figure.savefig(path, dpi=110)
        pyplot.close(figure)
