"""A slow line: a shared screen keeps its sharpness, and the cameras beside it give way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.browsers import MAKES, Make, Stage, stage
from tests.e2e.members import JOIN, token_of, until
from tests.e2e.rooms import Page
from tests.peers.impaired_line import ImpairedLine, Impairment

ROOM = {"rooms": {"audio_slots": 1, "video_slots": 3}}
SLOW = Impairment(rate_bps=700_000, delay_ms=20)
"""Enough for the screen and the smaller pictures of two cameras. The largest picture of one costs more than all of it."""
CAMERAS: dict[Make, tuple[int, int]] = {"chromium": (960, 540), "firefox": (640, 360)}
"""Chromium sends three layers of nothing smaller. Firefox's is painted: its fake one costs so little that both fit."""
START_S = 120
"""So long until all is shown as large as it is: Firefox begins with a quarter of a screen's size, and takes its time."""
SCREEN = 540
"""Lines of the screen."""
PICTURES = 30
"""So many of it are to be seen on the slow line; five a second are drawn."""

VIEW = """async () => {
    const figures = [...(await room.stats()).values()].filter((item) => item.type === "inbound-rtp");
    return [...room.slots.values()].filter(({kind, participant}) => kind !== "audio" && participant)
        .map(({mid, kind}) => ({...figures.find((item) => item.mid === mid), shows: kind}))
        .map(({shows, frameHeight, framesDecoded}) => [shows, frameHeight ?? 0, framesDecoded ?? 0]);
}"""


@dataclass(frozen=True, slots=True)
class View:
    """What a viewer is shown at a moment: lines of the screen and of the cameras, and pictures of the screen so far."""

    screen: int
    cameras: tuple[int, ...]
    screen_frames: int


async def view_of(page: Page) -> View:
    """Nothing of something is 0 lines."""
    seen = await page.evaluate(VIEW)
    screens = [(height, frames) for kind, height, frames in seen if kind == "screen"]
    cameras = sorted(height for kind, height, _ in seen if kind == "video")
    height, frames = screens[0] if screens else (0, 0)
    return View(height, tuple(cameras), frames)


async def join(house: Stage, page: Page, name: str, *kinds: str) -> None:
    """The page is a member of the room."""
    width, height = CAMERAS[house.make]
    token = await token_of(house.server, name)
    given: dict[str, Any] = {
        "token": token,
        "kinds": kinds,
        "width": width,
        "height": height,
        "painted": house.make == "firefox",
    }
    await page.evaluate(JOIN, given)


async def gives_way(viewer: Page, line: ImpairedLine, top: int) -> None:
    """The story of the line behind which the viewer is; ``top`` are the lines of a camera's largest picture."""

    async def seen(wanted: Callable[[View], bool], within_s: float) -> None:
        async def met() -> bool:
            return wanted(await view_of(viewer))

        await until(met, lambda: view_of(viewer), within_s)

    await seen(lambda view: (view.screen, view.cameras) == (SCREEN, (top, top)), START_S)
    await line.set(down=SLOW)
    await seen(lambda view: len(view.cameras) == 2 and min(view.cameras) < top, 30)
    shown = (await view_of(viewer)).screen_frames

    async def goes_on() -> bool:
        view = await view_of(viewer)
        assert view.screen == SCREEN, view
        assert min(view.cameras) < top, "there is no room for both"
        return view.screen_frames >= shown + PICTURES

    await until(goes_on, lambda: view_of(viewer), 60)
    await line.set(down=Impairment())
    await seen(lambda view: (view.screen, view.cameras) == (SCREEN, (top, top)), 60)


@pytest.mark.e2e
@pytest.mark.timeout(360)
@pytest.mark.parametrize("make", MAKES)
async def test_a_screen_stays_sharp_and_cameras_give_way(tmp_path: Path, make: Make) -> None:
    async with stage(make, tmp_path, ROOM) as house:
        line = await house.line()
        await join(house, await house.open(), "presenter", "audio", "video", "screen")
        await join(house, await house.open(), "guest", "video")
        viewer = await house.open(line)
        await join(house, viewer, "viewer")
        await gives_way(viewer, line, CAMERAS[make][1])
