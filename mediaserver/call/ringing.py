"""Reaching somebody on all devices at once: the first that answers has the call, the others stop ringing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from mediaserver.call.dial_failed import DialFailed
from mediaserver.call.events import EndCause
from mediaserver.call.leg import Leg
from mediaserver.config.routes import Group
from mediaserver.errors import InsufficientBandwidth, LimitExceeded, MediaServerError, NegotiationError

_NO_ANSWER: Final = DialFailed(480, "No answer")
_ANSWERED_ELSEWHERE: Final = EndCause("system", "answered_elsewhere", 200)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One device. `ring` returns its leg once answered; when cancelled or failed it has released everything."""

    device: str
    ring: Callable[[], Awaitable[Leg]]


async def ring_all(attempts: Sequence[Attempt], *, timeout_s: float, decline_ends: bool = True) -> Leg:
    """The leg of the device that answered first.

    Raises DialFailed with the most telling failure when none did (RFC 3261 §16.7: a 6xx ends the search at once, unless
    `decline_ends` is False, else the lowest class counts, and within it what says more than 480), and after `timeout_s`.
    """
    if not attempts:
        raise DialFailed(480, "Nobody is signed in there")
    tasks = {asyncio.ensure_future(attempt.ring()): attempt for attempt in attempts}
    failures: list[DialFailed] = []
    try:
        async with asyncio.timeout(timeout_s):
            while tasks:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                legs = []
                for task in done:
                    del tasks[task]
                    error = task.exception()
                    if error is None:
                        legs.append(task.result())
                    else:
                        failures.append(_as_failure(error))
                if legs:
                    # Two answers in one turn of the loop: the first stays, the others hang up.
                    for late in legs[1:]:
                        await late.end(_ANSWERED_ELSEWHERE)
                    return legs[0]
                if decline_ends and any(failure.code >= 600 for failure in failures):
                    break
    except TimeoutError:
        failures.append(_NO_ANSWER)
    finally:
        await _give_up(tasks)
    raise _most_telling(failures)


async def _give_up(tasks: Iterable[asyncio.Future[Leg]]) -> None:
    """Stops the ringing; a device that has answered in this very moment is hung up."""
    pending = list(tasks)
    for task in pending:
        task.cancel()
    if pending:
        await asyncio.wait(pending)
    for task in pending:
        if not task.cancelled() and task.exception() is None:
            await task.result().end(_ANSWERED_ELSEWHERE)


async def ring_group(group: Group, devices_of: Callable[[str], Sequence[Attempt]], *, timeout_s: float) -> Leg:
    """The leg of the member who answered first. Who declines speaks for himself: the others go on ringing.

    Raises DialFailed like `ring_all`; `devices_of` gives a member's devices as they are when his turn comes.
    """
    timeout_s = min(group.timeout, timeout_s)
    if group.ring == "parallel":
        members = [Attempt(name, partial(ring_all, devices_of(name), timeout_s=timeout_s)) for name in group.members]
        return await ring_all(members, timeout_s=timeout_s, decline_ends=False)
    loop = asyncio.get_running_loop()
    until = loop.time() + timeout_s
    failures: list[DialFailed] = []
    for name in group.members:
        left_s = until - loop.time()
        if left_s <= 0:
            failures.append(_NO_ANSWER)
            break
        try:
            return await ring_all(devices_of(name), timeout_s=min(group.each, left_s))
        except DialFailed as failure:
            failures.append(failure)
    raise _most_telling(failures)


def _as_failure(error: BaseException) -> DialFailed:
    if isinstance(error, DialFailed):
        return error
    if isinstance(error, NegotiationError):
        return DialFailed(488, str(error), warning_code=error.warning_code)
    if isinstance(error, InsufficientBandwidth):
        return DialFailed(488, str(error), warning_code=370)
    if isinstance(error, LimitExceeded):
        return DialFailed(503, str(error), elsewhere=True)
    if isinstance(error, MediaServerError):
        return DialFailed(500, str(error))
    raise error


def _most_telling(failures: Sequence[DialFailed]) -> DialFailed:
    # Where one device was rung at all, that no line had room for another says nothing.
    failures = [failure for failure in failures if not failure.lacks_bandwidth] or failures
    return min(
        failures, key=lambda failure: (failure.code < 600, failure.code // 100, failure.code == 480, failure.code)
    )
