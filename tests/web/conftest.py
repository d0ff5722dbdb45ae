"""Fixtures of the browser tests: one Chromium for the tests of a module, pages and a backend for each of them.

Who shares a browser shares the event loop that drives it: these modules are marked ``asyncio(loop_scope="module")``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.peers.chromium import Chromium, chromium
from tests.web.backend import Backend


@pytest_asyncio.fixture(loop_scope="module")
async def backend() -> AsyncIterator[Backend]:
    """The web side with media legs."""
    backend = Backend()
    await backend.start()
    yield backend
    await backend.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running_browser(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Chromium]:
    """Chromium with a fake camera and microphone, and permission to use them."""
    async with chromium(tmp_path_factory.mktemp("chromium")) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def browser(running_browser: Chromium) -> AsyncIterator[Chromium]:
    """The same, with cookies, permissions and pages of this test alone."""
    yield running_browser
    await running_browser.close_tabs()
