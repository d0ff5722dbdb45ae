"""What linphone sends beside its sound: keys by INFO, to the API and to another phone, and texts to whom it talks to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from tests.e2e.test_call_control import ask, until
from tests.e2e.test_live_text import secret
from tests.peers.daemon import ADMIN_TOKEN, AGENT_PASSWORD, Daemon, daemon
from tests.peers.linphone import Linphone, linphone

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(150)]


@asynccontextmanager
async def talking(folder: Path, *, info_keys: bool = False) -> AsyncIterator[tuple[Daemon, Linphone, Linphone]]:
    """Anna has called the agent; both are linphones, Anna's with keys as she wants them."""
    changes = {"users": {"anna": {"secret": {"file": str(secret(folder))}}}}
    async with (
        daemon(folder, changes=changes) as server,
        linphone("agent", server.sip_server(), AGENT_PASSWORD, folder) as agent,
        linphone("anna", server.sip_server(), AGENT_PASSWORD, folder, info_keys=info_keys) as anna,
    ):
        anna.order(f"call sip:agent@{server.sip_server()}")
        for phone in (anna, agent):
            await phone.wait_for("Call 1 .*connected")
        yield server, anna, agent


async def test_a_key_that_linphone_says_by_info_is_told_by_the_api_and_reaches_the_other_phone(tmp_path: Path) -> None:
    async with talking(tmp_path, info_keys=True) as (server, anna, agent):
        scopes = ["calls:read", "events"]
        _, made = await ask(server, "POST", "/v1/api-tokens", {"subject": "crm", "scopes": scopes}, token=ADMIN_TOKEN)
        url = f"{server.admin_url.replace('http', 'ws')}/v1/events"
        async with connect(url, additional_headers={"Authorization": f"Bearer {made['token']}"}) as listener:
            anna.order("5")
            told = await until(listener, "call.dtmf")
        assert told["data"]["digit"] == "5"
        await anna.wait_for("application/dtmf-relay")
        await agent.wait_for("(?i)receiv.*(tone|dtmf|digit).*5")


async def test_a_text_of_linphone_reaches_the_phone_that_it_talks_to(tmp_path: Path) -> None:
    async with talking(tmp_path) as (server, anna, agent):
        anna.order(f"chat sip:agent@{server.sip_server()} see you at nine")
        await agent.wait_for("see you at nine")
