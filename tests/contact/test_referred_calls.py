"""A user asks by REFER to be connected: his own phones ring first, and the routing table says whom he may call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from mediaserver.call.dial_failed import DialFailed
from mediaserver.call.events import EndCause
from mediaserver.call.numbers import NumberPlan
from mediaserver.config.trunks import Numbers
from mediaserver.contact.referred_calls import ReferredCalls
from mediaserver.sip.incoming import IncomingReferral
from tests.contact.call_house import CallHouse, settled


@dataclass
class Trunks:
    """One trunk; `limits` are those that refused a call."""

    numbers: NumberPlan
    limits: list[str]

    def get(self, name: str | None) -> Any:
        return SimpleNamespace(numbers=self.numbers) if name == "carrier" else None

    def refused(self, limit: str) -> None:
        self.limits.append(limit)


class Asking:
    """A user who refers, and what he is told."""

    def __init__(self, house: CallHouse) -> None:
        self.house = house
        self.told: list[int] = []
        self.trunks = Trunks(NumberPlan(Numbers(region="DE")), [])
        house.calls.trunks = self.trunks  # type: ignore[attr-defined]
        self._calls = ReferredCalls(
            contacts=house.contacts,
            calls=house.calls,  # type: ignore[arg-type]
            dial_plan=house.control._dial_plan,
            engine=house.engine,  # type: ignore[arg-type]
            server_name="ms",
        )

    async def ask(self, called: str, user: str = "anna") -> list[int]:
        """What he is told at once."""
        await self._calls.take(IncomingReferral(called, user, self.told.append))
        await settled()
        return self.told

    def view(self) -> Any:
        return self.house.control.calls()[0]


@pytest.fixture
async def asking() -> AsyncIterator[Asking]:
    house = CallHouse()
    yield Asking(house)
    await house.close()


async def test_the_own_phones_ring_first_and_then_whom_he_named(asking: Asking) -> None:
    calls = asking.house.calls
    calls.gates["anna"], calls.gates["ben"] = asyncio.Event(), asyncio.Event()
    assert await asking.ask("5001") == [100]
    (first,) = calls.rung
    assert (first.destination.target.user, first.presentation.number) == ("anna", "5001")
    calls.gates["anna"].set()
    await settled()
    assert asking.told == [100, 180]
    second = calls.rung[1]
    assert (second.destination.target.user, second.presentation.number) == ("ben", "anna")
    assert second.caller is calls.legs["anna"]
    calls.gates["ben"].set()
    await settled()
    assert asking.told == [100, 180, 200]
    view = asking.view()
    assert (view.state, view.origin, view.caller, view.called) == ("up", "sip", "anna", "5001")


@pytest.mark.parametrize(
    ("who", "code", "told"), [("anna", 480, [100, 480]), ("ben", 486, [100, 180, 486]), ("ben", 603, [100, 180, 603])]
)
async def test_whoever_does_not_answer_ends_it_with_his_status(
    asking: Asking, who: str, code: int, told: list[int]
) -> None:
    asking.house.calls.fails[who] = DialFailed(code, "No")
    assert await asking.ask("ben") == told
    assert len(asking.house.contacts) == 0


async def test_whoever_asked_and_hangs_up_before_the_other_answers_is_told_that_it_is_over(asking: Asking) -> None:
    asking.house.calls.gates["ben"] = asyncio.Event()
    await asking.ask("ben")
    await asking.house.calls.legs["anna"].end(EndCause("agent", "hangup"))
    await settled()
    assert asking.told == [100, 180, 487]


@pytest.mark.parametrize(("called", "code"), [("nobody", 404), ("666", 603)])
async def test_what_the_routing_table_does_not_take_rings_nowhere(asking: Asking, called: str, code: int) -> None:
    assert await asking.ask(called) == [code]
    assert (asking.house.calls.rung, len(asking.house.contacts)) == ([], 0)


@pytest.mark.parametrize("number", ["09001234567", "+881612345678"])
async def test_a_premium_number_is_refused_before_anything_rings(asking: Asking, number: str) -> None:
    assert await asking.ask(number) == [403]
    assert asking.house.calls.rung == []
    assert len(asking.trunks.limits) == 1


async def test_a_house_that_is_full_says_so(asking: Asking) -> None:
    asking.house.contacts.drain()
    assert await asking.ask("ben") == [503]
