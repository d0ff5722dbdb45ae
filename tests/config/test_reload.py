"""The diff of two configurations."""

from __future__ import annotations

from mediaserver.config.loader import load_text
from mediaserver.config.reload import diff, taken_over


def test_equal_configurations_have_no_difference() -> None:
    assert diff(load_text("web: {pages: true}\n").config, load_text("").config) == ()


def test_every_changed_key_is_named_with_its_values() -> None:
    before = load_text("users: {a: {secret: {env: A}}}\n").config
    after = load_text(
        "users: {a: {secret: {env: A}, display_name: Ann}, b: {secret: {env: B}}}\nmedia: {rtp_timeout: 10s}\n"
    ).config
    changes = diff(before, after)
    assert [str(change) for change in changes if change.path[:2] != ("users", "b")] == [
        "users.a.display_name: None -> 'Ann'",
        "media.rtp_timeout: '30s' -> '10s'",
    ]
    assert ("users", "b") in [change.path for change in changes]
    assert all(change.needs_restart for change in changes)


def test_sockets_need_a_restart() -> None:
    changes = diff(load_text("").config, load_text("listeners: {sip: {udp: 5070}}\n").config)
    assert [(str(change), change.needs_restart) for change in changes] == [("listeners.sip.udp: 5060 -> 5070", True)]


TRUNK = "trunks: {pbx: {peers: [10.0.0.1], target: 'sip:10.0.0.1'%s}}\n"


def test_budgets_change_while_calls_go_on() -> None:
    before = load_text(TRUNK % "").config
    after = load_text(
        TRUNK % ", bandwidth: {audio: 1 Mbit/s}, per_call: {video: 1 Mbit/s}"
        + "sites: {munich: {cidrs: [10.1.0.0/16]}}\nmedia: {bandwidth: {track: {video: 2 Mbit/s}}}\n"
    ).config
    changes = diff(before, after)
    assert len(changes) == 4
    assert not any(change.needs_restart for change in changes)
    assert taken_over(before, after) == after


def test_what_needs_a_restart_stays_as_it_was_and_is_told_again() -> None:
    before = load_text(TRUNK % "").config
    after = load_text(
        TRUNK % ", max_calls: 7, bandwidth: {audio: 1 Mbit/s}"
        + "media: {rtp_timeout: 10s, bandwidth: {track: {audio: 64 kbit/s}}}\n"
    ).config
    in_force = taken_over(before, after)
    assert in_force.trunks["pbx"].bandwidth.audio == 1_000_000
    assert in_force.trunks["pbx"].max_calls == 100
    assert {(".".join(map(str, change.path)), change.needs_restart) for change in diff(in_force, after)} == {
        ("trunks.pbx.max_calls", True),
        ("media.rtp_timeout", True),
    }


def test_a_trunk_that_is_new_or_gone_needs_a_restart() -> None:
    without, with_trunk = load_text("").config, load_text(TRUNK % "").config
    for before, after in ((without, with_trunk), (with_trunk, without)):
        (change,) = diff(before, after)
        assert change.needs_restart
        assert taken_over(before, after).trunks == before.trunks
