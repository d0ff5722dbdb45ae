"""A browser that has Opus and a phone behind a trunk that has not: the daemon decodes and encodes between them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.house import contact_ended, metric_becomes, start_call
from tests.e2e.tones import strongest_of_page
from tests.peers.baresip import G722, PCMA, PCMU, Baresip, Codec, Phone, baresip
from tests.peers.chromium import Tab, chromium, describe
from tests.peers.daemon import AGENT_PASSWORD, daemon
from tests.peers.sipp import TONE_HZ, callee
from tests.peers.tone import write_mulaw_tone, write_tone

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

PAGE_HZ = 1000
PHONE_HZ = 440


def house(port: int, codec: str, **trunk: Any) -> dict[str, Any]:
    """An entry for browsers with Opus alone that leads over a trunk to one phone with another codec."""
    return {
        "entries": {"line": {"to": {"trunk": "pbx"}, "audio_codecs": ["opus"]}},
        "trunks": {
            "pbx": {
                "target": f"sip:line@127.0.0.1:{port}",
                "srtp": "never",
                "keep_alive": {"interval": "0s"},
                "audio_codecs": [codec],
                "video_codecs": [],
                "audio_transcode": "when_needed",
                **trunk,
            }
        },
        "media": {"shards": 2},
    }


async def page_hears(tab: Tab, hz: int, within_s: float = 40.0) -> None:
    """Nothing but the tone, as soon as it is there."""
    deadline = asyncio.get_running_loop().time() + within_s
    while True:
        found = await strongest_of_page(tab)
        if abs(found.hz - hz) < 10 and found.share > 0.8:
            return
        assert asyncio.get_running_loop().time() < deadline, (found, await tab.media(), describe(tab))


async def phone_hears(phone: Baresip, hz: int, within_s: float = 40.0) -> None:
    """The same for the phone, over the last second."""
    deadline = asyncio.get_running_loop().time() + within_s
    while True:
        heard = phone.heard().last(1)
        if heard.level > 0.01 and heard.share_of_tone(hz) > 0.8:
            return
        assert asyncio.get_running_loop().time() < deadline, (heard.level, heard.share_of_tone(hz))
        await asyncio.sleep(0.2)


@pytest.mark.parametrize(("codec", "name"), [(PCMA, "PCMA"), (G722, "G722")])
async def test_a_browser_keeps_opus_while_the_trunk_gets_what_it_has(tmp_path: Path, codec: Codec, name: str) -> None:
    tone = write_tone(tmp_path / "page.wav", rate=48000, channels=1, seconds=60, hz=PAGE_HZ)
    async with (
        baresip(Phone(user="line", audio=(codec,), tone_hz=PHONE_HZ), tmp_path) as phone,
        daemon(tmp_path, changes=house(phone.sip_port, name)) as server,
        chromium(tmp_path, flags=[f"--use-file-for-fake-audio-capture={tone}"]) as browser,
    ):
        tab = await start_call(browser, f"{server.http_url}/call/line")
        await phone.wait_established()
        await asyncio.gather(page_hears(tab, PHONE_HZ), phone_hears(phone, PAGE_HZ))
        sound = [item.codec for item in await tab.media() if item.kind == "audio"]
        assert sound == ["opus", "opus"], sound
        stats = await phone.audio_stats()
        assert name.lower() in stats.encoder.lower(), stats
        assert name.lower() in stats.decoder.lower(), stats
        await metric_becomes(server, 'mediaserver_engine_transcodes{shard="audio0"}', 2)
        await phone.hangup()
        await contact_ended(server, by="agent", reason="hangup")
        await metric_becomes(server, 'mediaserver_engine_transcodes{shard="audio0"}', 0)


async def test_a_browser_keeps_opus_where_the_trunk_prefers_that_though_both_have_the_trunks_codec(
    tmp_path: Path,
) -> None:
    changes = house(0, "PCMU", audio_transcode="prefer_opus")
    changes["entries"]["line"]["audio_codecs"] = ["PCMU", "opus"]
    async with baresip(Phone(user="line", audio=(PCMU,), tone_hz=PHONE_HZ), tmp_path) as phone:
        changes["trunks"]["pbx"]["target"] = f"sip:line@127.0.0.1:{phone.sip_port}"
        async with daemon(tmp_path, changes=changes) as server, chromium(tmp_path) as browser:
            tab = await start_call(browser, f"{server.http_url}/call/line")
            await phone.wait_established()
            await page_hears(tab, PHONE_HZ)
            sound = [item.codec for item in await tab.media() if item.kind == "audio"]
            assert sound == ["opus", "opus"], sound
            assert "pcmu" in (await phone.audio_stats()).decoder.lower()
            await metric_becomes(server, 'mediaserver_engine_transcodes{shard="audio0"}', 2)
            await phone.hangup()
            await contact_ended(server, by="agent", reason="hangup")


async def test_a_phone_hears_early_media_of_another_codec_than_its_own(tmp_path: Path) -> None:
    write_mulaw_tone(tmp_path / "tone.ulaw", hz=TONE_HZ, seconds=30)
    async with callee(tmp_path, scenario="uas_early", pause_ms=30_000) as operator:
        changes = house(operator.port, "PCMU") | {"routes": [{"match": {"called": "100"}, "to": {"trunk": "pbx"}}]}
        async with (
            daemon(tmp_path, changes=changes) as server,
            baresip(
                Phone(user="agent", domain=server.sip_server(), password=AGENT_PASSWORD, register=True, audio=(PCMA,)),
                tmp_path,
            ) as desk,
        ):
            await desk.wait_registered()
            await desk.dial(server.sip_uri("100"))
            await desk.wait_for_type("CALL_PROGRESS")
            await phone_hears(desk, TONE_HZ, within_s=20.0)
            assert not [event for event in desk.events if event["type"] == "CALL_ESTABLISHED"]
            stats = await desk.audio_stats()
            assert "pcma" in stats.decoder.lower(), stats
            await desk.hangup()


async def test_two_phones_of_users_that_share_no_codec_hear_each_other(tmp_path: Path) -> None:
    secret = tmp_path / "old.secret"
    secret.write_text(AGENT_PASSWORD)
    secret.chmod(0o600)
    old = {"secret": {"file": str(secret)}, "audio_codecs": ["PCMA"], "audio_transcode": "when_needed"}
    async with daemon(tmp_path, changes={"users": {"old": old}, "media": {"shards": 2}}) as server:
        common: dict[str, Any] = {"domain": server.sip_server(), "password": AGENT_PASSWORD, "register": True}
        async with (
            baresip(Phone(user="agent", audio=(PCMU,), tone_hz=PAGE_HZ, **common), tmp_path) as caller,
            baresip(Phone(user="old", audio=(PCMA,), tone_hz=PHONE_HZ, **common), tmp_path) as called,
        ):
            await asyncio.gather(caller.wait_registered(), called.wait_registered())
            await caller.dial(server.sip_uri("old"))
            await asyncio.gather(caller.wait_established(), called.wait_established())
            await asyncio.gather(phone_hears(caller, PHONE_HZ), phone_hears(called, PAGE_HZ))
            decoders = [(await phone.audio_stats()).decoder.lower() for phone in (caller, called)]
            assert "pcmu" in decoders[0], decoders
            assert "pcma" in decoders[1], decoders
            await metric_becomes(server, 'mediaserver_engine_transcodes{shard="audio0"}', 2)
            await caller.hangup()


async def test_a_call_for_which_no_transcoder_is_free_ends_with_that_reason(tmp_path: Path) -> None:
    async with (
        baresip(Phone(user="line", audio=(PCMA,)), tmp_path) as phone,
        daemon(tmp_path, changes={**house(phone.sip_port, "PCMA"), "limits": {"transcodes": 0}}) as server,
        chromium(tmp_path) as browser,
    ):
        await start_call(browser, f"{server.http_url}/call/line")
        await contact_ended(server, by="system", reason="transcoder_refused")
        await phone.wait_closed()
