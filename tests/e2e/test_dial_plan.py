"""The dial plan with real peers: an announcement that answers, groups one after the other, a webhook, explanations."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.e2e.house import announcement_loaded, contact_ended, phone
from tests.peers import sipp
from tests.peers.baresip import baresip
from tests.peers.daemon import ROOT, daemon
from tests.peers.tone import write_tone

pytestmark = [pytest.mark.smoke, pytest.mark.timeout(240)]

PBX = {"peers": ["127.0.0.1/32"], "srtp": "never", "keep_alive": {"interval": "0s"}}


def house(target: int, **more: Any) -> dict[str, Any]:
    return {"trunks": {"pbx": {**PBX, "target": f"sip:127.0.0.1:{target}"}}, **more}


async def test_an_announcement_answers_plays_once_and_hangs_up(tmp_path: Path) -> None:
    tone = tmp_path / "closed.wav"
    write_tone(tone, rate=8000, channels=1, hz=440, seconds=1)
    changes = house(
        9,
        announcements={"closed": {"file": str(tone)}, "greeting": {}},
        routes=[{"match": {"trunk": "pbx", "called": "closed"}, "to": {"announcement": "closed"}}],
    )
    async with daemon(tmp_path, changes=changes) as server:
        await server.process.wait_for_log(r'"announcement": "closed"', 60.0)
        await announcement_loaded(server)
        async with sipp.caller(
            tmp_path, (server.host, server.ports.sip), user="closed", scenario="uac_waits_for_bye", calls=1
        ) as caller:
            result = await caller.finish()
        await contact_ended(server, by="system", reason="announcement_over")
    assert (result.successful, result.failed) == (1, 0)


async def test_a_serial_group_goes_from_a_phone_that_is_silent_to_the_one_that_answers(tmp_path: Path) -> None:
    secret = tmp_path / "second.secret"
    secret.touch(mode=0o600)
    secret.write_text("correct-horse-battery")
    for name in ("silent", "quick"):
        (tmp_path / name).mkdir()
    changes = house(
        9,
        users={"second": {"secret": {"file": str(secret)}}},
        groups={"team": {"members": ["agent", "second"], "ring": "serial", "each": "2s"}},
        routes=[{"match": {"trunk": "pbx"}, "to": {"group": "team"}}],
    )
    async with (
        daemon(tmp_path, changes=changes) as server,
        baresip(phone(server, "udp", "", answer_after_s=None, video=()), tmp_path / "silent") as silent,
        baresip(phone(server, "tcp", "", user="second", video=()), tmp_path / "quick") as quick,
    ):
        await silent.wait_registered()
        await quick.wait_registered()
        async with sipp.caller(
            tmp_path, (server.host, server.ports.sip), user="team", hold_ms=300, scenario="uac"
        ) as caller:
            result = await caller.finish()
        await contact_ended(server, by="caller", reason="hangup")
    assert (result.successful, result.failed) == (1, 0)


async def test_a_webhook_sends_a_call_and_its_silence_does_not_stop_one(tmp_path: Path) -> None:
    asked: list[dict[str, Any]] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(await request.json())
        return web.json_response({"to": {"trunk": "pbx"}, "called": "service"})

    app = web.Application()
    app.router.add_post("/route", answer)
    crm = TestServer(app)
    await crm.start_server()
    try:
        async with sipp.callee(tmp_path, scenario="uas") as service:
            changes = house(
                service.port,
                webhooks={"crm": {"url": str(crm.make_url("/route")), "timeout": "5s"}},
                routes=[
                    {"match": {"trunk": "pbx"}, "to": {"webhook": "crm"}},
                    {"match": {"trunk": "pbx"}, "to": {"refuse": 404}},
                ],
            )
            async with daemon(tmp_path, changes=changes) as server:
                target = server.host, server.ports.sip
                async with sipp.caller(tmp_path, target, user="4711", scenario="uac_ticket") as caller:
                    led = await caller.finish()
                await crm.close()
                async with sipp.caller(tmp_path, target, user="4711", scenario="uac_refused_404") as caller:
                    refused = await caller.finish()
                metrics = await server.metrics()
    finally:
        await crm.close()
    assert (led.successful, refused.successful) == (1, 1)
    assert (asked[0]["called"], asked[0]["trunk"]) == ("4711", "pbx")
    assert ["X-Ticket", "T-1"] in asked[0]["headers"]
    assert metrics['mediaserver_routing_webhooks_total{result="unreachable",webhook="crm"}'] == 1


def test_explain_route_prints_the_reason_and_its_exit_code_says_whether(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(
        "trunks: {pbx: {target: 'sip:192.0.2.1'}}\n"
        "routes:\n  - {match: {called: '49*', time: {days: [sun]}}, to: {trunk: pbx}}\n  - {to: {refuse: 403}}\n"
    )

    def explain(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "mediaserver", "explain-route", *arguments, "--config", str(file)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )

    sunday = explain("4930", "--from", "ann", "--at", "2026-11-22T12:00")
    assert (sunday.returncode, "Goes to trunk pbx, by route 1." in sunday.stdout) == (0, True)
    monday = explain("4930", "--from", "ann", "--at", "2026-11-23T12:00", "--json")
    assert monday.returncode == 4
    found = json.loads(monday.stdout)
    assert found["steps"][0]["reasons"] == ["it is mon (2026-11-23 12:00 in UTC), not sun"]
    wrong = explain("1", "--trunk", "nobody")
    assert (wrong.returncode, "there is no 'nobody'" in wrong.stderr) == (2, True)
