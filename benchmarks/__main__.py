"""`python -m benchmarks [PROGRAM ...]` prints `name: value unit` lines, and writes `results/*.json`.

`--quick` tries every program with tiny numbers: its figures mean nothing and are not written.
"""

from __future__ import annotations

import argparse
import asyncio
import sys

from benchmarks import (
    audio,
    bwe,
    edge,
    edge_plot,
    fanout,
    join,
    line,
    native,
    sfu,
    sfu_plot,
    sip,
    sip_calls,
    sip_reading,
    startup,
)
from benchmarks.figures import Report, commit, machine

PROGRAMS = ("startup", "sip", "join", "fanout")
OTHERS = ("sfu", "edge", "bwe", "line", "audio", "mixing", "sip-all")
"""Programs that run only when they are named."""


async def _run(names: list[str], *, quick: bool) -> Report:
    report = Report("bench" if len(names) == len(PROGRAMS) else "-".join(names))
    if "startup" in names:
        await startup.measure(report, 1 if quick else 5)
    if "sip" in names:
        sip_reading.measure(report, messages=200 if quick else 10_000)
        await sip_calls.measure(report, sip.QUICK.calls if quick else None)
    if "sip-all" in names:
        await sip.measure(report, sip.QUICK if quick else None)
    if "join" in names:
        await join.measure(report, 1 if quick else 10)
    if "fanout" in names:
        programs = await asyncio.to_thread(native.build)
        small = fanout.Shape(subscribers=5, rounds=1, warm_up_s=0.2, measure_s=0.3, limit_s=0.2)
        await fanout.measure(report, programs, small if quick else None)
    if "sfu" in names:
        programs = await asyncio.to_thread(native.build)
        await sfu.measure(report, programs, sfu.QUICK if quick else None)
    if "edge" in names:
        programs = await asyncio.to_thread(native.build)
        await edge.measure(report, programs, edge.QUICK if quick else None)
    if "bwe" in names:
        await asyncio.to_thread(bwe.measure, report, 1 if quick else bwe.SEEDS)
    if "line" in names:
        await line.measure(report, 1 if quick else line.FALLS)
    if "audio" in names:
        await asyncio.to_thread(audio.measure, report, 1 if quick else audio.ROUNDS)
    if "mixing" in names:
        await asyncio.to_thread(audio.measure_mixing, report, quick=quick)
    return report


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument(
        "names",
        nargs="*",
        metavar="PROGRAM",
        help=f"of {', '.join(PROGRAMS + OTHERS)}; without one, all but {', '.join(OTHERS)}",
    )
    parser.add_argument("--quick", action="store_true", help="tiny numbers, nothing written")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(PROGRAMS + OTHERS):
        parser.error(f"no such program: {', '.join(sorted(unknown))}")
    print(f"# machine: {machine()}")
    report = asyncio.run(_run(arguments.names or list(PROGRAMS), quick=arguments.quick))
    if not arguments.quick:
        path = report.write()
        print(f"# written to {path}")
        if points := report.details.get("sfu_receivers"):
            title = f"{machine()['cpu']}, commit {commit()}, AEAD_AES_128_GCM, feedback from every receiver"
            sfu_plot.draw(points, path.with_suffix(".png"), title)
            print(f"# drawn in {path.with_suffix('.png')}")
        if costs := report.details.get("edge_costs"):
            edge_plot.draw(costs, path.with_suffix(".png"), f"{machine()['cpu']}, commit {commit()}")
            print(f"# drawn in {path.with_suffix('.png')}")
    return 0 if arguments.quick or all(figure.passed for figure in report.figures) else 1


if __name__ == "__main__":
    sys.exit(main())
