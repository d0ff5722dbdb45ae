"""Phones in a room with a page: the page hears them apart, they hear everybody else as one sound."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.house import metric_becomes, phone, phone_sees_and_hears, records
from tests.e2e.members import Member, enter, until
from tests.e2e.tones import hears, of_page, of_phone
from tests.peers.baresip import G722, PCMU, Baresip, baresip
from tests.peers.chromium import chromium
from tests.peers.daemon import ADMIN_TOKEN, Daemon, daemon

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

PAGE_HZ, DESK_HZ, HALL_HZ = 300, 1000, 700
ALL = (PAGE_HZ, DESK_HZ, HALL_HZ)
MIXED_LEGS = 'mediaserver_engine_mixed_legs{shard="audio0"}'


def house(folder: Path) -> dict[str, Any]:
    secret = folder / "desk.secret"
    secret.write_text("correct-horse-battery")
    secret.chmod(0o600)
    return {
        "users": {user: {"secret": {"file": str(secret)}} for user in ("desk", "hall")},
        "routes": [{"match": {"called": "700"}, "to": {"room": "stage"}}],
        "media": {"shards": 2},
    }


async def people(member: Member, *publishing: tuple[str, ...]) -> None:
    """So many others are there, and publish this."""

    async def there() -> bool:
        return sorted(tuple(publishes) for _, publishes in (await member.look())["people"]) == sorted(publishing)

    await until(there, member.look, 40)


async def ask(server: Daemon, path: str, body: Mapping[str, object] | None = None) -> Any:
    """An action of the API, which must be possible."""
    text = "" if body is None else json.dumps(body)
    status, answer = await server.request("POST", f"{server.admin_url}{path}", body=text, token=ADMIN_TOKEN)
    assert status in (200, 201, 202), answer
    return json.loads(answer)


async def gets_packets(phone: Baresip) -> None:
    """Sound comes in again. What this phone hears after a hold of its own it does not record."""
    before = (await phone.audio_stats()).packets_received

    async def more() -> bool:
        return (await phone.audio_stats()).packets_received > before + 25

    await until(more, phone.call_text, 40)


async def test_a_page_and_two_phones_in_a_room_hear_each_other(tmp_path: Path) -> None:
    (tmp_path / "desk").mkdir()
    (tmp_path / "hall").mkdir()
    async with daemon(tmp_path, changes=house(tmp_path)) as server, chromium(tmp_path) as browser:

        def made(user: str, codec: Any, hz: int) -> Any:
            described = phone(server, "udp", "", user=user, audio=(codec,), video=(), tone_hz=hz)
            return baresip(described, tmp_path / user)

        async with made("desk", PCMU, DESK_HZ) as desk, made("hall", G722, HALL_HZ) as hall:
            await asyncio.gather(desk.wait_registered(), hall.wait_registered())
            anna = await enter(server, browser, "anna", kinds=("audio",))
            await anna.run("talk()")
            await desk.dial(f"sip:700@{server.sip_server('udp')}")
            await desk.wait_established()
            await people(anna, ("audio",))
            await asyncio.gather(hears(of_phone(desk, ALL), PAGE_HZ), hears(of_page(anna.tab, ALL), DESK_HZ))

            call = (await ask(server, "/v1/calls", {"from": "hall", "to": "700"}))["id"]
            await hall.wait_established()
            await people(anna, ("audio",), ("audio",))
            await asyncio.gather(
                hears(of_page(anna.tab, ALL), DESK_HZ, HALL_HZ),
                hears(of_phone(desk, ALL), PAGE_HZ, HALL_HZ),
                hears(of_phone(hall, ALL), PAGE_HZ, DESK_HZ),
            )
            await metric_becomes(server, MIXED_LEGS, 2, within_s=40)

            await desk.hold()
            await asyncio.gather(hears(of_phone(hall, ALL), PAGE_HZ), hears(of_page(anna.tab, ALL), HALL_HZ))
            await metric_becomes(server, MIXED_LEGS, 1, within_s=40)
            await desk.resume()
            await asyncio.gather(hears(of_phone(hall, ALL), PAGE_HZ, DESK_HZ), gets_packets(desk))
            await metric_becomes(server, MIXED_LEGS, 2, within_s=40)

            await desk.hangup()
            await asyncio.gather(hears(of_phone(hall, ALL), PAGE_HZ), hears(of_page(anna.tab, ALL), HALL_HZ))
            await ask(server, f"/v1/calls/{call}/hangup")
            await hall.wait_closed()
            await people(anna)
            await metric_becomes(server, MIXED_LEGS, 0, within_s=40)
            await metric_becomes(server, "mediaserver_room_phones", 0, within_s=40)

        async def ends() -> set[tuple[str, ...]]:
            return {(each["end_reason"], *(leg["kind"] for leg in each["legs"])) for each in await records(server)}

        async def kept() -> bool:
            return await ends() >= {("hangup", "sip", "room"), ("api", "sip", "room")}

        await until(kept, ends, 40)


async def test_a_phone_with_a_picture_is_seen_in_the_room_and_sees_who_sends_its_codec(tmp_path: Path) -> None:
    (tmp_path / "desk").mkdir()
    # This phone has H.264 in packetization mode 0 alone, and no page sends that by itself; VP8 they share.
    async with daemon(tmp_path, changes=house(tmp_path)) as server, chromium(tmp_path) as browser:
        described = phone(server, "udp", "", user="desk", video=("VP8",), tone_hz=DESK_HZ)
        async with baresip(described, tmp_path / "desk") as desk:
            await desk.wait_registered()
            anna = await enter(server, browser, "anna")
            await anna.run("talk()")
            await desk.dial(f"sip:700@{server.sip_server('udp')}")
            await desk.wait_established()
            await people(anna, ("audio", "video"))

            async def is_seen() -> bool:
                shown = [mid for mid, kind, _ in (await anna.look())["slots"] if kind == "video"]
                received = await anna.received()
                return any(received[mid][0] >= 20 for mid in shown if mid in received)

            await asyncio.gather(
                until(is_seen, anna.received, 40), phone_sees_and_hears(desk, seconds=2, frames_per_s=5)
            )
