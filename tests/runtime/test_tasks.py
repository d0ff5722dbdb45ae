"""Owned tasks."""

from __future__ import annotations

import asyncio

import pytest

from mediaserver.runtime.tasks import TaskGroupOwner


async def test_a_task_carries_its_owners_name() -> None:
    owner = TaskGroupOwner("calls")
    task = owner.spawn(asyncio.sleep(60), name="ring")
    assert owner.names == (task.get_name(),) == ("calls:ring",)
    await owner.stop(1.0)


async def test_stop_ends_every_task() -> None:
    owner = TaskGroupOwner("calls")
    tasks = [owner.spawn(asyncio.sleep(60), name=str(number)) for number in range(3)]
    assert await owner.stop(1.0) == ()
    assert all(task.cancelled() for task in tasks)
    assert len(owner) == 0


async def test_a_task_that_will_not_end_is_named_at_the_deadline() -> None:
    release = asyncio.Event()

    async def stubborn() -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    owner = TaskGroupOwner("calls")
    task = owner.spawn(stubborn(), name="stubborn")
    await asyncio.sleep(0)
    assert await owner.stop(0.01) == ("calls:stubborn",)
    release.set()
    await task


async def test_a_failed_task_leaves_the_others_and_is_reported() -> None:
    failures: list[tuple[str, str]] = []
    owner = TaskGroupOwner("calls", on_failure=lambda name, error: failures.append((name, str(error))))

    async def fail() -> None:
        raise RuntimeError("broken")

    other = owner.spawn(asyncio.sleep(60), name="other")
    owner.spawn(fail(), name="fail")
    await asyncio.sleep(0.01)
    assert failures == [("calls:fail", "broken")]
    assert not other.done()
    await owner.stop(1.0)


async def test_nothing_starts_once_the_owner_stops() -> None:
    owner = TaskGroupOwner("calls")
    await owner.stop(1.0)
    with pytest.raises(RuntimeError, match="stopping"):
        owner.spawn(asyncio.sleep(0), name="late")


async def test_a_task_may_stop_its_own_owner() -> None:
    owner = TaskGroupOwner("calls")
    other = owner.spawn(asyncio.sleep(60), name="other")

    async def stop_all() -> tuple[str, ...]:
        return await owner.stop(1.0)

    assert await owner.spawn(stop_all(), name="stopper") == ()
    assert other.cancelled()


async def test_join_waits_for_tasks_spawned_meanwhile() -> None:
    owner = TaskGroupOwner("calls")
    done: list[str] = []

    async def first() -> None:
        owner.spawn(second(), name="second")

    async def second() -> None:
        await asyncio.sleep(0.01)
        done.append("second")

    owner.spawn(first(), name="first")
    await owner.join()
    assert done == ["second"]
