"""Lines about strangers: one for each kind and source, and never many."""

from __future__ import annotations

from mediaserver.runtime.notices import QUIET_S, Notices


def test_the_same_from_the_same_source_is_told_once_until_it_has_been_quiet() -> None:
    notices = Notices()
    assert notices.take("banned", "192.0.2.1", 0.0) == 0
    assert [notices.take("banned", "192.0.2.1", float(second)) for second in range(1, 1200)] == [None] * 1199
    assert notices.take("malformed", "192.0.2.1", 1200.0) == 0
    assert notices.take("banned", "192.0.2.2", 1200.0) == 0
    assert notices.take("banned", "192.0.2.1", 1199.0 + QUIET_S) == 0


def test_who_has_many_addresses_has_no_more_lines_and_is_counted() -> None:
    notices = Notices()
    told = [notices.take("malformed", f"192.0.2.{number}", 0.0) for number in range(100)]
    assert told == [0] * 30 + [None] * 70
    assert notices.take("malformed", "198.51.100.1", 2.0) == 70
    assert notices.take("malformed", "198.51.100.2", 4.0) == 0


def test_what_is_known_of_sources_is_bounded() -> None:
    notices = Notices()
    for number in range(10_000):
        notices.take("malformed", str(number), 0.0)
    assert len(notices._last) == 4_096
