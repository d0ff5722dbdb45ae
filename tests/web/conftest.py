"""Fixtures of the browser tests: one Chromium for all of them, a backend for each."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.peers.chromium import Chromium, chromium
from tests.web.backend import Backend


@pytest.fixture
async def backend() -> AsyncIterator[Backend]:
    """The web side with media legs."""
    backend = Backend()
    await backend.start()
    yield backend
    await backend.stop()


@pytest.fixture
async def browser(tmp_path: Path) -> AsyncIterator[Chromium]:
    """Chromium with a fake camera and microphone, and permission to use them."""
    async with chromium(tmp_path) as running:
        yield running
