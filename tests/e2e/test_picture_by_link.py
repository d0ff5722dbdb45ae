"""Somebody who talks by phone opens a link of the house: the browser brings the picture into the same contact."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import expect

from tests.e2e.house import ENTRY, contact_ended, phone, records, show_my_camera, sign_in_agent, start_call
from tests.e2e.members import until
from tests.e2e.tones import hears, of_page, of_phone
from tests.peers.baresip import baresip
from tests.peers.chromium import Tab, chromium, streams
from tests.peers.daemon import ADMIN_TOKEN, Daemon, daemon
from tests.peers.tone import write_tone

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

PHONE_HZ, PAGE_HZ = 440, 1000
ALL = (PHONE_HZ, PAGE_HZ)


async def ask(server: Daemon, method: str, path: str, body: object = None) -> Any:
    """Something of the administration's API, which must be possible."""
    text = "" if body is None else json.dumps(body)
    status, answer = await server.request(method, f"{server.admin_url}{path}", body=text, token=ADMIN_TOKEN)
    assert status in (200, 201), answer
    return json.loads(answer)


async def sees(tab: Tab) -> None:
    """A moving picture, sooner or later."""

    async def frames() -> int:
        return sum(item.frames for item in streams(await tab.media(), "inbound", "video"))

    begun = await frames()

    async def moves() -> bool:
        return await frames() >= begun + 20

    await until(moves, frames, 30)


async def test_a_phone_call_gets_a_picture_by_a_browser_in_the_same_contact(tmp_path: Path) -> None:
    tone = write_tone(tmp_path / "page.wav", rate=48000, channels=1, seconds=150, hz=PAGE_HZ)
    secret = tmp_path / "erika.secret"
    secret.touch(mode=0o600)
    secret.write_text("correct-horse-battery")
    changes = ENTRY | {"users": {"erika": {"secret": {"file": str(secret)}}}}
    async with (
        daemon(tmp_path, changes=changes) as server,
        chromium(tmp_path, flags=[f"--use-file-for-fake-audio-capture={tone}"]) as browser,
        baresip(phone(server, "udp", "", user="erika", video=(), tone_hz=PHONE_HZ), tmp_path) as caller,
    ):
        await caller.wait_registered(30)
        agent = await sign_in_agent(server, browser)
        await caller.dial(server.sip_uri("agent"))
        await agent.page.get_by_role("button", name="Answer").click()
        await caller.wait_established(30)
        await hears(of_page(agent, ALL), PHONE_HZ)
        assert streams(await agent.media(), "inbound", "video") == []

        (call,) = (await ask(server, "GET", "/v1/calls"))["items"]
        link = await ask(server, "POST", f"/v1/calls/{call['id']}/links", {"entry": "demo"})
        visitor = await start_call(browser, f"{server.http_url}{link['path']}")
        assert "link" not in visitor.page.url
        await show_my_camera(visitor)
        await sees(agent)
        await agent.page.get_by_role("button", name="Camera").click()
        await sees(visitor)
        assert not [item for item in await visitor.media() if item.kind == "audio" and item.packets]
        await hears(of_page(agent, ALL), PHONE_HZ)
        await hears(of_phone(caller, ALL), PAGE_HZ)
        assert {(item.connection, item.kind) for item in streams(await agent.media(), "inbound", "audio")} == {
            (0, "audio")
        }

        (seen,) = (await ask(server, "GET", "/v1/calls"))["items"]
        assert seen["contact_id"] == call["contact_id"]
        assert [(leg["kind"], leg["accompanies"]) for leg in seen["legs"]] == [
            ("sip", None),
            ("browser", None),
            ("browser", seen["legs"][0]["id"]),
        ]

        again = await start_call(browser, f"{server.http_url}{link['path']}")
        await expect(again.page.get_by_text("This link has been used")).to_be_visible()

        await visitor.page.get_by_role("button", name="Hang up").click()
        await hears(of_page(agent, ALL), PHONE_HZ)
        await caller.hangup()
        await contact_ended(server, by="caller", reason="hangup")
        (record,) = await records(server)
        assert (record["contact_id"], record["consent"]["camera"]) == (call["contact_id"], True)
        assert [leg["kind"] for leg in record["legs"]] == ["sip", "browser", "browser"]
        assert agent.errors == visitor.errors == []
