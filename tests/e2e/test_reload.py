"""SIGHUP: users, trunks, routes and certificates change under calls that go on; a wrong file changes nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.house import contact_ended, phone
from tests.e2e.test_trunks import trunk_becomes
from tests.peers import sipp
from tests.peers.baresip import Baresip, baresip
from tests.peers.certificates import write_certificates
from tests.peers.daemon import AGENT_PASSWORD, Daemon, daemon

pytestmark = [pytest.mark.smoke, pytest.mark.timeout(240)]


def pbx(port: int, **more: Any) -> dict[str, Any]:
    return {
        "peers": ["127.0.0.1/32"],
        "target": f"sip:127.0.0.1:{port}",
        "srtp": "never",
        "keep_alive": {"interval": "0s"},
        **more,
    }


async def reload(server: Daemon, change: dict[str, Any] | str, *, result: str = "done", count: int = 1) -> None:
    """Change the file and wait until the daemon has read it."""
    if isinstance(change, str):
        server.config_path.write_text(change)
    else:
        config = yaml.safe_load(server.config_path.read_text())
        server.config_path.write_text(yaml.safe_dump({**config, **change}, sort_keys=False))
    os.kill(server.pid, signal.SIGHUP)
    async with asyncio.timeout(40):
        while (await server.metrics()).get(f'mediaserver_config_reloads_total{{result="{result}"}}') != count:
            await asyncio.sleep(0.05)


async def test_trunks_routes_and_users_change_while_a_call_goes_on(tmp_path: Path) -> None:
    (tmp_path / "phone").mkdir()
    async with sipp.callee(tmp_path, scenario="uas") as old, sipp.callee(tmp_path, scenario="uas") as new:
        changes = {"trunks": {"pbx": pbx(old.port)}, "routes": [{"match": {"trunk": "pbx"}, "to": {"trunk": "pbx"}}]}
        async with daemon(tmp_path, changes=changes) as server:
            target = server.host, server.ports.sip
            async with sipp.caller(tmp_path, target, user="1", hold_ms=6000) as lasting:
                await trunk_becomes(server, "pbx", incoming=1, outgoing=1)
                secret = tmp_path / "late.secret"
                secret.touch(mode=0o600)
                secret.write_text("correct-horse-battery")
                users = yaml.safe_load(server.config_path.read_text())["users"]
                await reload(
                    server,
                    {
                        "trunks": {"pbx": pbx(new.port, max_calls=7), "other": pbx(9, peers=["127.0.0.9"])},
                        "routes": [
                            {"match": {"trunk": "pbx", "called": "closed"}, "to": {"refuse": 404}},
                            {"match": {"trunk": "pbx"}, "to": {"trunk": "pbx"}},
                        ],
                        "users": {**users, "late": {"secret": {"file": str(secret)}}},
                        "drain": {"deadline": "6s"},
                    },
                )
                await trunk_becomes(server, "pbx", incoming=1, outgoing=1, max_calls=7)
                async with (
                    sipp.caller(tmp_path, target, user="closed", scenario="uac_refused_404") as refused,
                    sipp.caller(tmp_path, target, user="2") as moved,
                    baresip(phone(server, "udp", "", user="late", video=()), tmp_path / "phone") as late,
                ):
                    await late.wait_registered()
                    results = [await refused.finish(), await moved.finish()]
                results.append(await lasting.finish())
            log = server.log()
        reached = await new.stop()
    assert [result.successful for result in results] == [1, 1, 1]
    assert reached.created >= 1
    assert "trunks.pbx.max_calls: 100 -> 7" in log
    assert '"takes_effect": "at restart"' in next(line for line in log.splitlines() if "drain.deadline" in line)


async def test_a_wrong_file_leaves_everything_as_it_was(tmp_path: Path) -> None:
    changes = {"trunks": {"pbx": pbx(9)}, "routes": [{"match": {"trunk": "pbx"}, "to": {"refuse": 404}}]}
    async with daemon(tmp_path, changes=changes) as server:
        server.expected_errors.append("reload_refused")
        good = server.config_path.read_text()
        await reload(server, good.replace("refuse: 404", "refuse: 4040"), result="refused")
        assert "must be at most 699, found 4040" in server.log()
        async with sipp.caller(
            tmp_path, (server.host, server.ports.sip), user="1", scenario="uac_refused_404"
        ) as caller:
            assert (await caller.finish()).successful == 1


async def certificate_shown(server: Daemon) -> bytes:
    """The certificate that a new TLS connection to the SIP port is shown."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    _, writer = await asyncio.open_connection(server.host, server.ports.sip_tls, ssl=context)
    try:
        return writer.get_extra_info("ssl_object").getpeercert(binary_form=True)  # type: ignore[no-any-return]
    finally:
        writer.transport.abort()


async def packets_reach(one: Baresip, count: int) -> int:
    """Wait until a phone has received so many packets of sound."""
    async with asyncio.timeout(40):
        while (got := (await one.audio_stats()).packets_received) < count:
            await asyncio.sleep(0.1)
    return got


async def test_a_new_certificate_is_shown_to_whoever_comes_and_a_call_over_tls_goes_on(tmp_path: Path) -> None:
    (tmp_path / "phones").mkdir()
    secret = tmp_path / "caller.secret"
    secret.touch(mode=0o600)
    secret.write_text(AGENT_PASSWORD)
    changes = {
        "users": {"caller": {"secret": {"file": str(secret)}}},
        "routes": [{"match": {"called": "agent"}, "to": {"user": "agent"}}],
    }
    async with (
        daemon(tmp_path, changes=changes) as server,
        baresip(phone(server, "tls", "srtp-mand", video=()), tmp_path / "phones") as agent,
        baresip(phone(server, "tls", "srtp-mand", user="caller", video=()), tmp_path / "phones") as caller,
    ):
        await agent.wait_registered()
        await caller.wait_registered()
        before = await certificate_shown(server)
        await caller.dial(server.sip_uri("agent", "tls"))
        await caller.wait_established()
        await packets_reach(caller, 50)
        # In place of the old ones, from an authority that no phone here knows: these can use old connections only.
        write_certificates(tmp_path / "daemon", server.host)
        await reload(server, {})
        after = await certificate_shown(server)
        for one in (agent, caller):
            await packets_reach(one, (await one.audio_stats()).packets_received + 50)
        await agent.hangup()
        await caller.wait_closed()
        await contact_ended(server, by="agent", reason="hangup")
        metrics = await server.metrics()
    assert after != before
    assert metrics['mediaserver_sip_tls_handshakes_total{result="ok"}'] == 4  # two phones, and twice this test
