"""Members of a room: fixed slots whose people change, the active speaker, what one may publish; no description again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.members import JOIN, LOOK, Member, enter, token_of, until
from tests.peers.chromium import chromium
from tests.peers.daemon import daemon
from tests.peers.firefox import firefox
from tests.peers.namespace import namespace

ONE_SLOT = {"media": {"shards": 2}, "rooms": {"audio_slots": 1, "video_slots": 1}}


MIDDLE_LAYER = "m"
ACTIVE_LAYERS = """async () => [...(await room.stats()).values()]
    .filter((item) => item.type === "outbound-rtp" && item.rid && item.active).map((item) => item.rid)"""


async def names_active(viewer: Member, who: Member) -> None:
    """The viewer is told who the active speaker is."""

    async def told() -> bool:
        return (await viewer.look())["active"] == who.id

    await until(told, viewer.look, 30)


async def shows(viewer: Member, kind: str, who: Member) -> None:
    """The viewer's only slot of a kind goes over to somebody."""

    async def there() -> bool:
        return await viewer.shown(kind) == [who.id]

    await until(there, viewer.look, 30)


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_slots_follow_the_speaker_and_nobody_negotiates_again(tmp_path: Path) -> None:
    async with daemon(tmp_path, changes=ONE_SLOT) as server, chromium(tmp_path) as browser:
        anna, bert, cleo = [await enter(server, browser, name) for name in ("anna", "bert", "cleo")]
        await anna.run("talk()")
        for listener in (bert, cleo):
            await names_active(listener, anna)
            await shows(listener, "video", anna)
            await shows(listener, "audio", anna)
        await anna.run("hush()")
        await cleo.run("talk()")
        for listener in (anna, bert):
            await names_active(listener, cleo)
            await shows(listener, "video", cleo)
            await shows(listener, "audio", cleo)
        slots = {kind: mid for mid, kind, _ in (await bert.look())["slots"]}
        before = await bert.received()

        async def seen_and_heard() -> bool:
            now = await bert.received()
            pictures, sound = (
                now[slots[kind]][at] - before[slots[kind]][at] for kind, at in (("video", 0), ("audio", 1))
            )
            return pictures >= 30 and sound > 0.001

        await until(seen_and_heard, bert.received, 30)
        # Somebody comes, is seen by name, and goes again.
        dora = await enter(server, browser, "dora", kinds=("audio",))

        async def counts(number: int) -> bool:
            return all([len((await member.look())["people"]) == number for member in (anna, bert, cleo)])

        await until(lambda: counts(3), anna.look, 30)
        await dora.run("room.leave()")
        await until(lambda: counts(2), anna.look, 30)
        for member in (anna, bert, cleo):
            seen = await member.look()
            assert (seen["descriptions"], seen["problems"], seen["over"]) == (2, [], None)


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_a_member_chooses_whom_to_see_how_large_and_a_moderator_what_is_published(tmp_path: Path) -> None:
    changes = {"rooms": {"audio_slots": 2, "video_slots": 1}}
    async with daemon(tmp_path, changes=changes) as server, chromium(tmp_path) as browser:
        anna = await enter(server, browser, "anna", size=(1280, 720))
        bert = await enter(server, browser, "bert", publish=["audio"])
        cleo = await enter(server, browser, "cleo", moderate=True)
        # Bert's token says sound only: he has no section for a picture, and nobody is told that he shows one.
        published = {anna.id: ["audio", "video"], bert.id: ["audio"]}

        async def known() -> bool:
            return dict((await cleo.look())["people"]) == published

        await until(known, cleo.look, 30)
        want = {"participant": anna.id, "kind": "video", "width": 320, "height": 180}
        await cleo.run("(want) => room.subscribe([want, {participant: 'nobody', kind: 'video'}], {fill: false})", want)
        await shows(cleo, "video", anna)

        # Nobody else looks at Anna: her page is told to leave the middle layer out, and to send it again.
        async def sends(middle: bool) -> bool:
            return (MIDDLE_LAYER in await anna.run(ACTIVE_LAYERS)) is middle

        await bert.run("room.subscribe([], {fill: false})")
        await until(lambda: sends(False), anna.look, 30)
        await cleo.run("(want) => room.subscribe([{...want, width: null, height: null}], {fill: false})", want)
        await until(lambda: sends(True), anna.look, 30)

        await cleo.run("(id) => room.permit(id, ['audio'])", anna.id)

        async def cut_off() -> bool:
            return (await anna.look())["allowed"] == ["audio"] and await cleo.shown("video") == []

        await until(cut_off, cleo.look, 30)
        assert dict((await cleo.look())["people"])[anna.id] == ["audio"]
        await bert.run("(id) => room.permit(id, ['audio'])", cleo.id)

        async def refused() -> bool:
            return [problem["code"] for problem in (await bert.look())["problems"]] == ["bad_permit"]

        await until(refused, bert.look, 30)
        for member in (anna, bert, cleo):
            assert (await member.look())["descriptions"] == 2


SECOND = """async (token) => {
    const {Room} = await import("/web/room.js");
    globalThis.second = new Room(location.origin, token).open();
}"""
SECOND_RECEIVES = """async () => [...((await second.stats())?.values() ?? [])]
    .filter((item) => item.type === "inbound-rtp" && (item.framesDecoded ?? item.packetsReceived) > 10)
    .map((item) => item.kind).sort()"""


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_firefox_is_a_member_and_sees_and_hears_one(tmp_path: Path) -> None:
    async with (
        namespace() as inside,
        daemon(tmp_path, network=inside) as server,
        firefox(tmp_path, inside) as browser,
    ):
        await browser.goto(f"{server.http_url}/agent")
        given = {"token": await token_of(server, "fox"), "kinds": ["audio", "video"], "width": 640, "height": 360}
        await browser.evaluate(JOIN, given)
        await browser.evaluate(SECOND, await token_of(server, "owl"))

        async def received() -> bool:
            return await browser.evaluate(SECOND_RECEIVES) == ["audio", "video"]

        async def complaint() -> object:
            return await browser.evaluate(LOOK), browser.errors

        await until(received, complaint, 60)
        seen = await browser.evaluate(LOOK)
        # Two connections of one page, an offer and an answer each.
        assert (seen["descriptions"], seen["over"], browser.errors) == (4, None, [])
