"""The section of sites, caps and marks: what it takes, and what its mistakes are called."""

from __future__ import annotations

import pytest

from mediaserver.config.loader import InvalidConfig, load_text


def problems(text: str) -> list[str]:
    with pytest.raises(InvalidConfig) as invalid:
        load_text(text, file="c.yaml")
    return [str(problem) for problem in invalid.value.problems]


def test_rates_are_read_by_kind() -> None:
    config = load_text("sites: {munich: {cidrs: [10.1.0.0/16], budget: {audio: 2 Mbit/s, screen: 64 kbit/s}}}").config
    budget = config.sites["munich"].budget
    assert [budget.of(kind) for kind in ("audio", "video", "screen")] == [2_000_000, None, 64_000]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("sites:\n  munich: {}\n", "c.yaml:2:3: sites.munich: say what belongs to the site"),
        (
            "sites:\n  a: {cidrs: [10.0.0.0/8]}\n  b: {cidrs: [10.0.0.0/8]}\n",
            "c.yaml:3:15: sites.b.cidrs[0]: 10.0.0.0/8 is at site a already",
        ),
        (
            "trunks: {pbx: {peers: [10.0.0.1], target: 'sip:a'}}\nsites:\n  a: {trunks: [pbx]}\n  b: {trunks: [pbx]}\n",
            "c.yaml:4:16: sites.b.trunks[0]: pbx is at site a already",
        ),
        ("sites:\n  a: {trunks: [pbx]}\n", "c.yaml:2:16: sites.a.trunks[0]: there is no 'pbx' in trunks"),
        ("sites:\n  a: {users: [bob]}\n", "c.yaml:2:15: sites.a.users[0]: there is no 'bob' in users"),
        (
            "sites:\n  a: {here: true}\n  b: {here: true}\n",
            "c.yaml:3:7: sites.b.here: the daemon is at site a already",
        ),
        (
            "sites:\n  munich: {links: {berln: {}}}\n  berlin: {here: true}\n",
            "c.yaml:2:20: sites.munich.links.berln: there is no 'berln' in sites; did you mean 'berlin'?",
        ),
        ("sites:\n  a: {links: {a: {}}}\n", "c.yaml:2:15: sites.a.links.a: a site needs no link to itself"),
        (
            "sites:\n  a: {links: {b: {}}}\n  b: {links: {a: {}}}\n",
            "c.yaml:3:15: sites.b.links.a: the link is at sites.a.links.b already",
        ),
        (
            "sites:\n  a: {here: true, budget: {audio: 2000}}\n",
            "c.yaml:2:28: sites.a.budget.audio: expected a bitrate with its unit",
        ),
        (
            "media:\n  dscp: {audio: EF1}\n",
            "c.yaml:2:10: media.dscp.audio: expected a DSCP: CS0 to CS7",
        ),
        ("media:\n  dscp: {video: 64}\n", "c.yaml:2:10: media.dscp.video: expected a DSCP"),
    ],
)
def test_mistakes_are_named_with_their_place(text: str, problem: str) -> None:
    found = problems(text)
    assert any(each.startswith(problem) for each in found), found


@pytest.mark.parametrize(("text", "value"), [("EF", 46), ("af41", 34), ("CS3", 24), ("LE", 1), ("VA", 44), ("7", 7)])
def test_a_mark_has_a_name_or_a_number(text: str, value: int) -> None:
    assert load_text(f"media: {{dscp: {{audio: {text}}}}}").config.media.dscp.audio == value


def test_the_marks_are_shown_as_they_are_written() -> None:
    dscp = load_text("media: {dscp: {screen: 7}}").config.model_dump(mode="json")["media"]["dscp"]
    assert dscp == {"audio": "EF", "video": "AF41", "screen": 7, "signaling": "CS3"}
