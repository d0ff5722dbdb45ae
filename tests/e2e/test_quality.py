"""How a call is doing: a good line has a good score, a bad one is told to the page, and the record keeps both."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.e2e.house import ENTRY, contact_ended, phone, records, show_my_camera
from tests.peers.baresip import OPUS, baresip
from tests.peers.chromium import chromium
from tests.peers.daemon import Daemon, daemon
from tests.peers.impaired_line import Impairment, impaired_lines

COMPLAINT = "Your connection is poor at the moment."


async def round_trips_reported(server: Daemon) -> None:
    """A slow one of the browser, and one of the phone.

    Both report about sound every 5 s, the phone on what it had heard of us by then, and a bad line may lose a report: it
    stays bad until one came.
    """
    histogram = "mediaserver_leg_round_trip_seconds"
    async with asyncio.timeout(120):
        while True:
            metrics = await server.metrics()
            # A leg is in the metrics with its first round trip.
            every, quick, far = (
                metrics.get(f"{histogram}_{part}", 0.0)
                for part in ('count{leg="browser"}', 'bucket{le="0.3",leg="browser"}', 'count{leg="sip"}')
            )
            if every > quick and far:
                return
            await asyncio.sleep(0.2)


@pytest.mark.e2e
@pytest.mark.timeout(600)  # the first use compiles the relay
async def test_a_bad_line_is_told_to_the_page_and_kept_in_the_record(tmp_path: Path) -> None:
    changes = {**ENTRY, "media": {"shards": 2, "quality_interval": "1s"}}
    async with (
        daemon(tmp_path, changes=changes) as server,
        impaired_lines() as relay,
        chromium(tmp_path) as browser,
        baresip(phone(server, "udp", "", audio=(OPUS,)), tmp_path) as agent,
    ):
        await agent.wait_registered()
        line = await relay.line((server.host, server.ports.media))
        context = await browser.browser.new_context(permissions=["microphone", "camera"], locale="en-US")
        await context.add_init_script(line.redirect())
        tab = await browser.new_tab(f"{server.http_url}/call/demo", context=context)
        await tab.page.get_by_role("button", name="Video call").click()
        await agent.wait_established()
        await show_my_camera(tab)
        status = tab.page.get_by_role("status")
        await tab.media_over(5)
        await expect(status).not_to_contain_text(COMPLAINT)
        worse = Impairment(delay_ms=200, loss=0.25)
        await line.set(up=worse, down=worse)
        await expect(status).to_contain_text(COMPLAINT, timeout=60_000)
        await round_trips_reported(server)
        await line.set(up=Impairment(), down=Impairment())
        await expect(status).not_to_contain_text(COMPLAINT, timeout=60_000)
        metrics = await server.metrics()
        await tab.page.get_by_role("button", name="Hang up").click()
        await contact_ended(server, by="caller", reason="hangup")
        record = (await records(server))[0]
    page, far = (next(leg for leg in record["legs"] if leg["kind"] == kind)["quality"] for kind in ("browser", "sip"))
    assert page["seconds"]["bad"] >= 1, page
    # The phone's line is as good as this machine is busy, and always better than the page's.
    assert page["received"]["mos_min"] < min(4.0, far["received"]["mos_min"]), (page, far)
    assert page["received"]["loss_max"] > max(0.1, far["received"]["loss_max"]), (page, far)
    assert page["round_trip_max_ms"] > max(300, far["round_trip_max_ms"]), (page, far)
    assert page["received"]["freezes"] > 0, page
    for leg, direction in (("browser", "received"), ("browser", "sent"), ("sip", "received")):
        name = f'mediaserver_leg_mos_count{{direction="{direction}",leg="{leg}"}}'
        assert metrics[name] >= 5, (name, {key: value for key, value in metrics.items() if "leg_mos_count" in key})
    assert sum(value for name, value in metrics.items() if "forward_latency_seconds_count" in name) > 1000
