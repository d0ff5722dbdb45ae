"""Our registration at Kamailio with its outbound module: calls come over our connection, which is missed when it closes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.e2e.test_trunks import trunk, trunk_becomes
from tests.peers import kamailio_outbound, sipp
from tests.peers.daemon import Daemon, daemon
from tests.peers.kamailio_outbound import outbound_carrier

pytestmark = [pytest.mark.smoke, pytest.mark.timeout(240)]


async def test_calls_come_over_our_flow_and_a_flow_that_the_carrier_closes_is_formed_anew(tmp_path: Path) -> None:
    secret = tmp_path / "carrier.secret"
    secret.touch(mode=0o600)
    secret.write_text(kamailio_outbound.PASSWORD)
    async with sipp.callee(tmp_path, scenario="uas") as pbx, outbound_carrier(tmp_path) as carrier:
        changes = {
            "trunks": {
                "pbx": {"target": f"sip:127.0.0.1:{pbx.port}", "srtp": "never", "keep_alive": {"interval": "0s"}},
                "carrier": {
                    "target": f"sip:{carrier.host}:{carrier.port};transport=tcp",
                    "srtp": "never",
                    "credentials": {"user": kamailio_outbound.USER, "secret": {"file": str(secret)}},
                    "registration": {"expires": "120s"},
                    "keep_alive": {"interval": "0s"},
                },
            },
            "routes": [{"match": {"trunk": "carrier", "called": "4930*"}, "to": {"trunk": "pbx"}}],
        }
        async with daemon(tmp_path, changes=changes) as server:
            await trunk_becomes(server, "carrier", registration="registered")
            (flow,) = (await trunk(server, "carrier"))["flows"]
            assert (flow["reg_id"], flow["outbound"], flow["code"]) == (1, True, 200)
            await carrier.process.wait_for_log(r"registered over tcp .*outbound at .*reg-id=1")
            number = kamailio_outbound.USER
            async with sipp.caller(tmp_path, (carrier.host, carrier.port), user=number, calls=2, rate=10) as caller:
                first = await caller.finish()
            await carrier.process.wait_for_log(r"over its flow: sip:4930123@\S+ by sip:127\.0\.0\.1:\d+;transport=tcp")
            await metric_reaches(server, "mediaserver_sip_flows_formed_total", 1)  # the first ping has had its pong
            carrier.close_flow()
            await metric_reaches(server, 'mediaserver_sip_flows_lost_total{reason="closed"}', 1)
            await trunk_becomes(server, "carrier", registration="registered")
            async with sipp.caller(tmp_path, (carrier.host, carrier.port), user=number, calls=2, rate=10) as caller:
                second = await caller.finish()
    assert (first.successful, first.failed) == (2, 0)
    assert (second.successful, second.failed) == (2, 0)


async def metric_reaches(server: Daemon, name: str, value: float) -> None:
    async with asyncio.timeout(60):
        while (await server.metrics()).get(name, 0.0) < value:
            await asyncio.sleep(0.1)
