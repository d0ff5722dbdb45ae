"""`mediaserver check-bandwidth`, run as an operator runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.test_cli import mediaserver

CONFIG = """
sites:
  centre: {cidrs: [10.0.0.0/16], here: true}
  munich:
    cidrs: [10.1.0.0/16]
    budget: {audio: 190 kbit/s, video: 400 kbit/s}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "c.yaml"
    file.write_text(CONFIG)
    return file


def test_the_table_names_each_line_and_what_becomes_of_the_calls(config: Path) -> None:
    done = mediaserver(
        "check-bandwidth", "-c", config, "--from", "munich", "--to", "10.0.0.9", "--kind", "audio", "--codec", "PCMA",
        "--calls", 3,
    )  # fmt: skip
    assert done.returncode == 5, done.stderr
    assert "munich (munich) to 10.0.0.9 (centre), sound PCMA" in done.stdout
    row = next(line for line in done.stdout.splitlines() if line.startswith("site munich"))
    assert row.split() == ["site", "munich", "audio", "190", "kbit/s", "92800", "bit/s", "185600", "bit/s", "2"]
    assert "Calls: 2 admitted, 1 refused" in done.stdout
    assert "Too narrow: sites.munich.budget.audio" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("kinds", "calls", "code"), [("audio", 2, 0), ("video", 1, 3), ("audio,video", 3, 4), ("video", 3, 5)]
)
def test_the_exit_code_says_the_worst_outcome(config: Path, kinds: str, calls: int, code: int) -> None:
    done = mediaserver(
        "check-bandwidth", "-c", config, "--from", "munich", "--to", "centre", "--kind", kinds, "--calls", calls
    )
    assert done.returncode == code, done.stdout


def test_json_has_the_same_for_programs(config: Path) -> None:
    done = mediaserver("check-bandwidth", "-c", config, "--from", "munich", "--to", "centre", "--json")
    report = json.loads(done.stdout)
    assert (report["outcome"], report["start_site"], report["end_site"]) == ("lower_rate", "munich", "centre")
    assert {line["key"] for line in report["lines"] if line["budget"]} == {
        "sites.munich.budget.audio",
        "sites.munich.budget.video",
    }


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--from", "nowhere", "--to", "munich"), "no IP address"),
        (("--from", "munich", "--to", "centre", "--kind", "smell"), "expected audio, video"),
        (("--from", "munich", "--to", "centre", "--codec", "MP3"), "media.audio_codecs"),
        (("--from", "munich", "--to", "centre", "--calls", "0"), "--calls"),
    ],
)
def test_what_cannot_be_asked_exits_with_2_and_says_why(config: Path, arguments: tuple[str, ...], why: str) -> None:
    done = mediaserver("check-bandwidth", "-c", config, *arguments)
    assert done.returncode == 2
    assert why in " ".join(done.stderr.split())
