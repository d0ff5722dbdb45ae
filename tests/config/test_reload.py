"""The diff of two configurations."""

from __future__ import annotations

from mediaserver.config.loader import load_text
from mediaserver.config.reload import diff


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
    assert not any(change.needs_restart for change in changes)


def test_sockets_need_a_restart() -> None:
    changes = diff(load_text("").config, load_text("listeners: {sip: {udp: 5070}}\n").config)
    assert [(str(change), change.needs_restart) for change in changes] == [("listeners.sip.udp: 5060 -> 5070", True)]
