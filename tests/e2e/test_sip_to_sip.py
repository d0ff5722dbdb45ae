"""SIPp to SIPp through the daemon: the B2BUA under load, with media relayed."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest

from benchmarks.sip_load import place_calls, steady
from mediaserver.sip.uri import parse_sip_uri
from tests.e2e.house import contact_ended
from tests.peers.daemon import daemon
from tests.peers.sipp import callee, caller


def trunk(port: int, transport: str) -> dict[str, Any]:
    """A trunk that is SIPp in both roles, and a line that sends every number to it."""
    return {
        "trunks": {
            "pbx": {
                "peers": ["127.0.0.1/32"],
                "target": f"sip:127.0.0.1:{port}",
                "transport": transport,
                "srtp": "never",
                "keep_alive": {"interval": "0s"},
                "max_calls": 1000,
            }
        },
        "routes": [{"match": {"trunk": "pbx"}, "to": {"trunk": "pbx"}}],
    }


@pytest.mark.smoke
@pytest.mark.timeout(240)
async def test_a_sipp_call_goes_through_and_sound_comes_back(tmp_path: Path) -> None:
    async with (
        callee(tmp_path, scenario="uas", echo=True) as service,
        daemon(tmp_path, changes=trunk(service.port, "udp")) as server,
        caller(tmp_path, (server.host, server.ports.sip), scenario="uac_talk", calls=1, hold_ms=1500) as phone,
    ):
        result = await phone.finish()
        await contact_ended(server, by="caller", reason="hangup")
    assert (result.successful, result.failed) == (1, 0)


@pytest.mark.e2e
@pytest.mark.timeout(240)
@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_500_calls_at_50_per_second_all_succeed(tmp_path: Path, transport: str) -> None:
    async with (
        callee(tmp_path, scenario="uas", transport=transport) as service,
        daemon(tmp_path, changes=trunk(service.port, transport)) as server,
        caller(
            tmp_path,
            (server.host, server.ports.sip),
            scenario="uac",
            transport=transport,
            calls=500,
            rate=50,
            hold_ms=1000,
        ) as load,
    ):
        result = await load.finish()
    assert (result.successful, result.failed) == (500, 0)


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_500_calls_at_50_per_second_over_tls_all_succeed(tmp_path: Path) -> None:
    async with (
        callee(tmp_path, scenario="uas") as service,
        daemon(tmp_path, changes=trunk(service.port, "udp")) as server,
    ):
        result = await place_calls(
            parse_sip_uri(server.sip_uri("service", "tls")),
            transport="tls",
            arrivals=steady(500, 50),
            hold_s=1.0,
            tls=ssl.create_default_context(cafile=server.certificates.ca),
        )
    assert (result.completed, dict(result.failures)) == (500, {})
