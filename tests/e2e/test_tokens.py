"""What a bearer token allows and what the house's signature is worth, from the HTTP request to the record."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey
from playwright.async_api import expect

from tests.e2e.house import (
    ENTRY,
    contact_ended,
    metric_becomes,
    page_sees_and_hears,
    records,
    sign_in_agent,
    start_call,
)
from tests.e2e.page_socket import page_sockets
from tests.peers.aiortc_peer import whep_viewer, whip_publisher
from tests.peers.chromium import chromium
from tests.peers.daemon import ADMIN_TOKEN, Daemon, daemon

SITE_KEY = "the-house-signs-with-these-32-bytes-and-more"
MARKUP = "<img src=x onerror=alert(1)>"


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_a_room_token_opens_its_room_in_its_direction_until_it_expires(tmp_path: Path) -> None:
    async with daemon(tmp_path) as server:
        publish, view = await server.room_token("stage", "publish"), await server.room_token("stage", "view")
        short, expires_at = await _short_token(server)
        # The token is looked at before the offer, which is none: 4xx of another kind says that the token was good.
        assert await _offer(server, "stage", "whep", short) == 400
        for what, kind, room, token, wanted in (
            ("a viewer's token does not publish", "whip", "stage", view, 403),
            ("a publisher's token does not view", "whep", "stage", publish, 403),
            ("another room", "whip", "hall", publish, 403),
            ("another room", "whep", "hall", view, 403),
            ("the administration's token", "whip", "stage", ADMIN_TOKEN, 401),
            ("no token", "whep", "stage", "", 401),
            ("a changed token", "whep", "stage", _changed(view), 401),
        ):
            assert await _offer(server, room, kind, token) == wanted, (what, kind)
        await asyncio.sleep(max(0.0, expires_at + 1 - time.time()))
        assert await _offer(server, "stage", "whep", short) == 401
        metrics = await server.metrics()
        assert (
            metrics['mediaserver_room_sessions{kind="whip"}'] == metrics['mediaserver_room_sessions{kind="whep"}'] == 0
        )
        assert metrics['mediaserver_room_sessions_refused_total{kind="whip"}'] == 3
        assert metrics['mediaserver_room_sessions_refused_total{kind="whep"}'] == 6
        # And with the right ones it works.
        async with (
            whip_publisher(server.room_url("stage", "whip"), publish, video_codec="VP8"),
            whep_viewer(server.room_url("stage", "whep"), view, video_codec="VP8") as viewer,
        ):
            await viewer.wait_frames("video", 10)


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_what_the_house_signed_is_trusted_and_what_the_page_says_is_not(tmp_path: Path) -> None:
    token = _signed(SITE_KEY, sub="customer-4711", name="Erika Mustermann", attributes={"tier": "gold"})
    async with daemon(tmp_path, changes=_house(tmp_path)) as server, chromium(tmp_path) as browser:
        agent = await sign_in_agent(server, browser)
        visitor = await start_call(browser, f"{server.http_url}/call/demo?token={token}&tier=platinum&note={MARKUP}")
        dialog = agent.page.get_by_role("alertdialog")
        await expect(dialog.get_by_role("heading", name="Erika Mustermann")).to_be_visible()
        await expect(dialog).to_contain_text("Verified customer")
        signed, said = dialog.locator("dl").nth(0), dialog.locator("dl").nth(1)
        await expect(dialog.get_by_role("heading", name="Known about the customer", exact=True)).to_be_visible()
        await expect(signed).to_have_text("tiergold")
        await expect(dialog.get_by_role("heading", name="Said by the page unverified")).to_be_visible()
        await expect(said).to_have_text(f"tierplatinumnote{MARKUP}")
        # The token stays neither in the address bar nor in what the agent sees.
        assert "token=" not in visitor.page.url
        assert "token=" not in await dialog.inner_text()
        await agent.page.get_by_role("button", name="Answer").click()
        await page_sees_and_hears(visitor, seconds=2)
        await visitor.page.get_by_role("button", name="Hang up").click()
        await contact_ended(server, by="caller", reason="hangup")
        (record,) = await records(server)
        assert (record["caller"], record["attributes"]) == ("customer-4711", {"tier": "gold"})
        assert token not in server.log()
        assert visitor.errors == agent.errors == []


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_a_visitor_without_a_token_is_not_verified_whatever_the_page_says(tmp_path: Path) -> None:
    async with daemon(tmp_path, changes=_house(tmp_path)) as server, chromium(tmp_path) as browser:
        agent = await sign_in_agent(server, browser)
        visitor = await start_call(browser, f"{server.http_url}/call/demo?verified=true&name=Erika")
        dialog = agent.page.get_by_role("alertdialog")
        await expect(dialog.get_by_role("heading", name="Visitor")).to_be_visible()
        await expect(dialog).to_contain_text("Not verified")
        await expect(dialog).not_to_contain_text("Verified customer")
        await expect(dialog).not_to_contain_text("Known about the customer")
        await expect(dialog.locator("dl")).to_have_text("verifiedtruenameErika")
        await visitor.page.get_by_role("button", name="Hang up").click()
        await contact_ended(server, by="caller", reason="hangup")
        (record,) = await records(server)
        assert (record["caller"], record["attributes"]) == ("Visitor", {})


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_a_token_that_is_not_the_houses_begins_nothing(tmp_path: Path) -> None:
    now = int(time.time())
    async with daemon(tmp_path, changes=_house(tmp_path)) as server, page_sockets(server) as sockets:
        refused = {
            "signed by somebody else": _signed("somebody else's key, which has 32 bytes"),
            "expired": _signed(SITE_KEY, iat=now - 100, exp=now - 40),
            "for another audience": _signed(SITE_KEY, aud="shop"),
            "lives too long": _signed(SITE_KEY, exp=now + 3600),
            "without a reference": _signed(SITE_KEY, sub=None),
            "a room's": await server.room_token("stage", "publish", "view"),
            "none, where one is needed": None,
        }
        for what, token in refused.items():
            socket = await sockets.open()
            await socket.hello(entry="members", token=token)
            assert (await socket.refusal(), socket.close_code) == ("token", 1008), what
        await metric_becomes(server, 'mediaserver_web_sessions_refused_total{reason="token"}', len(refused))
        assert 'mediaserver_contacts_total{origin="browser"}' not in await server.metrics()
        socket = await sockets.open()
        await socket.hello(entry="members", token=_signed(SITE_KEY))
        await socket.receive("welcome")
        await socket.close()


def _house(directory: Path) -> dict[str, Any]:
    """The demo entry, one for known customers only, and the key that the house's site signs with."""
    secret = directory / "site.secret"
    secret.touch(mode=0o600)
    secret.write_text(SITE_KEY)
    members = {"to": {"user": "agent"}, "identity": "required"}
    return {
        **ENTRY,
        "entries": {**ENTRY["entries"], "members": members},
        "secrets": {"site_keys": {"portal": {"file": str(secret)}}},
    }


def _signed(key: str, **changes: object) -> str:
    """A site's token with some claims changed; None leaves one out."""
    now = int(time.time())
    claims = {"aud": "mediaserver", "sub": "customer-1", "iat": now, "exp": now + 60, **changes}
    kept = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode({"alg": "HS256", "kid": "portal"}, kept, OctKey.import_key(key.encode()))


def _changed(token: str) -> str:
    """The same token with one character of its claims changed."""
    head, claims, signature = token.split(".")
    return ".".join((head, ("A" if claims[10] != "A" else "B").join((claims[:10], claims[11:])), signature))


async def _short_token(server: Daemon) -> tuple[str, int]:
    """A viewer's token with six seconds to live, and when it expires, in POSIX seconds."""
    wanted = {"room": "stage", "directions": ["view"], "subject": "test", "lifetime_s": 6}
    _, text = await server.request("POST", f"{server.admin_url}/v1/tokens", body=json.dumps(wanted), token=ADMIN_TOKEN)
    answer = json.loads(text)
    return answer["token"], answer["expires_at"]


async def _offer(server: Daemon, room: str, kind: str, token: str) -> int:
    status, _ = await server.request(
        "POST", server.room_url(room, kind), body="no offer", token=token, content_type="application/sdp"
    )
    return status
