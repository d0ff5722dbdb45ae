"""Values with units: what is read, what is refused, and that writing and reading agree."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediaserver.config import values


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("30s", 30.0), ("1.5 min", 90.0), ("2h", 7200.0), ("7d", 604800.0), ("0s", 0.0)],
)
def test_duration_is_read_in_seconds(text: str, seconds: float) -> None:
    assert values.parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["30", "30 sec", "-1s", "s", "1h30m", "", 30, 2.5, True, None, ["30s"]])
def test_duration_without_a_known_unit_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="a duration with its unit"):
        values.parse_duration(text)


@pytest.mark.parametrize(("text", "count"), [("512 B", 512), ("64KiB", 65536), ("1 MiB", 1048576), ("2 kB", 2000)])
def test_size_is_read_in_bytes(text: str, count: int) -> None:
    assert values.parse_size(text) == count


def test_bitrate_and_rate_are_read_per_second() -> None:
    assert values.parse_bitrate("2 Mbit/s") == 2_000_000
    assert values.parse_rate("600/min") == pytest.approx(10.0)


@given(st.integers(min_value=0, max_value=10**9))
def test_a_written_size_reads_back_as_itself(count: int) -> None:
    assert values.parse_size(values.format_size(count)) == count


@given(st.integers(min_value=0, max_value=10**9))
def test_a_written_duration_reads_back_as_itself(milliseconds: int) -> None:
    seconds = milliseconds / 1000
    assert values.parse_duration(values.format_duration(seconds)) == pytest.approx(seconds)


@given(st.integers(min_value=0, max_value=10**12))
def test_a_written_bitrate_reads_back_as_itself(bps: int) -> None:
    assert values.parse_bitrate(values.format_bitrate(bps)) == bps


@pytest.mark.parametrize("text", ["20000", "29999-20000", "80-90", "20000-70000", "a-b", 20000])
def test_a_port_range_that_is_none_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="port range"):
        values.parse_port_range(text)


@pytest.mark.parametrize("text", ["127.0.0.1:8080", "[::1]:8080", "0.0.0.0:0"])
def test_a_socket_address_is_written_as_it_was_read(text: str) -> None:
    assert str(values.parse_socket_address(text)) == text


@pytest.mark.parametrize("text", ["8080", "localhost:80", "::1:80", "[127.0.0.1]:80", "127.0.0.1:65536", "1.2.3.4:", 1])
def test_a_socket_address_that_is_none_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="an IP address and a port"):
        values.parse_socket_address(text)


def test_a_network_with_host_bits_says_what_was_meant() -> None:
    with pytest.raises(ValueError, match=r"did you mean 192\.0\.2\.0/24"):
        values.parse_network("192.0.2.7/24")
