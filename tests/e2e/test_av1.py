"""AV1 from Chromium to Chromium: with layers inside one stream and without, to viewers of all of it and of less."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.members import Member, enter
from tests.e2e.rooms import join
from tests.peers.chromium import Chromium, Tab, chromium, describe, streams
from tests.peers.daemon import Daemon, daemon

SMALL = (640, 360)
CHANGES = {"media": {"shards": 2, "video_codecs": ["AV1", "VP8", "H264"]}}
SENT = """async () => {
    const all = [...(await pc.getStats()).values()];
    return all.filter((item) => item.type === "outbound-rtp" && item.kind === "video")
        .map((item) => [all.find((codec) => codec.id === item.codecId)?.mimeType, item.scalabilityMode, item.frameHeight]);
}"""
DESCRIBED = """() => pc.remoteDescription.sdp.includes("#dependency-descriptor-rtp-header-extension")"""
SHOWN = """async () => [...(await room.stats()).values()]
    .filter((item) => item.type === "inbound-rtp" && item.kind === "video" && item.framesDecoded)
    .map((item) => [item.frameHeight, item.framesDecoded])"""


async def publish(server: Daemon, browser: Chromium, mode: str | None = None, layers: tuple[str, ...] = ()) -> Tab:
    bearer = await server.room_token("stage", "publish")
    return await join(server, browser, "whip", bearer, scalability=mode, layers=layers, size=SMALL)


async def watch(server: Daemon, browser: Chromium, *, descriptors: bool) -> Tab:
    viewer = await join(server, browser, "whep", await server.room_token("stage", "view"), descriptors=descriptors)
    assert await viewer.page.evaluate(DESCRIBED) is descriptors
    return viewer


async def sees(viewer: Tab, publisher: Tab, fits: Callable[[int], bool]) -> None:
    """Until the viewer decodes pictures whose height fits, one after the other."""
    deadline = asyncio.get_running_loop().time() + 60
    while True:
        # Chromium has no figures of a stream before its first packet.
        videos = streams(await viewer.media_over(2), "inbound", "video")
        assert len(videos) <= 1
        for video in videos:
            assert video.codec in ("", "AV1")
            if fits(video.height) and video.frames_per_s >= 3:
                return
        sent = await publisher.page.evaluate(SENT)
        seen = ([(video.height, video.frames_per_s) for video in videos], sent)
        assert asyncio.get_running_loop().time() < deadline, (seen, describe(viewer))


@pytest.mark.e2e
@pytest.mark.timeout(240)
@pytest.mark.parametrize("mode", ["L1T1", "L2T2_KEY", "L2T3"])
async def test_viewers_with_descriptors_see_the_largest_layer_and_others_the_smallest(
    tmp_path: Path, mode: str
) -> None:
    async with daemon(tmp_path, changes=CHANGES) as server, chromium(tmp_path) as browser:
        publisher = await publish(server, browser, mode)
        for descriptors in (True, False):
            viewer = await watch(server, browser, descriptors=descriptors)
            # Without a descriptor Chromium takes the last frame of a picture for all of it.
            expected = SMALL[1] if descriptors or mode == "L1T1" else SMALL[1] // 2
            await sees(viewer, publisher, lambda height, expected=expected: height == expected)
            await viewer.page.close()
        ((codec, used, _),) = await publisher.page.evaluate(SENT)
        assert (codec, used) == ("video/AV1", mode)
        drops = {name: value for name, value in (await server.metrics()).items() if "malformed" in name}
        assert not any(drops.values()), drops


@pytest.mark.e2e
@pytest.mark.timeout(240)
@pytest.mark.parametrize("mode", ["L2T3_KEY", "L2T2"])
async def test_who_asks_for_less_sees_a_smaller_picture_and_later_the_large_one(tmp_path: Path, mode: str) -> None:
    async with daemon(tmp_path, changes=CHANGES) as server, chromium(tmp_path) as browser:
        publisher = await publish(server, browser, mode)
        member = await enter(server, browser, "anna", kinds=())
        who = await publisher_of_video(member)
        want = {"participant": who, "kind": "video"}
        for size, height in (((320, 180), 180), ((640, 360), 360)):
            asked = {**want, "width": size[0], "height": size[1]}
            await member.run("(want) => room.subscribe([want], {fill: false})", asked)
            await shows(member, publisher, height)


async def publisher_of_video(member: Member) -> str:
    """The only one in the room who sends a picture, once the member has heard of it."""
    deadline = asyncio.get_running_loop().time() + 40
    while True:
        people = (await member.look())["people"]
        found = [person for person, publishes in people if "video" in publishes]
        if found:
            (who,) = found
            return str(who)
        assert asyncio.get_running_loop().time() < deadline, people
        await asyncio.sleep(0.2)


async def shows(member: Member, publisher: Tab, height: int) -> None:
    """Until the member's only picture has a height, and goes on."""
    deadline, before = asyncio.get_running_loop().time() + 60, 0
    while True:
        shown = await member.run(SHOWN)
        if len(shown) == 1:
            ((seen, frames),) = shown
            if seen == height and frames > before + 10 and before:
                return
            before = frames if seen == height and not before else before
        sent = await publisher.page.evaluate(SENT)
        assert asyncio.get_running_loop().time() < deadline, (sent, shown, await member.look())
        await asyncio.sleep(0.5)
