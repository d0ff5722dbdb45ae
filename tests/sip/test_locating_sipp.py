"""Calls to a domain: SRV leads past a port where nobody listens and a SIPp that is overloaded to one that answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from mediaserver.sip.config import Bind, SipConfig, SipLimits, Timers
from mediaserver.sip.dns_client import DnsClient
from mediaserver.sip.events import Answered, Progress
from mediaserver.sip.resolver import Resolver
from mediaserver.sip.uri import parse_sip_uri
from mediaserver.sip.user_agent import UserAgent
from tests.peers import sipp
from tests.peers.dns_server import dns_server
from tests.peers.namespace import LOOPBACK
from tests.sip.conftest import Counts, Reader, Users, party
from tests.sip.test_sipp import SDP

pytestmark = [pytest.mark.smoke, pytest.mark.timeout(240)]


async def test_a_call_to_a_domain_passes_what_is_dead_or_busy(tmp_path: Path) -> None:
    counts = Counts()
    async with (
        sipp.callee(tmp_path, scenario="uas_unavailable") as busy,
        sipp.callee(tmp_path, scenario="uas") as good,
        dns_server(
            {
                ("carrier.test", "NAPTR"): ['10 10 "s" "SIP+D2U" "" _sip._udp.carrier.test.'],
                ("_sip._udp.carrier.test", "SRV"): [
                    f"10 0 {LOOPBACK.free_port()} host.test.",
                    f"20 0 {busy.port} host.test.",
                    f"30 0 {good.port} host.test.",
                ],
                ("host.test", "A"): ["127.0.0.1"],
            }
        ) as names,
    ):
        agent = UserAgent(
            config=SipConfig(
                binds=(Bind("udp", "127.0.0.1", 0),),
                domains=frozenset({"example.org"}),
                realm="example.org",
                timers=Timers(t1=0.05, t2=0.4, t4=0.5),
                limits=SipLimits(failover_s=0.5),
            ),
            users=Users(),
            counters=counts,
            resolver=Resolver(dns=DnsClient(servers=[names.address])),
        )
        await agent.start()
        try:
            uri = parse_sip_uri("sip:service@carrier.test")
            for hops in (2, 2):  # the second call knows them both
                session = await agent.invite(uri, from_=party("alice"), body=SDP)
                reader = Reader(session)
                while isinstance(event := await reader.next(), Progress):
                    pass
                assert isinstance(event, Answered)
                session.hangup()
                await reader.rest()
                assert counts.table["sip.failovers"] == hops
            targets = await agent.locate(uri)
        finally:
            await agent.stop(1.0)
    assert targets[0].port == good.port
    assert counts.table["sip.targets_died.503"] == 1
