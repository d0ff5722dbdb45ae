"""The commands and figures of layers as they cross the boundary: simulcast publishers and targets of receivers."""

from __future__ import annotations

import pytest

from mediaserver.engine import commands
from mediaserver.engine.engine import CommandRefused, Engine
from mediaserver.errors import LimitExceeded
from tests.engine.phones import LOOPBACK

VP8 = commands.Payload(pt=96, codec="VP8", clock_rate=90_000, feedback=("nack", "nack pli"))
RTX = commands.Payload(pt=97, codec="rtx", clock_rate=90_000, fmtp={"apt": "96"})


async def add_up_track(engine: Engine, *rids: str) -> tuple[int, int]:
    """A transport with a simulcast track; their ids."""
    local = await engine.open_rtp_transport(LOOPBACK)
    up = engine.new_track_id(local.id)
    await engine.request(
        commands.AddUpTrack(
            id=up, transport=local.id, kind="video", payloads=(VP8, RTX), rids=rids, rtx_ssrcs={0xFFFF_FFF1: 7, 8: 9}
        )
    )
    return local.id, up


async def test_layers_are_taken_and_changed(small_engine: Engine) -> None:
    _, up = await add_up_track(small_engine, "h", "m", "l")
    await small_engine.request(commands.UpdateUpTrack(id=up, payloads=(VP8,), rids=("h", "l"), rtx_ssrcs={10: 11}))


@pytest.mark.parametrize("rids", [("h", "h"), ("",), ("seventeen-letters",)], ids=["repeated", "empty", "long"])
async def test_layer_names_that_cannot_be_told_apart_are_refused(small_engine: Engine, rids: tuple[str, ...]) -> None:
    with pytest.raises(CommandRefused, match="rid"):
        await add_up_track(small_engine, *rids)


async def test_a_ninth_layer_is_refused_by_name(small_engine: Engine) -> None:
    with pytest.raises(LimitExceeded) as refused:
        await add_up_track(small_engine, *"abcdefghi")
    assert refused.value.limit == "rids"


async def test_a_target_is_taken_with_and_without_bounds(small_engine: Engine) -> None:
    transport, _ = await add_up_track(small_engine)
    down = small_engine.new_track_id(transport)
    await small_engine.request(
        commands.AddDownTrack(
            id=down, transport=transport, kind="video", ssrc=5, rtx_ssrc=6, cname="test", payloads=(VP8, RTX)
        )
    )
    bounds = commands.SetDownTrackTarget(id=down, max_height=360, max_bitrate_bps=600_000, strict=True, priority=255)
    await small_engine.request(bounds)
    await small_engine.request(commands.SetDownTrackTarget(id=down, paused=True))
    with pytest.raises(CommandRefused, match="track"):
        await small_engine.request(commands.SetDownTrackTarget(id=down + 1))


async def test_media_and_retransmissions_never_share_an_ssrc(small_engine: Engine) -> None:
    transport, _ = await add_up_track(small_engine)
    down = small_engine.new_track_id(transport)
    with pytest.raises(CommandRefused, match="SSRC"):
        await small_engine.request(
            commands.AddDownTrack(id=down, transport=transport, kind="video", ssrc=5, rtx_ssrc=5, cname="test")
        )
