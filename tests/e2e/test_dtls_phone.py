"""Phones that agree on the keys of their media by DTLS (RFC 5763), without ICE: calling, called, and through a hold."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.e2e.house import contact_ended, metric_becomes, phone, phone_sees_and_hears
from tests.peers.baresip import baresip
from tests.peers.daemon import AGENT_PASSWORD, Daemon, daemon

ASSOCIATIONS = 'mediaserver_engine_transports_connected_total{srtp_profile="AEAD_AES_256_GCM"}'
ACKNOWLEDGED = 'mediaserver_sip_requests_received_total{method="ACK"}'


async def acknowledged(server: Daemon, count: float) -> None:
    """Until so many final answers to an INVITE have been acknowledged to the daemon."""
    async with asyncio.timeout(40):
        while (await server.metrics())[ACKNOWLEDGED] < count:
            await asyncio.sleep(0.05)


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_a_phone_with_dtls_calls_another_and_holds_it(tmp_path: Path) -> None:
    secret = tmp_path / "phones.secret"
    secret.touch(mode=0o600)
    secret.write_text(AGENT_PASSWORD)
    user = {"secret": {"file": str(secret)}, "srtp": "require", "srtp_keys": "dtls"}
    changes = {"users": {"erika": user, "agent": user}, "media": {"shards": 2}}
    async with (
        daemon(tmp_path, changes=changes) as server,
        baresip(phone(server, "udp", "dtls_srtp"), tmp_path) as callee,
        baresip(phone(server, "udp", "dtls_srtp", user="erika"), tmp_path) as caller,
    ):
        await asyncio.gather(callee.wait_registered(), caller.wait_registered())
        # One offer is the phone's, the other is ours; sound and picture are an association each, and so is their RTCP.
        await caller.dial(server.sip_uri("agent"))
        await asyncio.gather(caller.wait_established(), callee.wait_established())
        await metric_becomes(server, ASSOCIATIONS, 4)
        await asyncio.gather(phone_sees_and_hears(caller, seconds=1), phone_sees_and_hears(callee, seconds=1))
        before = (await server.metrics())[ACKNOWLEDGED]
        await caller.hold()
        await acknowledged(server, before + 1)
        await caller.resume()
        await acknowledged(server, before + 2)
        await asyncio.gather(phone_sees_and_hears(caller, seconds=2), phone_sees_and_hears(callee, seconds=2))
        assert (await server.metrics())[ASSOCIATIONS] == 4, "a hold keeps the associations"
        await caller.hangup()
        await contact_ended(server, by="caller", reason="hangup")
