"""Numbering of a session's messages, as a property: whatever is lost and resumed, the browser sees each message once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediaserver.api.outbox import Inbox, Outbox


def drained(outbox: Outbox) -> list[tuple[int, str]]:
    found = []
    while (entry := outbox.next_unsent()) is not None:
        found.append(entry)
    return found


@given(
    st.lists(
        st.sampled_from(["push", "write", "deliver", "acknowledge", "lose"]),
        max_size=120,
    )
)
def test_every_message_arrives_once_and_in_order(steps: list[str]) -> None:
    outbox = Outbox(max_messages=1000, max_bytes=100_000)
    pushed = 0
    wire: list[tuple[int, str]] = []
    seen: list[tuple[int, str]] = []
    for step in [*steps, "lose"]:
        if step == "push":
            pushed += 1
            outbox.push(f"message {pushed}")
        elif step == "write" and (entry := outbox.next_unsent()) is not None:
            wire.append(entry)
        elif step == "deliver" and wire:
            seen.append(wire.pop(0))
        elif step == "acknowledge":
            outbox.acknowledge(len(seen))
        elif step == "lose":
            wire.clear()
            assert outbox.resume(len(seen))
    seen += drained(outbox)
    assert seen == [(number, f"message {number}") for number in range(1, pushed + 1)]


def test_what_was_written_makes_room_and_what_was_not_never_does() -> None:
    outbox = Outbox(max_messages=3, max_bytes=1000)
    for number in range(3):
        outbox.push(str(number))
    assert len(drained(outbox)) == 3
    outbox.push("fourth")
    assert not outbox.overflowed
    assert not outbox.resume(0)
    assert outbox.resume(1)
    outbox.push("fifth")
    assert outbox.overflowed


def test_bytes_are_bounded_too() -> None:
    outbox = Outbox(max_messages=100, max_bytes=10)
    outbox.push("12345678")
    outbox.push("12345678")
    assert outbox.overflowed


@pytest.mark.parametrize("number", [-1, 3, 2**52])
def test_a_resume_from_nowhere_is_refused(number: int) -> None:
    outbox = Outbox(max_messages=10, max_bytes=100)
    outbox.push("a")
    outbox.push("b")
    assert not outbox.resume(number)


def test_acknowledging_what_was_not_written_loses_nothing() -> None:
    outbox = Outbox(max_messages=10, max_bytes=100)
    outbox.push("a")
    outbox.acknowledge(1)
    assert drained(outbox) == [(1, "a")]


def test_the_inbox_tells_new_from_repeated_from_missing() -> None:
    inbox = Inbox()
    verdicts = [inbox.take(number) for number in (1, 1, 2, 4, None, 3)]
    assert verdicts == ["new", "duplicate", "new", "gap", "new", "new"]
    assert inbox.received == 3
