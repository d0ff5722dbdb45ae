"""The house's own software makes a call between the agent's page and a phone, puts it on hold, and ends it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.e2e.house import contact_ended, phone, sign_in_agent
from tests.peers.baresip import Baresip, baresip
from tests.peers.chromium import Tab, chromium, streams
from tests.peers.daemon import ADMIN_TOKEN, Daemon, daemon


async def ask(server: Daemon, method: str, path: str, body: object = None, *, token: str) -> tuple[int, Any]:
    status, text = await server.request(
        method, f"{server.admin_url}{path}", body="" if body is None else json.dumps(body), token=token
    )
    return status, json.loads(text)


async def until(listener: ClientConnection, type_: str) -> dict[str, Any]:
    """The next event of a type."""
    async with asyncio.timeout(40):
        while True:
            event: dict[str, Any] = json.loads(await listener.recv())
            if event["type"] == type_:
                return event


async def sound_at(tab: Tab, judged: Callable[[int], bool], complaint: str) -> None:
    """The page gets so many packets of sound in half a second, sooner or later."""
    packets = -1
    try:
        async with asyncio.timeout(40):
            while not judged(packets):
                found = streams(await tab.media_over(0.5), "inbound", "audio")
                packets = sum(item.packets for item in found)
    except TimeoutError:
        raise AssertionError(f"{complaint}: {packets} packets in half a second") from None


async def phone_sends(desk: Baresip, *, sends: bool) -> None:
    """baresip sends sound, or none for half a second: that is how it takes a re-INVITE with `inactive`."""
    try:
        async with asyncio.timeout(40):
            while True:
                before = (await desk.audio_stats()).packets_sent
                await asyncio.sleep(0.5)
                if ((await desk.audio_stats()).packets_sent > before) is sends:
                    return
    except TimeoutError:
        raise AssertionError(f"sends {not sends}: {await desk.call_text()}") from None


async def originated(server: Daemon, tab: Tab, desk: Baresip, token: str) -> dict[str, Any]:
    status, call = await ask(
        server, "POST", "/v1/calls", {"from": "agent", "to": "desk", "attributes": {"ticket": "7"}}, token=token
    )
    assert (status, call["state"]) == (201, "ringing"), call
    await tab.page.get_by_role("button", name="Answer").click()
    await desk.wait_established()
    return dict(call)


@pytest.mark.smoke
@pytest.mark.timeout(240)
async def test_software_of_the_house_makes_holds_and_ends_a_call(tmp_path: Path) -> None:
    secret = tmp_path / "desk.secret"
    secret.write_text("correct-horse-battery")
    secret.chmod(0o600)
    async with (
        daemon(tmp_path, changes={"users": {"desk": {"secret": {"file": str(secret)}}}}) as server,
        chromium(tmp_path) as browser,
        baresip(phone(server, "udp", "", user="desk"), tmp_path) as desk,
    ):
        await desk.wait_registered()
        tab = await sign_in_agent(server, browser)
        scopes = ["calls:read", "calls:write", "events"]
        _, made = await ask(server, "POST", "/v1/api-tokens", {"subject": "crm", "scopes": scopes}, token=ADMIN_TOKEN)
        token = made["token"]
        url = f"{server.admin_url.replace('http', 'ws')}/v1/events"
        async with connect(url, additional_headers={"Authorization": f"Bearer {token}"}) as listener:
            call = await originated(server, tab, desk, token)
            answered = await until(listener, "call.answered")
            assert answered["data"]["call_id"] == call["id"]
            await sound_at(tab, lambda packets: packets >= 10, "the page hears nothing of the phone")

            path = f"/v1/calls/{call['id']}"
            _, up = await ask(server, "GET", path, token=token)
            page = next(leg for leg in up["legs"] if leg["kind"] == "browser")
            assert (await ask(server, "POST", f"{path}/hold", {"leg": page["id"]}, token=token))[0] == 200
            await until(listener, "call.held")
            await sound_at(tab, lambda packets: packets == 0, "the page hears the phone while it is on hold")
            await ask(server, "POST", f"{path}/hold", {"leg": page["id"], "on": False}, token=token)
            await sound_at(tab, lambda packets: packets >= 10, "the page hears nothing after the hold")

            held = next(leg for leg in up["legs"] if leg["kind"] == "sip")
            await ask(server, "POST", f"{path}/hold", {"leg": held["id"]}, token=token)
            await phone_sends(desk, sends=False)
            await ask(server, "POST", f"{path}/hold", {"leg": held["id"], "on": False}, token=token)
            await phone_sends(desk, sends=True)
            await sound_at(tab, lambda packets: packets >= 10, "the page hears nothing after the phone's hold")

            status, _ = await ask(server, "POST", f"{path}/hangup", token=token)
            assert status == 200
            await desk.wait_closed()
            ended = await until(listener, "contact.ended")
            assert (ended["data"]["by"], ended["data"]["reason"]) == ("system", "api")
        await contact_ended(server, by="system", reason="api")
        # Whoever was away reads again what happened, in the same order.
        _, missed = await ask(server, "GET", f"/v1/events?after={answered['cursor']}", token=token)
        assert [event["type"] for event in missed["items"]][-1] == "contact.ended"
