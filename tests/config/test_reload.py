"""The diff of two configurations, and what of it a running daemon takes over."""

from __future__ import annotations

import pytest

from mediaserver.config.loader import load_text
from mediaserver.config.reload import diff, taken_over
from mediaserver.errors import ConfigError


def test_equal_configurations_have_no_difference() -> None:
    assert diff(load_text("web: {pages: true}\n").config, load_text("").config) == ()


def test_every_changed_key_is_named_with_its_values() -> None:
    before = load_text("users: {a: {secret: {env: A}}}\n").config
    after = load_text(
        "users: {a: {secret: {env: A}, display_name: Ann}, b: {secret: {env: B}}}\nmedia: {rtp_timeout: 10s}\n"
    ).config
    changes = diff(before, after)
    assert [(str(change), change.needs_restart) for change in changes if change.path[:2] != ("users", "b")] == [
        ("users.a.display_name: None -> 'Ann'", False),
        ("media.rtp_timeout: '30s' -> '10s'", True),
    ]
    assert ("users", "b") in [change.path for change in changes]


def test_sockets_need_a_restart() -> None:
    changes = diff(load_text("").config, load_text("listeners: {sip: {udp: 5070}}\n").config)
    assert [(str(change), change.needs_restart) for change in changes] == [("listeners.sip.udp: 5060 -> 5070", True)]


TRUNK = "trunks: {pbx: {peers: [10.0.0.1], target: 'sip:10.0.0.1'%s}}\n"


def test_users_trunks_routes_and_budgets_change_while_calls_go_on() -> None:
    before = load_text(TRUNK % "").config
    after = load_text(
        TRUNK % ", max_calls: 7, bandwidth: {audio: 1 Mbit/s}, per_call: {video: 1 Mbit/s}"
        + "users: {ann: {secret: {env: A}}}\ngroups: {team: {members: [ann]}}\n"
        + "webhooks: {crm: {url: 'http://127.0.0.1/'}}\nroutes: [{to: {group: team}}]\n"
        + "sites: {munich: {cidrs: [10.1.0.0/16]}}\nmedia: {bandwidth: {track: {video: 2 Mbit/s}}}\n"
    ).config
    changes = diff(before, after)
    assert len(changes) == 9
    assert not any(change.needs_restart for change in changes)
    assert taken_over(before, after) == after


OPEN_RELAY = "listeners: {turn: {port: 3478, relay: open, users: {%s}}}\n"


def test_users_of_an_open_relay_come_go_and_change_their_passwords_while_it_runs() -> None:
    before = load_text(OPEN_RELAY % "ann: {secret: {env: A}}, bob: {secret: {env: B}}").config
    after = load_text(OPEN_RELAY % "ann: {secret: {env: OTHER}}, cid: {secret: {env: C}}").config
    changes = diff(before, after)
    assert {change.path[3] for change in changes} == {"ann", "bob", "cid"}
    assert not any(change.needs_restart for change in changes)
    assert taken_over(before, after) == after


def test_what_needs_a_restart_stays_as_it_was_and_is_told_again() -> None:
    before = load_text(TRUNK % "").config
    after = load_text(
        TRUNK % ", max_calls: 7" + "media: {rtp_timeout: 10s, bandwidth: {track: {audio: 64 kbit/s}}}\n"
    ).config
    in_force = taken_over(before, after)
    assert in_force.trunks["pbx"].max_calls == 7
    assert in_force.media.rtp_timeout == 30
    assert [(str(change), change.needs_restart) for change in diff(in_force, after)] == [
        ("media.rtp_timeout: '30s' -> '10s'", True)
    ]


def test_what_contradicts_something_that_stays_is_refused() -> None:
    user = "users: {ann: {secret: {env: A}}, bob: {secret: {env: B}}}\n"
    before = load_text(user + "entries: {demo: {to: {user: ann}}}\n").config
    after = load_text("users: {bob: {secret: {env: B}}}\nentries: {demo: {to: {user: bob}}}\n").config
    with pytest.raises(ConfigError, match=r"entries.demo.to.user: there is no 'ann' in users.*until a restart"):
        taken_over(before, after)
