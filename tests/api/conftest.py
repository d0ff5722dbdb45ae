"""Fixtures of the web resources' tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from tests.api.fakes import Stack


@pytest.fixture
async def stacks() -> AsyncIterator[Callable[..., Awaitable[Stack]]]:
    """Starts a stack with other limits than the default ones."""
    started: list[Stack] = []

    async def start(**options: Any) -> Stack:
        stack = Stack(**options)
        await stack.start()
        started.append(stack)
        return stack

    yield start
    for stack in started:
        await stack.stop()


@pytest.fixture
async def stack(stacks: Callable[..., Awaitable[Stack]]) -> Stack:
    """A stack with default limits."""
    return await stacks()
