"""The baresip harness against itself: two phones call each other without any server."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.peers.baresip import OPUS, PCMU, Baresip, Phone, baresip
from tests.peers.certificates import write_certificates
from tests.peers.kamailio import kamailio
from tests.peers.process import PeerError

pytestmark = [pytest.mark.smoke, pytest.mark.timeout(240)]


async def talk(caller: Baresip, callee: Baresip, seconds: float = 2.5) -> None:
    await caller.dial(callee.uri)
    await caller.wait_established()
    await callee.wait_established()
    await asyncio.sleep(seconds)


async def shows(phone: Baresip) -> None:
    """A moving picture for a second, soon: a busy machine stands still for moments."""
    async with asyncio.timeout(40):
        while await phone.shown_frames_per_s(1.0) <= 12:
            pass


async def heard_well(phone: Baresip, hz: int) -> None:
    """A second and a half of a tone and little else, soon."""
    async with asyncio.timeout(40):
        while phone.heard().last(1.5).share_of_tone(hz) <= 0.9:
            await asyncio.sleep(0.2)


@pytest.mark.parametrize("encryption", ["", "srtp-mand"])
async def test_two_phones_hear_and_see_each_other(tmp_path: Path, encryption: str) -> None:
    ann = Phone("ann", video=["H264"], encryption=encryption, tone_hz=440, answer_after_s=None)
    bob = Phone("bob", video=["H264"], encryption=encryption, tone_hz=900, answer_after_s=0.2)
    async with baresip(ann, tmp_path) as caller, baresip(bob, tmp_path) as callee:
        await talk(caller, callee)
        await shows(caller)
        seen = await callee.video_stats()
        assert (seen.decoder, seen.width, seen.height) == ("H264", 352, 288)
        sound = await callee.audio_stats()
        assert sound.packets_received > 50
        assert sound.secure == bool(encryption)
        await asyncio.gather(heard_well(caller, 900), heard_well(callee, 440))
        await callee.hangup()
        await caller.wait_closed()


async def test_two_phones_talk_opus_and_vp8_over_tls(tmp_path: Path) -> None:
    certificates = write_certificates(tmp_path, "127.0.0.1")
    common = {"transport": "tls", "certificate": certificates.both, "ca_file": certificates.ca}
    ann = Phone("ann", audio=[OPUS], video=["VP8"], encryption="srtp-mand", **common)  # type: ignore[arg-type]
    bob = Phone("bob", audio=[OPUS], video=["VP8"], encryption="srtp-mand", tone_hz=700, **common)  # type: ignore[arg-type]
    async with baresip(ann, tmp_path) as caller, baresip(bob, tmp_path) as callee:
        await talk(caller, callee)
        await shows(callee)
        assert (await caller.video_stats()).decoder == "VP8"
        assert caller.heard().level > 0.05
        await caller.hangup()
        await callee.wait_closed()


async def test_a_refused_call_ends_at_the_caller(tmp_path: Path) -> None:
    async with (
        baresip(Phone("ann"), tmp_path) as caller,
        baresip(Phone("bob", answer_after_s=None, audio=[PCMU]), tmp_path) as callee,
    ):
        await caller.dial(callee.uri)
        await callee.wait_incoming()
        await callee.hangup()
        assert "486" in (await caller.wait_closed())["param"]


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
async def test_phones_register_at_a_proxy_and_call_through_it(tmp_path: Path, transport: str) -> None:
    certificates = write_certificates(tmp_path, "127.0.0.1")
    async with kamailio(tmp_path, certificates) as proxy:
        port = proxy.tls_port if transport == "tls" else proxy.port

        def phone(user: str) -> Phone:
            return Phone(
                user,
                domain=f"{proxy.host}:{port}",
                password=proxy.password,
                transport=transport,
                register=True,
                encryption="srtp-mand" if transport == "tls" else "",
                ca_file=certificates.ca,
            )

        async with baresip(phone("ann"), tmp_path) as caller, baresip(phone("bob"), tmp_path) as callee:
            await caller.wait_registered()
            await callee.wait_registered()
            await caller.dial(f"sip:bob@{proxy.host}:{port}")
            await caller.wait_established()
            await heard_well(caller, 440)
            await callee.hangup()
            await caller.wait_closed()


async def test_a_wrong_password_is_reported(tmp_path: Path) -> None:
    async with kamailio(tmp_path, write_certificates(tmp_path, "127.0.0.1")) as proxy:
        phone = Phone("ann", domain=f"{proxy.host}:{proxy.port}", password="wrong", register=True)
        async with baresip(phone, tmp_path) as running:
            with pytest.raises(PeerError, match="refused"):
                await running.wait_registered()
