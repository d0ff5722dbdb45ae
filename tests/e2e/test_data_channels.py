"""Data channels by topic: Chromium and aiortc in one room, what they may send, and one that floods or does not read."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from tests.e2e.house import metric_becomes
from tests.peers.chromium import Chromium, Tab, chromium
from tests.peers.daemon import Daemon, daemon
from tests.webrtc.test_data_sections import DATA, offer

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

CONNECT = """async ({url, token}) => {
    globalThis.pc = new RTCPeerConnection({bundlePolicy: "max-bundle"});
    globalThis.heard = [];
    globalThis.channels = {};
    globalThis.gone = [];
    globalThis.open = (name, options) => new Promise((resolve, reject) => {
        const channel = pc.createDataChannel(name, options);
        channel.binaryType = "arraybuffer";
        channel.onmessage = ({data}) => heard.push([name, typeof data === "string" ? data : data.byteLength]);
        channel.onclose = () => gone.push(name);
        channel.onopen = () => { for (const text of globalThis.eager ?? []) channel.send(text); resolve(channel.id); };
        channels[name] = channel;
    });
    const first = open("chat");
    await pc.setLocalDescription();
    const response = await fetch(url, {method: "POST", body: pc.localDescription.sdp,
        headers: {"Content-Type": "application/sdp", Authorization: "Bearer " + token}});
    if (response.status !== 201) throw new Error(response.status + " " + await response.text());
    const sdp = await response.text();
    await pc.setRemoteDescription({type: "answer", sdp});
    await first;
    return sdp;
}"""
"""A page with the channel `chat` and nothing else; `open` opens more. What is in `eager` is sent within `onopen`."""


async def page(server: Daemon, browser: Chromium, kind: str, token: str, eager: tuple[str, ...] = ()) -> Tab:
    tab = await browser.new_tab(f"{server.http_url}/agent")
    await tab.page.evaluate("(texts) => { globalThis.eager = texts; }", list(eager))
    answer = await tab.page.evaluate(CONNECT, {"url": f"{server.http_url}/v1/rooms/stage/{kind}", "token": token})
    assert "m=application" in answer
    assert "a=max-message-size:65536" in answer
    return tab


async def heard(tab: Tab, wanted: list[list[Any]], within_s: float = 40.0) -> None:
    """The page has heard exactly this since the last call."""
    deadline = asyncio.get_running_loop().time() + within_s
    while (found := await tab.page.evaluate("heard")) != wanted:
        assert asyncio.get_running_loop().time() < deadline, found
        await asyncio.sleep(0.05)
    await tab.page.evaluate("heard.length = 0")


class AiortcTalker:
    """aiortc, whose SCTP is its own, with one channel."""

    def __init__(self) -> None:
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.channel = self.connection.createDataChannel("chat")
        self.heard: list[str | bytes] = []
        self.opened = asyncio.Event()
        self.channel.on("open", self.opened.set)
        self.channel.on("message", self.heard.append)

    async def connect(self, url: str, token: str) -> None:
        await self.connection.setLocalDescription(await self.connection.createOffer())
        headers = {"Content-Type": "application/sdp", "Authorization": f"Bearer {token}"}
        async with (
            aiohttp.ClientSession() as http,
            http.post(url, data=self.connection.localDescription.sdp, headers=headers) as response,
        ):
            assert response.status == 201, await response.text()
            await self.connection.setRemoteDescription(RTCSessionDescription(await response.text(), "answer"))
        async with asyncio.timeout(40):
            await self.opened.wait()

    async def hears(self, wanted: list[str | bytes]) -> None:
        async with asyncio.timeout(40):
            while self.heard != wanted:
                await asyncio.sleep(0.02)
        self.heard.clear()


async def meet(sender: Tab, listeners: Sequence[Tab | AiortcTalker], name: str, within_s: float = 40.0) -> None:
    """Until the listeners are in the topic: a channel is open before the server has put it there."""
    deadline = asyncio.get_running_loop().time() + within_s
    greeting = ""
    while not all([await has_heard(listener, name, greeting) for listener in listeners]):
        assert asyncio.get_running_loop().time() < deadline, name
        greeting = f"hello {deadline - asyncio.get_running_loop().time()}"
        await sender.page.evaluate("([name, text]) => channels[name].send(text)", [name, greeting])
        await asyncio.sleep(0.1)
    for listener in listeners:
        await forget(listener)


async def has_heard(listener: Tab | AiortcTalker, name: str, text: str) -> bool:
    if isinstance(listener, AiortcTalker):
        return text in listener.heard
    return [name, text] in await listener.page.evaluate("heard")


async def forget(listener: Tab | AiortcTalker) -> None:
    if isinstance(listener, AiortcTalker):
        listener.heard.clear()
    else:
        await listener.page.evaluate("heard.length = 0")


async def test_pages_and_aiortc_talk_by_topic(tmp_path: Path) -> None:
    async with daemon(tmp_path, changes={"media": {"shards": 2}}) as server, chromium(tmp_path) as browser:
        token = await server.room_token("stage", "publish", "view")
        one, two = [await page(server, browser, "whip", token) for _ in range(2)]
        third = AiortcTalker()
        await third.connect(server.room_url("stage", "whip"), token)

        await meet(one, [two, third], "chat")
        await one.page.evaluate("channels.chat.send('grüß dich')")
        await heard(two, [["chat", "grüß dich"]])
        await third.hears(["grüß dich"])
        third.channel.send("from aiortc")
        third.channel.send(bytes(16 * 1024))
        for tab in (one, two):
            await heard(tab, [["chat", "from aiortc"], ["chat", 16 * 1024]])

        # Only who has opened the same label gets it; the largest message and an empty one pass.
        options = {"pointer": {"ordered": False, "maxRetransmits": 0}, "any": {"ordered": False}, "file": {}}
        for name, option in options.items():
            for tab in (one, two):
                await tab.page.evaluate("([name, option]) => open(name, option)", [name, option])
            await meet(one, [two], name)
        await one.page.evaluate("channels.file.send(new ArrayBuffer(65536)), channels.file.send('')")
        await heard(two, [["file", 65536], ["file", ""]])
        await one.page.evaluate("channels.pointer.send('10,20')")
        await heard(two, [["pointer", "10,20"]])
        await one.page.evaluate("for (let n = 0; n < 120; n++) channels.any.send('' + n)")
        async with asyncio.timeout(40):
            while len(got := await two.page.evaluate("heard")) < 120:
                await asyncio.sleep(0.05)
        assert sorted(int(text) for _, text in got) == list(range(120))
        await two.page.evaluate("heard.length = 0")
        assert third.heard == []

        # A closed channel is closed for the page, and its stream carries the next one.
        await asyncio.sleep(1)
        await two.page.evaluate("channels.chat.close()")
        async with asyncio.timeout(40):
            while await two.page.evaluate("gone") != ["chat"]:
                await asyncio.sleep(0.05)
        await one.page.evaluate("channels.chat.send('not for two')")
        await third.hears(["not for two"])
        await two.page.evaluate("open('chat')")
        await meet(one, [two], "chat")
        await one.page.evaluate("for (let n = 0; n < 30; n++) channels.chat.send('' + n)")
        await heard(two, [["chat", str(n)] for n in range(30)])
        await third.connection.close()


async def test_what_a_page_says_as_its_channel_opens_is_heard_in_order(tmp_path: Path) -> None:
    async with daemon(tmp_path, changes={"media": {"shards": 2}}) as server, chromium(tmp_path) as browser:
        token = await server.room_token("stage", "publish", "view")
        texts = tuple(str(number) for number in range(100))
        listener = await page(server, browser, "whip", token, eager=("alone",))
        # The first who comes hears what was said to nobody; what it says itself waits for its own place.
        eager = await page(server, browser, "whip", token, eager=texts)
        await heard(listener, [["chat", text] for text in texts])
        await heard(eager, [["chat", "alone"]])
        dropped = {name: value for name, value in (await server.metrics()).items() if "data_held" in name}
        assert len(dropped) == 6, dropped
        assert not any(dropped.values()), dropped


async def test_a_viewer_reads_along_and_a_flood_is_cut(tmp_path: Path) -> None:
    async with daemon(tmp_path) as server, chromium(tmp_path) as browser:
        token = await server.room_token("stage", "publish", "view")
        speaker = await page(server, browser, "whip", token)
        flooder = await page(server, browser, "whip", token)
        viewer = await page(server, browser, "whep", token)
        await viewer.page.evaluate("channels.chat.send('may I?')")
        await metric_becomes(server, 'mediaserver_engine_drops_total{reason="data_not_permitted",shard="0"}', 1)
        await speaker.page.evaluate("channels.chat.send('all')")
        await heard(viewer, [["chat", "all"]])
        began = asyncio.get_running_loop().time()
        await flooder.page.evaluate("for (let n = 0; n < 3000; n++) channels.chat.send('spam')")
        async with asyncio.timeout(60):
            while await flooder.page.evaluate("channels.chat.bufferedAmount") > 0 or await spam_heard(viewer) < 200:
                await asyncio.sleep(0.1)
        # What is on its way when the page has sent everything comes, too.
        spam = -1
        while (found := await spam_heard(viewer)) != spam:
            spam = found
            await asyncio.sleep(0.5)
        took = asyncio.get_running_loop().time() - began
        # 200 at once and 100 a second; what waits in a transport may come sooner than it was let through.
        assert spam <= 400 + 100 * took, (spam, took)
        dropped = {
            name: value for name, value in (await server.metrics()).items() if "data_rate_messages" in name and value
        }
        assert dropped, json.dumps(dropped)
        await speaker.page.evaluate("channels.chat.send('still here')")
        async with asyncio.timeout(40):
            while ["chat", "still here"] not in await viewer.page.evaluate("heard"):
                await asyncio.sleep(0.05)


async def spam_heard(tab: Tab) -> int:
    return len([text for _, text in await tab.page.evaluate("heard") if text == "spam"])


async def test_data_channels_that_are_switched_off_are_refused(tmp_path: Path) -> None:
    async with daemon(tmp_path, changes={"media": {"data_channels": False}}) as server:
        token = await server.room_token("stage", "publish")
        headers = {"Content-Type": "application/sdp", "Authorization": f"Bearer {token}"}
        async with (
            aiohttp.ClientSession() as http,
            http.post(server.room_url("stage", "whip"), data=offer(DATA % "0", mids="0"), headers=headers) as response,
        ):
            assert response.status == 422, await response.text()
