"""What counts as one source."""

from __future__ import annotations

import pytest

from mediaserver.runtime.sources import source_prefix


@pytest.mark.parametrize(
    ("source", "prefix"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unix", "unix"),
    ],
)
def test_one_subscriber_is_one_source(source: str, prefix: str) -> None:
    assert source_prefix(source) == prefix
