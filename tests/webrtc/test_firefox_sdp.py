"""Firefox takes our answers and offers, and we take its answers; only descriptions are exchanged, no media."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from mediaserver.sdp.codecs import KNOWN
from mediaserver.sdp.description import Direction, Fingerprint
from mediaserver.sdp.parser import parse
from mediaserver.webrtc.negotiation import LocalIceParams, MediaPolicy, Negotiation
from tests.peers.firefox import Firefox, firefox
from tests.peers.local_page import local_page
from tests.peers.namespace import namespace
from tests.webrtc.page_script import SCRIPT

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240), pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Firefox, str]]:
    directory = tmp_path_factory.mktemp("firefox")
    async with namespace() as inside, local_page(inside) as url, firefox(directory, inside) as browser:
        yield browser, url


@pytest_asyncio.fixture(loop_scope="module")
async def browser(running: tuple[Firefox, str]) -> Firefox:
    """A page that knows nothing of the ones before."""
    browser, url = running
    await browser.goto(url)
    await browser.evaluate(f"() => {{ {SCRIPT} }}")
    return browser


def server(policy: MediaPolicy | None = None) -> Negotiation:
    return Negotiation(ice("first"), policy or MediaPolicy(), cname="server")


def ice(name: str) -> LocalIceParams:
    fingerprint = Fingerprint("sha-256", bytes(range(32)))
    return LocalIceParams(f"{name}0123456789", "secret" * 4, (("10.77.0.9", 10000),), fingerprint)


async def by_mid(browser: Firefox) -> dict[str, dict[str, Any]]:
    seen = await browser.evaluate("() => look()")
    assert seen["state"] == "stable"
    return {found["mid"]: found for found in seen["transceivers"]}


async def test_firefox_takes_answer_reoffer_and_restart(browser: Firefox) -> None:
    negotiation = server()
    await browser.evaluate("() => start('sendrecv')")
    negotiation.handle_offer(await browser.evaluate("() => offer()"))
    answer = negotiation.create_answer(directions={"1": Direction.INACTIVE})
    await browser.evaluate("(sdp) => accept(sdp)", answer)
    seen = await by_mid(browser)
    assert (seen["0"]["direction"], seen["1"]["direction"]) == ("sendrecv", "inactive")

    offer = negotiation.create_offer(
        prefer={"audio": [KNOWN["PCMU"]], "video": [KNOWN["VP8"]]}, directions={"1": Direction.SENDRECV}
    )
    text = await browser.evaluate("(sdp) => answer(sdp)", offer)
    changes = negotiation.handle_answer(text)
    assert (changes.codecs[:1], changes.directions, changes.ice_restart) == (("0",), ("1",), False)
    assert negotiation.transport is not None
    assert negotiation.transport.dtls_role == "server"
    assert parse(text).media[0].formats[0] == "0"
    assert [section.send[0].name for section in negotiation.sections] == ["PCMU", "VP8"]
    assert (await by_mid(browser))["1"]["direction"] == "sendrecv"

    changes = negotiation.handle_offer(await browser.evaluate("() => offer({ iceRestart: true })"))
    assert (changes.ice_restart, changes.fingerprint) == (True, False)
    negotiation.local = ice("second")
    await browser.evaluate("(sdp) => accept(sdp)", negotiation.create_answer())
    assert parse((await browser.evaluate("() => connection.remoteDescription"))["sdp"]).media[0].formats[0] == "0"


@pytest.mark.parametrize("kind", ["sendonly", "recvonly", "simulcast"])
async def test_firefox_publishes_and_views(browser: Firefox, kind: str) -> None:
    ours = Direction.SENDONLY if kind == "recvonly" else Direction.RECVONLY
    negotiation = server(MediaPolicy(directions={"audio": ours, "video": ours}))
    call = "() => start('sendonly', { simulcast: true })" if kind == "simulcast" else f"() => start('{kind}')"
    await browser.evaluate(call)
    negotiation.handle_offer(await browser.evaluate("() => offer()"))
    await browser.evaluate("(sdp) => accept(sdp)", negotiation.create_answer())
    seen = await by_mid(browser)
    assert {found["direction"] for found in seen.values()} == {ours.reversed.value}
    assert [section.send[0].name for section in negotiation.sections] == ["opus", "VP8"]


async def test_firefox_takes_a_first_offer_of_ours(browser: Firefox) -> None:
    negotiation = server()
    await browser.evaluate("() => { window.connection = new RTCPeerConnection(); }")
    text = await browser.evaluate("(sdp) => answer(sdp)", negotiation.create_offer(add=["audio", "video"]))
    assert negotiation.handle_answer(text).added == ("s0", "s1")
    assert negotiation.sections[1].direction is Direction.SENDONLY


async def test_firefox_lacks_what_other_tests_leave_out_for_it(browser: Firefox) -> None:
    """PEERS.md names these; when one of them fails, there is something more to try with Firefox."""
    asked = "new RTCPeerConnection().addTransceiver('video', {sendEncodings: [{scalabilityMode: 'L3T3_KEY'}]})"
    assert await browser.evaluate(f"() => {asked}.sender.getParameters().encodings[0].scalabilityMode") is None
    sends = await browser.evaluate("() => RTCRtpSender.getCapabilities('video').codecs.map((codec) => codec.mimeType)")
    assert "video/VP8" in sends
    assert "video/H264" not in sends
