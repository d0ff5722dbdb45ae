"""Firefox takes our answers and offers, and we take its answers; only descriptions are exchanged, no media."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mediaserver.sdp.codecs import KNOWN
from mediaserver.sdp.description import Direction, Fingerprint
from mediaserver.sdp.parser import parse
from mediaserver.webrtc.negotiation import LocalIceParams, MediaPolicy, Negotiation
from tests.peers.firefox import Firefox, firefox
from tests.peers.local_page import local_page
from tests.peers.namespace import namespace
from tests.webrtc.page_script import SCRIPT

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]


@pytest.fixture
async def browser(tmp_path: Path) -> AsyncIterator[Firefox]:
    async with namespace() as inside, local_page(inside) as url, firefox(tmp_path, inside) as browser:
        await browser.goto(url)
        await browser.evaluate(f"() => {{ {SCRIPT} }}")
        yield browser


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
