"""Ringing several devices: who gets the call, who stops ringing, what the caller is told when nobody answers."""

from __future__ import annotations

import asyncio
from typing import Literal

import pytest

from mediaserver.call.dial_failed import DialFailed
from mediaserver.call.leg import Leg
from mediaserver.call.ringing import Attempt, ring_all, ring_group
from mediaserver.config.routes import Group
from mediaserver.errors import NegotiationError
from tests.call.fakes import FakeLeg
from tests.passing import passed


class Device:
    """Answers, fails or rings on; knows whether it was cancelled."""

    def __init__(self, outcome: Leg | Exception | None) -> None:
        self.outcome = outcome
        self.cancelled = False

    async def ring(self) -> Leg:
        await asyncio.sleep(0)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        if self.outcome is not None:
            return self.outcome
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        raise AssertionError


def attempts(*devices: Device) -> list[Attempt]:
    return [Attempt("device", device.ring) for device in devices]


async def test_first_to_answer_has_the_call_and_the_others_stop_ringing() -> None:
    silent, quick = Device(None), Device(FakeLeg("quick"))
    leg = await ring_all(attempts(silent, quick), timeout_s=5)
    assert leg.name == "quick"
    assert silent.cancelled


async def test_of_two_answers_in_one_moment_one_stays() -> None:
    one, two = FakeLeg("one"), FakeLeg("two")
    winner = await ring_all(attempts(Device(one), Device(two)), timeout_s=5)
    loser = two if winner is one else one
    assert not winner.ended
    assert loser.end_cause is not None
    assert loser.end_cause.reason == "answered_elsewhere"


async def test_a_decline_ends_the_search_at_once() -> None:
    silent = Device(None)
    with pytest.raises(DialFailed) as failure:
        await ring_all(attempts(silent, Device(DialFailed(603, "Declined"))), timeout_s=5)
    assert failure.value.code == 603
    assert silent.cancelled


async def test_busy_says_more_than_unavailable() -> None:
    devices = [Device(DialFailed(480, "Gone")), Device(DialFailed(486, "Busy")), Device(DialFailed(503, "Broken"))]
    with pytest.raises(DialFailed) as failure:
        await ring_all(attempts(*devices), timeout_s=5)
    assert failure.value.code == 486


async def test_nobody_answering_in_time_is_480() -> None:
    silent = Device(None)
    with pytest.raises(DialFailed) as failure:
        await ring_all(attempts(silent), timeout_s=0.01)
    assert failure.value.code == 480
    assert silent.cancelled


async def test_nobody_signed_in_is_480() -> None:
    with pytest.raises(DialFailed) as failure:
        await ring_all([], timeout_s=5)
    assert failure.value.code == 480


async def test_no_common_media_is_488() -> None:
    with pytest.raises(DialFailed) as failure:
        await ring_all(attempts(Device(NegotiationError("nothing in common", warning_code=305))), timeout_s=5)
    assert failure.value.code == 488


async def test_cancelling_the_search_cancels_every_device() -> None:
    one, two = Device(None), Device(None)
    search = asyncio.ensure_future(ring_all(attempts(one, two), timeout_s=5))
    await passed(0.01)
    search.cancel()
    with pytest.raises(asyncio.CancelledError):
        await search
    assert one.cancelled
    assert two.cancelled


class Team:
    """Members with a device each; `rung` are those whose turn came, in order."""

    def __init__(self, **members: Device) -> None:
        self.members = members
        self.rung: list[str] = []

    def devices_of(self, name: str) -> list[Attempt]:
        async def ring() -> Leg:
            self.rung.append(name)
            return await self.members[name].ring()

        return [Attempt(name, ring)]

    async def ring(self, ring: Literal["parallel", "serial"], *, each: float = 0.05, timeout_s: float = 5.0) -> Leg:
        group = Group(members=tuple(self.members), ring=ring, each=f"{each}s", timeout="10s")  # type: ignore[arg-type]
        return await ring_group(group, self.devices_of, timeout_s=timeout_s)


async def test_a_serial_group_rings_one_member_after_the_other() -> None:
    team = Team(ann=Device(None), bob=Device(DialFailed(486, "Busy")), eve=Device(FakeLeg("eve")), max=Device(None))
    assert (await team.ring("serial")).name == "eve"
    assert team.rung == ["ann", "bob", "eve"]
    assert team.members["ann"].cancelled


async def test_a_parallel_group_rings_everybody_and_one_decline_ends_nothing() -> None:
    team = Team(ann=Device(DialFailed(603, "Declined")), bob=Device(None), eve=Device(FakeLeg("eve")))
    assert (await team.ring("parallel")).name == "eve"
    assert sorted(team.rung) == ["ann", "bob", "eve"]
    assert team.members["bob"].cancelled


@pytest.mark.parametrize("how", ["parallel", "serial"])
async def test_a_group_of_which_nobody_answers_fails_in_time(how: Literal["parallel", "serial"]) -> None:
    team = Team(ann=Device(None), bob=Device(None), eve=Device(None))
    started = asyncio.get_running_loop().time()
    with pytest.raises(DialFailed) as failure:
        await team.ring(how, each=10.0, timeout_s=0.1)
    assert failure.value.code == 480
    assert asyncio.get_running_loop().time() - started < 1.0
    assert team.rung == (["ann"] if how == "serial" else ["ann", "bob", "eve"])


async def test_a_group_without_devices_is_nobody() -> None:
    group = Group(members=("ann", "bob"), ring="serial")
    with pytest.raises(DialFailed) as failure:
        await ring_group(group, lambda name: [], timeout_s=1.0)
    assert failure.value.code == 480
