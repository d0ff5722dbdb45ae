"""Keys in INFO bodies, as phones and gateways write them."""

from __future__ import annotations

import pytest

from mediaserver.sip.info_keys import Key, read_key, write_key


@pytest.mark.parametrize(
    ("content_type", "body", "key"),
    [
        ("application/dtmf-relay", b"Signal=5\r\nDuration=160\r\n", Key("5", 160)),
        ("application/dtmf-relay", b"Signal= 5\r\nDuration= 250", Key("5", 250)),
        ("Application/DTMF-Relay; charset=utf-8", b"signal=*\nduration=100\n", Key("*", 100)),
        ("application/dtmf-relay", b"Signal=11\r\n", Key("#", 160)),
        ("application/dtmf-relay", b"Signal=d\r\nDuration=x", Key("D", 160)),
        ("application/dtmf-relay", b"Signal=13\r\nDuration=1", Key("B", 40)),
        ("application/dtmf-relay", b"Signal=1\r\nDuration=999999999", Key("1", 5000)),
        ("application/dtmf", b"7", Key("7", 160)),
        ("application/dtmf", b"10\r\n", Key("*", 160)),
        ("application/dtmf", b"Signal=8\r\nDuration=80\r\n", Key("8", 80)),
    ],
)
def test_what_phones_write_is_a_key(content_type: str, body: bytes, key: Key) -> None:
    assert read_key(content_type, body) == key


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/dtmf-relay", b""),
        ("application/dtmf-relay", b"Duration=160"),
        ("application/dtmf-relay", b"Signal=16\r\n"),
        ("application/dtmf-relay", b"Signal=55\r\n"),
        ("application/dtmf", b"\xff"),
        ("application/dtmf", b"5" * 300),
        ("application/media_control+xml", b"5"),
    ],
)
def test_what_is_no_key_is_nothing(content_type: str, body: bytes) -> None:
    assert read_key(content_type, body) is None


@pytest.mark.parametrize("key", "0123456789*#ABCD")
def test_what_we_write_is_read_again(key: str) -> None:
    assert read_key(*write_key(key, 120)) == Key(key, 120)
