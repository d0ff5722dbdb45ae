"""Keys of visitors' tokens: one signs, the one before it counts on."""

from __future__ import annotations

import pytest

from mediaserver.link.token_keys import TokenKeys, named

OTHERS = [bytes([number]) * 32 for number in range(1, 250)]


def test_the_id_of_a_key_follows_from_it() -> None:
    assert named(OTHERS[0]) == TokenKeys(OTHERS[0]).current == named(OTHERS[0])
    assert len({named(secret).id for secret in OTHERS}) > 100


def test_two_keys_count_the_new_one_first_and_a_third_ends_the_first() -> None:
    keys = TokenKeys(OTHERS[0])
    assert [key.secret for key in keys.all] == OTHERS[:1]
    assert not keys.replace(OTHERS[0])
    assert keys.replace(OTHERS[1])
    assert [key.secret for key in keys.all] == [OTHERS[1], OTHERS[0]]
    assert keys.replace(OTHERS[2])
    assert [key.secret for key in keys.all] == [OTHERS[2], OTHERS[1]]


def test_a_key_that_would_have_the_id_of_the_current_one_is_refused_and_changes_nothing() -> None:
    first = OTHERS[0]
    same = next(number.to_bytes(32) for number in range(100_000) if named(number.to_bytes(32)).id == named(first).id)
    keys = TokenKeys(first)
    with pytest.raises(ValueError, match="take another"):
        keys.replace(same)
    assert keys.all == (named(first),)
