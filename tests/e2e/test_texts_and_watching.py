"""A phone in a call writes with the page at the other end (RFC 3428), and watches another phone (RFC 6665)."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.e2e.house import phone
from tests.e2e.test_sip_over_websocket import becomes, house, registered
from tests.peers.baresip import baresip
from tests.peers.chromium import Tab, chromium
from tests.peers.daemon import daemon
from tests.peers.web_phone import web_phones

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

CHAT = """(() => {
  const Original = window.RTCPeerConnection;
  window.heard = [];
  window.RTCPeerConnection = class RTCPeerConnection extends Original {
    constructor(...args) {
      super(...args);
      window.chat = this.createDataChannel('chat');
      window.chat.onmessage = ({data}) => window.heard.push(data);
    }
  };
})();"""
"""A page that calls by its own script, with a chat besides."""


async def test_a_page_and_a_phone_write_to_each_other(tmp_path: Path) -> None:
    async with (
        web_phones() as site,
        daemon(
            tmp_path, changes=house(tmp_path, site.origin) | {"entries": {"demo": {"to": {"user": "web"}}}}
        ) as server,
        chromium(tmp_path) as browser,
    ):
        desk = await registered(site, browser, "jssip", server)
        context = await browser.new_context()
        await context.add_init_script(CHAT)
        visitor: Tab = await browser.new_tab(f"{server.http_url}/call/demo", context=context)
        await visitor.page.get_by_role("button", name="Video call").click()
        await desk.said("confirmed")
        await visitor.page.wait_for_function("window.chat?.readyState === 'open'")
        await visitor.page.evaluate("chat.send(JSON.stringify({text: 'grüß dich ☺'}))")
        await desk.said("message grüß dich ☺")

        async def answered() -> bool:
            # The channel may open for the page before the server has heard of it: until then nobody is there.
            await desk.do("message", "sip:visitor@mediaserver", "and you")
            heard = [json.loads(text) for text in await visitor.page.evaluate("heard")]
            return {"from": "web", "text": "and you"} in heard

        await becomes(answered, "the page is not answered")
        await desk.said("message sent")
        await desk.do("hangup")
        await desk.said("ended")

        async def refused() -> bool:
            # The client says that it has ended before the server has heard of it.
            await desk.do("message", "sip:visitor@mediaserver", "still there?")
            await asyncio.sleep(1)
            said: bool = await desk.page.evaluate("said.includes('message failed Unavailable')")
            return said

        await becomes(refused, "a text to nobody is not refused")


async def test_a_phone_watches_another_register_talk_and_hang_up(tmp_path: Path) -> None:
    async with (
        web_phones() as site,
        daemon(tmp_path, changes=house(tmp_path, site.origin)) as server,
        chromium(tmp_path) as browser,
    ):
        desk = await registered(site, browser, "jssip", server)
        await desk.do("watch", "sip:agent@mediaserver", "presence", "application/pidf+xml")
        await desk.do("watch", "sip:agent@mediaserver", "dialog", "application/dialog-info+xml")
        await desk.said("presence closed")
        await desk.said("dialog")
        async with baresip(replace(phone(server, "udp", ""), video=(), answer_after_s=0.2), tmp_path) as agent:
            await agent.wait_registered()
            await desk.said("presence open")
            await desk.do("call", "sip:agent@mediaserver")
            await desk.said("dialog confirmed")
            await desk.said("presence open On the phone")
            await desk.do("hangup")
            await agent.wait_closed()
            await desk.said("dialog terminated")
        metrics = await server.metrics()
        assert metrics['mediaserver_sip_subscriptions_total{package="dialog"}'] == 1
