"""User-to-User (RFC 7433) as text, as contact centres send it, and bounded."""

from __future__ import annotations

import pytest

from mediaserver.sip.headers import Headers
from mediaserver.sip.user_to_user import MOST_BYTES, read_user_to_user, user_to_user


@pytest.mark.parametrize("text", ["ticket 4711", "Grüße", 'a;b,c="d"', "x" * (MOST_BYTES - 1)])
def test_what_is_written_is_read_again(text: str) -> None:
    value = user_to_user(text)
    assert value is not None
    assert read_user_to_user(Headers([("User-to-User", value)])) == text


def test_text_is_written_as_the_isdn_package() -> None:
    assert user_to_user("T1") == "045431;purpose=isdn-uui;content=isdn-uui;encoding=hex"


@pytest.mark.parametrize("text", ["", "x" * MOST_BYTES, "ü" * MOST_BYTES])
def test_too_much_is_not_written(text: str) -> None:
    assert user_to_user(text) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("0054313233;encoding=hex", "T123"),
        ("54313233;encoding=hex;purpose=house", "T123"),
        ("04ff00;encoding=hex", "ff00"),
        ('"ticket 4711"', "ticket 4711"),
        ("zz, 045431;encoding=hex", "zz"),
        ("5431;encoding=base64, 045432;encoding=hex", "T2"),
        ("04540a31;encoding=hex", "T1"),
    ],
)
def test_the_first_value_that_can_be_read_counts(value: str, text: str) -> None:
    assert read_user_to_user(Headers([("User-to-User", value)])) == text


@pytest.mark.parametrize("value", ["", "xyz;encoding=hex", '"open', "04" * 2000, ";encoding=hex"])
def test_what_cannot_be_read_is_left_out(value: str) -> None:
    assert read_user_to_user(Headers([("User-to-User", value)])) is None
