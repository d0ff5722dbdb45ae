"""What a Core asks an Edge is answered by that Edge, in time, or fails; what comes unasked is nobody's."""

from __future__ import annotations

import asyncio

import pytest

from mediaserver.link.questions import Questions
from tests.link.fakes import Pair

ONE, TWO = Pair("one").core, Pair("two").core


class House:
    """Asks, and notes what was sent."""

    def __init__(self, *, most: int = 2, patience_s: float = 60.0) -> None:
        self.questions: Questions[str] = Questions(most=most, patience_s=patience_s)
        self.sent: list[int] = []

    async def ask(self, number: int) -> asyncio.Task[str]:
        """Begins to ask Edge `one`; it has been sent then."""
        question = self.questions.ask(ONE, number, lambda: self.sent.append(number))
        task = asyncio.create_task(question)
        while number not in self.sent:
            await asyncio.sleep(0)
        return task


async def test_each_question_gets_its_own_answer() -> None:
    house = House()
    first, second = await house.ask(1), await house.ask(2)
    assert house.questions.answer(2, "b", by=ONE)
    assert house.questions.answer(1, "a")
    assert (await first, await second) == ("a", "b")


async def test_another_edge_neither_answers_nor_fails_it() -> None:
    house = House()
    asked = await house.ask(1)
    assert not house.questions.answer(1, "theirs", by=TWO)
    house.questions.fail(1, OSError("theirs"), by=TWO)
    assert house.questions.answer(1, "ours", by=ONE)
    assert await asked == "ours"


async def test_a_question_fails_with_what_the_edge_says() -> None:
    house = House()
    asked = await house.ask(1)
    house.questions.fail(1, OSError("no way"), by=ONE)
    with pytest.raises(OSError, match="no way"):
        await asked


async def test_an_answer_after_the_first_or_without_a_question_is_nobodys() -> None:
    house = House()
    asked = await house.ask(1)
    assert house.questions.answer(1, "first")
    assert not house.questions.answer(1, "second")
    house.questions.fail(1, OSError("late"), by=ONE)
    assert await asked == "first"
    assert not house.questions.answer(1, "third")
    assert not house.questions.answer(2, "unasked")


async def test_an_edge_that_says_nothing_is_waited_for_no_longer_than_that() -> None:
    house = House(most=1, patience_s=0.0)
    with pytest.raises(TimeoutError):
        await (await house.ask(1))
    assert not house.questions.is_full
    assert not house.questions.answer(1, "late")


async def test_only_so_many_wait_at_a_time() -> None:
    house = House(most=2)
    first = await house.ask(1)
    assert not house.questions.is_full
    second = await house.ask(2)
    assert house.questions.is_full
    second.cancel()
    await asyncio.wait([second])
    assert not house.questions.is_full
    house.questions.answer(1, "a")
    await first


async def test_what_cannot_be_sent_does_not_wait() -> None:
    house = House(most=1)

    def send() -> None:
        raise ValueError("too long")

    with pytest.raises(ValueError, match="too long"):
        await house.questions.ask(ONE, 1, send)
    assert not house.questions.is_full
