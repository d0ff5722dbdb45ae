"""Which way media go to an Edge, as an operator is told."""

from __future__ import annotations

from structlog.testing import capture_logs

from mediaserver.link.media_way import MediaWay


def test_the_way_is_that_of_the_links_that_answer() -> None:
    way = MediaWay("dmz")
    assert (way.state, way.words) == ("none", "no media: the Edge answers neither by UDP nor over TLS")
    way.handle_up(1, "udp")
    assert (way.state, way.words) == ("udp", "by UDP")
    way.handle_up(2, "tls")
    assert way.state == "both"
    way.handle_up(1, "tls")
    assert (way.state, way.words) == ("tls", "over TLS: UDP does not pass between here and the Edge")
    way.handle_down(1)
    way.handle_down(2)
    way.handle_down(2)
    assert way.state == "none"


def test_only_a_change_is_logged_and_udp_is_no_warning() -> None:
    way = MediaWay("dmz")
    with capture_logs() as logs:
        way.handle_up(1, "tls")
        way.handle_up(2, "tls")
        way.handle_up(1, "udp")
        way.handle_up(2, "udp")
    assert [(log["log_level"], log["goes"].split(":")[0].split(",")[0]) for log in logs] == [
        ("warning", "over TLS"),
        ("warning", "by UDP"),
        ("info", "by UDP"),
    ]
