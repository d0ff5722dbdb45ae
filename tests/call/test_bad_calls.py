"""Descriptions and destinations that nobody honest sends: refused, bounded, and logged once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from mediaserver.call.unrouted import Unrouted
from mediaserver.runtime.metrics import Metrics
from mediaserver.sdp.description import SdpError
from mediaserver.sip import events as sip
from mediaserver.sip.uri import parse_sip_uri
from tests.call.fakes import FakeEngine, FakeSession
from tests.call.test_sip_leg import dialled, taken
from tests.call.test_transfers import House, told, wait

HEAD = "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n"
MANY = (HEAD + "m=audio 4000 RTP/AVP 0\r\n" + "m=video 4002 RTP/AVP 97\r\na=rtpmap:97 H264/90000\r\n" * 199).encode()


async def test_a_first_offer_with_200_m_lines_is_refused() -> None:
    with pytest.raises(SdpError, match="more than 64 media sections"):
        await taken(MANY)


async def test_a_reinvite_with_200_m_lines_is_488_and_the_call_goes_on() -> None:
    engine = FakeEngine()
    leg, session = await dialled(engine)
    before = len(leg.transports)
    with capture_logs() as lines:
        for _ in range(10):
            session.happen(sip.Reoffered(MANY))
            await wait()
    assert [line["event"] for line in lines].count("reoffer_refused") == 1
    assert [entry for entry in session.log if "reoffer" in str(entry[0])] == [("reject_reoffer", 488)] * 10
    assert len(leg.transports) == before
    assert not leg.ended


async def test_refer_to_a_premium_number_is_403_each_time_and_one_line_in_the_log() -> None:
    house = House()
    _, phone, session, _ = await house.talk()
    with capture_logs() as lines:
        for _ in range(20):
            session.happen(sip.Referred(parse_sip_uri("sip:0900@example.org"), None, None))
            await wait()
    assert told(session) == [("reject_referral", 403)] * 20
    assert house.rung == []
    assert not phone.ended
    assert [line["event"] for line in lines].count("transfer_failed") == 1


class Incoming:
    """A call as the dial plan sees it."""

    def __init__(self, called: str, *, user: str | None = None) -> None:
        self.session = FakeSession("incoming")
        self.request = SimpleNamespace(uri=parse_sip_uri(f"sip:{called}@house.test"))
        self.source = SimpleNamespace(ip="203.0.113.66")
        self.authenticated_user = user
        self.trunk = "carrier"


@pytest.mark.parametrize("prefix", ["", "0", "9", "00", "011", "900", "+", "810", "000"])
def test_a_toll_fraud_scan_for_a_way_out_is_refused_counted_and_one_line(prefix: str) -> None:
    metrics = Metrics()
    unrouted = Unrouted(metrics)
    calls: list[Any] = [Incoming(f"{prefix}44190{number:06}") for number in range(200)]
    with capture_logs() as lines:
        for number, call in enumerate(calls):
            unrouted.refuse(call, 404 if number % 2 else 403, number * 0.1)
    assert all(call.session.log == [("reject", 404 if n % 2 else 403, {})] for n, call in enumerate(calls))
    assert [(line["event"], line["source"]) for line in lines] == [("call_unrouted", "203.0.113.66")]
    assert metrics.value("sip_calls_unrouted_total", code="404") == 100
    assert metrics.value("sip_calls_unrouted_total", code="403") == 100
