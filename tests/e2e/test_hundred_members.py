"""A hundred members in one room: all join, everybody hears who speaks and nobody negotiates twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import aiohttp
import pytest

from benchmarks.webrtc_client import Identity
from tests.e2e.light_members import SUITE, LightMember
from tests.e2e.members import token_of
from tests.peers.daemon import Daemon, daemon

MEMBERS = 100
SLOTS = {"audio_slots": 3, "video_slots": 4}
CHANGES = {
    "rooms": SLOTS,
    "media": {"shards": 2},
    "limits": {"sessions_per_source": 2 * MEMBERS, "http_requests_per_source": "500/s"},
}


async def come_true(happens: Callable[[], bool], complaint: Callable[[], object], within_s: float) -> None:
    deadline = asyncio.get_running_loop().time() + within_s
    while not happens():
        assert asyncio.get_running_loop().time() < deadline, complaint()
        await asyncio.sleep(0.05)


async def enter(
    server: Daemon, http: aiohttp.ClientSession, identity: Identity, threads: ThreadPoolExecutor
) -> LightMember:
    socket = await http.ws_connect(f"http://127.0.0.1:{server.ports.http}/v1/session?room")
    member = LightMember(socket, identity)
    await member.join(await token_of(server, "light"), threads)
    return member


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_a_hundred_members_hear_who_speaks_and_negotiate_once(tmp_path: Path) -> None:
    identity = Identity(SUITE)
    async with (
        daemon(tmp_path, changes=CHANGES) as server,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http,
    ):
        with ThreadPoolExecutor(16) as threads:
            gate = asyncio.Semaphore(16)

            async def one() -> LightMember:
                async with gate:
                    return await enter(server, http, identity, threads)

            members = list(await asyncio.gather(*(one() for _ in range(MEMBERS))))
            everybody = {member.id for member in members}
            await come_true(
                lambda: all(
                    member.people == everybody - {member.id} and len(member.slots) == sum(SLOTS.values())
                    for member in members
                ),
                lambda: sorted((len(member.people), len(member.slots)) for member in members)[:5],
                30,
            )

            # One speaks: all others are told, and hear it.
            speaker, others = members[57], members[:57] + members[58:]
            speaker.talk()
            await come_true(
                lambda: all(other.active == speaker.id and other.heard.total() > 10 for other in others),
                lambda: [(other.active, other.heard) for other in others][:5],
                30,
            )
            assert speaker.heard.total() == 0

            # Ten at once: everybody gets as many voices as there are slots and not one more.
            crowd = members[20:29]
            for member in crowd:
                member.talk()
            # By packets that were said and heard, not by time: what waits in a socket is counted when it is read.
            listeners = members[60:]
            waiting = [speaker.spoken - member.heard.total() for member in listeners]
            before = [member.heard.total() for member in listeners]
            said = speaker.spoken
            await come_true(lambda: speaker.spoken >= said + 150, lambda: speaker.spoken, 60)
            each = speaker.spoken - said
            for member, count, late in zip(listeners, before, waiting, strict=True):
                assert len(member.heard) <= SLOTS["audio_slots"], "the SSRCs of its slots and no others"
                assert member.heard.total() - count <= late + SLOTS["audio_slots"] * each * 1.3
            for member in (speaker, *crowd):
                await member.hush()

            # Somebody goes and somebody comes, and it costs nobody else a description.
            await members.pop().leave()
            members.append(await one())
            everybody = {member.id for member in members}
            await come_true(
                lambda: all(member.people == everybody - {member.id} for member in members),
                lambda: sorted(len(member.people) for member in members)[:5],
                30,
            )
            for member in members:
                assert (member.said["answer"], member.said["offer"], member.said["error"]) == (1, 0, 0)
            await asyncio.gather(*(member.leave() for member in members))
