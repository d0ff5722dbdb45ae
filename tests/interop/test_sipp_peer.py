"""The SIPp harness against itself and against baresip: every scenario is seen to work without the server under test."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

import pytest

from tests.peers import sipp
from tests.peers.baresip import Phone, baresip
from tests.peers.namespace import LOOPBACK, Network, namespace

pytestmark = [pytest.mark.smoke, pytest.mark.timeout(240)]


@pytest.mark.parametrize("inside", [False, True], ids=["loopback", "namespace"])
async def test_a_port_that_is_taken_is_seen_without_taking_it(inside: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIPp gives up where it cannot bind its port, and it is looked at while SIPp starts."""

    def refuse(*_: object, **__: object) -> socket.socket:
        raise AssertionError("a socket of ours may be in the way")

    async with contextlib.AsyncExitStack() as stack:
        place: Network = await stack.enter_async_context(namespace()) if inside else LOOPBACK
        port = place.free_port()
        with place.open_socket(kind=socket.SOCK_DGRAM) as taken:
            taken.bind((place.address, port))
            monkeypatch.setattr(place, "open_socket", refuse)
            assert place.is_taken(place.address, port)
            assert not place.is_taken("127.0.0.3", port)
            taken.close()
            assert not place.is_taken(place.address, port)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_calls_are_placed_and_counted(tmp_path: Path, transport: str) -> None:
    async with (
        sipp.callee(tmp_path, transport=transport) as uas,
        sipp.caller(tmp_path, (uas.host, uas.port), transport=transport, calls=20, rate=20) as uac,
    ):
        result = await uac.finish()
        assert (result.exit_code, result.successful, result.failed, result.errors) == (0, 20, 0, "")
        assert (await uas.stop()).successful >= 19  # the last one may still wait for retransmissions


@pytest.mark.parametrize(
    ("caller", "callee", "caller_fails"),
    [("uac_cancel", "uas_cancelled", False), ("uac_waits_for_bye", "uas_hangs_up", False), ("uac", "uas_busy", True)],
)
async def test_scenarios_fit_each_other(tmp_path: Path, caller: str, callee: str, caller_fails: bool) -> None:
    async with (
        sipp.callee(tmp_path, scenario=callee, pause_ms=100) as uas,
        sipp.caller(tmp_path, (uas.host, uas.port), scenario=caller, calls=2, hold_ms=100) as uac,
    ):
        result = await uac.finish()
        assert result.failed == (2 if caller_fails else 0), result.errors
        assert result.successful == (0 if caller_fails else 2)


async def test_a_caller_is_not_content_with_an_answer_when_it_wants_503(tmp_path: Path) -> None:
    async with (
        sipp.callee(tmp_path) as uas,
        sipp.caller(tmp_path, (uas.host, uas.port), scenario="uac_refused_503") as uac,
    ):
        assert (await uac.finish()).failed == 1


async def test_a_phone_hears_the_tone_that_sipp_streams(tmp_path: Path) -> None:
    async with baresip(Phone("bob"), tmp_path) as phone:
        target = (phone.network.address, phone.sip_port)
        async with sipp.caller(tmp_path, target, user="bob", scenario="uac_talk", hold_ms=2000) as uac:
            assert (await uac.finish()).successful == 1
        assert phone.heard().last(1).share_of_tone(sipp.TONE_HZ) > 0.8
