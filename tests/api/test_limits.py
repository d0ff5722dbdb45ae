"""Rates, occupancy and origins."""

from __future__ import annotations

import pytest
from aiohttp.test_utils import make_mocked_request

from mediaserver.api.limits import Occupancy, RateLimit
from mediaserver.api.origins import Origins, is_same_origin
from mediaserver.errors import LimitExceeded


def test_a_bucket_fills_up_to_its_burst() -> None:
    rate = RateLimit(per_second=2, burst=3)
    assert [rate.take("a", 0.0) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert rate.take("a", 0.0) == 0.5
    assert rate.take("b", 0.0) == 0.0
    assert rate.take("a", 0.5) == 0.0
    assert [rate.take("a", 100.0) for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]


def test_asking_how_long_takes_no_token() -> None:
    rate = RateLimit(per_second=1, burst=1)
    assert rate.wait("a", 0.0) == 0.0
    assert rate.take("a", 0.0) == 0.0
    assert rate.wait("a", 0.25) == 0.75


def test_the_table_of_sources_is_bounded() -> None:
    rate = RateLimit(per_second=1, burst=1, max_keys=100)
    for number in range(1000):
        rate.take(str(number), 0.0)
    assert len(rate) == 100


def test_occupancy_is_counted_by_source_and_in_total() -> None:
    occupancy = Occupancy("web_sessions", per_source=2, total=3)
    occupancy.enter("192.0.2.1")
    occupancy.enter("192.0.2.1")
    with pytest.raises(LimitExceeded) as refused:
        occupancy.enter("192.0.2.1")
    assert refused.value.limit == "web_sessions_per_source"
    occupancy.enter("192.0.2.2")
    with pytest.raises(LimitExceeded) as refused:
        occupancy.enter("192.0.2.3")
    assert refused.value.limit == "web_sessions"
    occupancy.leave("192.0.2.1")
    with occupancy.held("192.0.2.3"):
        assert occupancy.total == 3
    assert occupancy.total == 2


@pytest.mark.parametrize(
    ("patterns", "origin", "allowed"),
    [
        (["https://www.example.org/"], "https://www.example.org", True),
        (["https://WWW.example.org"], "https://www.EXAMPLE.org", True),
        (["https://www.example.org"], "https://www.example.org:8443", False),
        (["https://www.example.org"], "http://www.example.org", False),
        (["https://*.example.org"], "https://a.example.org", True),
        (["https://*.example.org"], "https://a.b.example.org", True),
        (["https://*.example.org"], "https://example.org", False),
        (["https://*.example.org"], "https://.example.org", False),
        (["https://*.example.org"], "https://badexample.org", False),
        (["https://*.example.org"], "https://a.example.org.evil.net", False),
        (["https://*.example.org"], "http://a.example.org", False),
        (["self"], "self", False),
        (["*"], "https://anything.example", True),
        (["*"], None, True),
        ([], None, False),
        (["https://www.example.org"], "null", False),
    ],
)
def test_origins_are_compared_whole(patterns: list[str], origin: str | None, allowed: bool) -> None:
    assert Origins.of(patterns).allow(origin) is allowed


@pytest.mark.parametrize(
    ("origin", "host", "same"),
    [
        ("https://video.example.org", "video.example.org", True),
        ("https://video.example.org", "video.example.org:443", True),
        ("https://video.example.org:8443", "video.example.org:8443", True),
        ("http://[::1]:8080", "[::1]:8080", True),
        ("http://[::1]", "[::1]", True),
        ("https://video.example.org", "video.example.org:8443", False),
        ("https://evil.example", "video.example.org", False),
        ("null", "video.example.org", False),
        ("chrome-extension://video.example.org", "video.example.org", False),
    ],
)
def test_same_origin_compares_host_and_port(origin: str, host: str, same: bool) -> None:
    request = make_mocked_request("GET", "/", headers={"Origin": origin, "Host": host})
    assert is_same_origin(request) is same
