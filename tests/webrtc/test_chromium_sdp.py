"""Chromium takes our answers and offers, and we take its answers; only descriptions are exchanged, no media."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright

from mediaserver.sdp.codecs import KNOWN
from mediaserver.sdp.description import Direction, Fingerprint
from mediaserver.sdp.parser import parse
from mediaserver.webrtc.negotiation import LocalIceParams, MediaPolicy, Negotiation
from tests.webrtc.page_script import SCRIPT

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240), pytest.mark.asyncio(loop_scope="module")]

ARGUMENTS = (
    "--no-sandbox",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--disable-gpu",
    "--mute-audio",
    "--disable-background-networking",
    "--allow-loopback-in-peer-connection",
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path="/usr/bin/chromium", args=ARGUMENTS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser: Browser) -> AsyncIterator[Page]:
    page = await browser.new_page()
    await page.route("http://localhost/**", lambda route: route.fulfill(body="<title>sdp</title>"))
    await page.goto("http://localhost/")
    await page.evaluate(SCRIPT)
    yield page
    await page.close()


def server(policy: MediaPolicy | None = None) -> Negotiation:
    return Negotiation(ice("first"), policy or MediaPolicy(), cname="server")


def ice(name: str) -> LocalIceParams:
    addresses = (("127.0.0.1", 10000), ("::1", 10000))
    return LocalIceParams(f"{name}0123456789", "secret" * 4, addresses, Fingerprint("sha-256", bytes(range(32))))


async def look(page: Page) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    seen = await page.evaluate("look()")
    return seen, {found["mid"]: found for found in seen["transceivers"]}


async def test_chromium_takes_our_answer_with_its_video_inactive(page: Page) -> None:
    negotiation = server()
    await page.evaluate("start('sendrecv')")
    negotiation.handle_offer(await page.evaluate("offer()"))
    await page.evaluate("accept", negotiation.create_answer(directions={"1": Direction.INACTIVE}))
    seen, by_mid = await look(page)
    assert seen["state"] == "stable"
    assert by_mid["0"]["direction"] == "sendrecv"
    assert by_mid["1"]["direction"] == "inactive"
    assert by_mid["0"]["sends"][0] == "audio/opus"
    assert seen["tracks"] == [["audio", "0", 1]]
    assert "urn:ietf:params:rtp-hdrext:sdes:mid" in by_mid["0"]["extensions"]


async def test_chromium_takes_a_reoffer_that_narrows_codecs_and_starts_video(page: Page) -> None:
    negotiation = server()
    await page.evaluate("start('sendrecv')")
    negotiation.handle_offer(await page.evaluate("offer()"))
    await page.evaluate("accept", negotiation.create_answer(directions={"1": Direction.INACTIVE}))
    before = {section.mid: section for section in negotiation.sections}

    offer = negotiation.create_offer(
        prefer={"audio": [KNOWN["PCMU"]], "video": [KNOWN["H264/0"]]}, directions={"1": Direction.SENDRECV}
    )
    answer = await page.evaluate("answer", offer)
    changes = negotiation.handle_answer(answer)

    assert (changes.codecs, changes.directions, changes.ice_restart) == (("0", "1"), ("1",), False)
    audio, video = negotiation.sections
    assert [codec.name for codec in audio.send] == ["PCMU", "telephone-event"]
    assert video.send[0].fmtp["packetization-mode"] == "0"
    assert video.direction is Direction.SENDRECV
    assert {codec.pt for codec in video.send} <= {codec.pt for codec in before["1"].capable}
    assert (video.local_ssrc, audio.local_ssrc) == (before["1"].local_ssrc, before["0"].local_ssrc)
    assert parse(answer).media[0].formats[0] == "0"
    seen, by_mid = await look(page)
    assert seen["state"] == "stable"
    assert by_mid["0"]["sends"][0] == "audio/PCMU"
    assert by_mid["0"]["receives"][0] == "audio/PCMU"
    assert set(by_mid["1"]["sends"]) == {"video/H264", "video/rtx"}
    assert "packetization-mode=0" in by_mid["1"]["formats"][0]
    assert by_mid["1"]["direction"] == "sendrecv"
    assert negotiation.transport is not None
    assert negotiation.transport.dtls_role == "server"


async def test_chromium_puts_the_preferred_codec_first_when_others_stay(page: Page) -> None:
    negotiation = server()
    await page.evaluate("start('sendrecv')")
    negotiation.handle_offer(await page.evaluate("offer()"))
    await page.evaluate("accept", negotiation.create_answer())
    prefer = {"audio": [KNOWN["PCMA"]], "video": [KNOWN["VP8"]]}
    negotiation.handle_answer(await page.evaluate("answer", negotiation.create_offer(prefer=prefer, narrow=False)))
    _, by_mid = await look(page)
    assert by_mid["0"]["sends"][0] == "audio/PCMA"
    assert "audio/opus" in by_mid["0"]["sends"]
    assert by_mid["1"]["sends"][0] == "video/VP8"
    assert "video/H264" in by_mid["1"]["sends"]
    assert [section.send[0].name for section in negotiation.sections] == ["PCMA", "VP8"]


async def test_narrowing_survives_an_ice_restart_of_chromium(page: Page) -> None:
    negotiation = server()
    await page.evaluate("start('sendrecv')")
    negotiation.handle_offer(await page.evaluate("offer()"))
    await page.evaluate("accept", negotiation.create_answer())
    offer = negotiation.create_offer(prefer={"audio": [KNOWN["PCMU"]]})
    negotiation.handle_answer(await page.evaluate("answer", offer))

    changes = negotiation.handle_offer(await page.evaluate("offer({ iceRestart: true })"))
    assert (changes.ice_restart, changes.fingerprint, changes.codecs) == (True, False, ())
    negotiation.local = ice("second")
    await page.evaluate("accept", negotiation.create_answer())
    seen, by_mid = await look(page)
    assert seen["state"] == "stable"
    assert by_mid["0"]["sends"][0] == "audio/PCMU"


async def test_chromium_takes_a_section_that_we_add_and_one_that_it_stops(page: Page) -> None:
    negotiation = server(MediaPolicy(sections={"audio": 1, "video": 2}))
    await page.evaluate("start('sendrecv')")
    negotiation.handle_offer(await page.evaluate("offer()"))
    await page.evaluate("accept", negotiation.create_answer())

    changes = negotiation.handle_answer(await page.evaluate("answer", negotiation.create_offer(add=["video"])))
    assert changes.added == ("s0",)
    assert negotiation.section("s0").direction is Direction.SENDONLY

    await page.evaluate("connection.getTransceivers().find((found) => found.mid === '1').stop()")
    changes = negotiation.handle_offer(await page.evaluate("offer()"))
    assert changes.removed == ("1",)
    await page.evaluate("accept", negotiation.create_answer())

    changes = negotiation.handle_answer(await page.evaluate("answer", negotiation.create_offer(add=["video"])))
    assert len(negotiation.sections) == 3
    assert negotiation.sections[1].mid == changes.added[0]
    seen, _ = await look(page)
    assert seen["state"] == "stable"


async def test_a_simulcast_publisher_keeps_its_layers(page: Page) -> None:
    negotiation = server(MediaPolicy(directions={"audio": Direction.RECVONLY, "video": Direction.RECVONLY}))
    await page.evaluate("start('sendonly', { simulcast: true })")
    negotiation.handle_offer(await page.evaluate("offer()"))
    await page.evaluate("accept", negotiation.create_answer())
    _, by_mid = await look(page)
    assert negotiation.sections[1].remote_rids == ("h", "l")
    assert by_mid["1"]["direction"] == "sendonly"
    assert by_mid["1"]["encodings"] == 2


async def test_a_simulcast_publisher_goes_on_with_one_layer_where_layers_are_not_taken(page: Page) -> None:
    directions = {"audio": Direction.RECVONLY, "video": Direction.RECVONLY}
    negotiation = server(MediaPolicy(directions=directions, simulcast=0))
    await page.evaluate("start('sendonly', { simulcast: true })")
    negotiation.handle_offer(await page.evaluate("offer()"))
    await page.evaluate("accept", negotiation.create_answer())
    _, by_mid = await look(page)
    assert by_mid["1"]["direction"] == "sendonly"
    assert by_mid["1"]["encodings"] == 1


async def test_a_viewer_gets_the_codecs_of_the_room_and_nothing_it_could_send(page: Page) -> None:
    only = {"audio": (KNOWN["opus"],), "video": (KNOWN["VP8"],)}
    policy = MediaPolicy(directions={"audio": Direction.SENDONLY, "video": Direction.SENDONLY}, only=only)
    negotiation = server(policy)
    await page.evaluate("start('recvonly')")
    negotiation.handle_offer(await page.evaluate("offer()"))
    answer = negotiation.create_answer()
    await page.evaluate("accept", answer)
    seen, by_mid = await look(page)
    assert seen["tracks"] == [["audio", "0", 1], ["video", "1", 1]]
    assert by_mid["1"]["direction"] == "recvonly"
    assert by_mid["1"]["receives"][0] == "video/VP8"
    assert [codec.name for codec in parse(answer).media[1].codecs] == ["VP8", "rtx"]


async def test_chromium_refused_its_first_section_goes_on_with_the_second(page: Page) -> None:
    negotiation = server(MediaPolicy(audio=()))
    await page.evaluate("start('sendrecv', { bundlePolicy: 'balanced' })")
    negotiation.handle_offer(await page.evaluate("offer()"))
    await page.evaluate("accept", negotiation.create_answer())
    seen, _ = await look(page)
    assert seen["state"] == "stable"
    assert [section.rejected for section in negotiation.sections] == [True, False]


async def test_chromium_takes_a_first_offer_of_ours_and_crossing_offers_settle(page: Page) -> None:
    negotiation = server()
    await page.evaluate("window.connection = new RTCPeerConnection(); connection.ontrack = () => 0")
    negotiation.handle_answer(await page.evaluate("answer", negotiation.create_offer(add=["audio", "video"])))
    assert [section.mid for section in negotiation.sections] == ["s0", "s1"]
    assert negotiation.transport is not None
    assert negotiation.transport.dtls_role == "server"

    mine = negotiation.create_offer()
    await page.evaluate("offer()")
    # The page is polite: setRemoteDescription with an offer rolls its own back.
    negotiation.handle_answer(await page.evaluate("answer", mine))
    seen, by_mid = await look(page)
    assert seen["state"] == "stable"
    assert by_mid["s0"]["direction"] == "recvonly"
