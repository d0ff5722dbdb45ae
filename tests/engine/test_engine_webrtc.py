"""WebRTC through the engine: aiortc sends sound and picture, another aiortc receives and decodes them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiortc.mediastreams import AudioStreamTrack, VideoStreamTrack

from mediaserver.engine import commands, events
from mediaserver.engine.certificate import DtlsCertificate
from mediaserver.engine.engine import Engine
from tests.engine.browsers import Browser, publish, watch
from tests.engine.conftest import running
from tests.engine.phones import LOOPBACK, until


@pytest.fixture(autouse=True)
def loopback_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    """aiortc leaves the loopback address out of its candidates."""
    monkeypatch.setattr("aioice.ice.get_host_addresses", lambda use_ipv4, use_ipv6: [LOOPBACK])


@pytest.fixture
async def browsers() -> AsyncIterator[list[Browser]]:
    opened: list[Browser] = []
    yield opened
    for browser in opened:
        await browser.close()


async def test_sound_and_picture_reach_another_browser(
    engine: Engine, dtls_certificate: DtlsCertificate, browsers: list[Browser]
) -> None:
    sender = await publish(engine, dtls_certificate, [AudioStreamTrack(), VideoStreamTrack()])
    browsers.append(sender)
    seen: list[events.AnyEvent] = []
    engine.subscribe_events(sender.local.id, seen.append)
    viewer = await watch(engine, dtls_certificate, sender)
    browsers.append(viewer)
    frames = viewer.frames
    await until(
        lambda: len(frames["audio"]) >= 25 and len(frames["video"]) >= 10,
        what="25 frames of sound and 10 of picture",
        timeout_s=20,
    )
    assert (frames["video"][-1].width, frames["video"][-1].height) == (640, 480)
    connected = [event for event in seen if isinstance(event, events.TransportConnected)]
    assert len(connected) == 1
    assert connected[0].srtp_profile.startswith(("AES_CM", "AEAD"))
    assert engine.connected.total() == 2
    stats = {item.id: item for item in await engine.stats([sender.local.id, viewer.local.id])}
    assert {track.codec for track in stats[sender.local.id].up} == {"opus", "VP8"}
    assert all(track.packets > 0 for track in stats[viewer.local.id].down)
    assert engine.counters()["panics"] == 0
    assert engine.counters()["drop.handover_full"] == 0


async def test_with_a_port_for_each_shard_no_packet_comes_to_the_wrong_one(
    dtls_certificate: DtlsCertificate, browsers: list[Browser]
) -> None:
    async with running(dtls_certificate, shards=2, ports=2) as engine:
        sender = await publish(engine, dtls_certificate, [AudioStreamTrack(), VideoStreamTrack()])
        viewers = [await watch(engine, dtls_certificate, sender) for _ in range(3)]
        browsers += [sender, *viewers]
        await until(lambda: all(len(viewer.frames["audio"]) >= 5 for viewer in viewers), what="sound", timeout_s=20)
        assert len({port for browser in browsers for _, port in browser.local.addresses}) == 2
        assert engine.counters()["datagrams_handed_over"] == 0
        for browser in browsers:
            await browser.close()


async def test_no_picture_passes_before_consent_and_it_comes_at_once_after(
    engine: Engine, dtls_certificate: DtlsCertificate, browsers: list[Browser]
) -> None:
    tracks = [AudioStreamTrack(), VideoStreamTrack()]
    sender = await publish(engine, dtls_certificate, tracks, closed_gates=("consent",))
    browsers.append(sender)
    viewer = await watch(engine, dtls_certificate, sender)
    browsers.append(viewer)
    await until(
        lambda: len(viewer.frames["audio"]) >= 10 and engine.counters().get("drop.gate_consent", 0) >= 5,
        what="sound, and gated picture packets",
        timeout_s=20,
    )
    [stats] = await engine.stats([viewer.local.id])
    picture = next(track for track in stats.down if track.id == viewer.section("video").track)
    assert (picture.packets, viewer.frames["video"]) == (0, [])
    await engine.request(commands.SetGate(id=sender.section("video").track, gate="consent", open=True))
    await until(lambda: len(viewer.frames["video"]) >= 5, what="picture after consent", timeout_s=10)


async def test_a_browser_that_leaves_is_noticed(
    small_engine: Engine, dtls_certificate: DtlsCertificate, browsers: list[Browser]
) -> None:
    sender = await publish(small_engine, dtls_certificate, [AudioStreamTrack()])
    seen: list[events.AnyEvent] = []
    small_engine.subscribe_events(sender.local.id, seen.append)
    small_engine.subscribe_events(sender.section("audio").track, seen.append)
    await until(
        lambda: any(isinstance(event, events.UpTrackStarted) for event in seen), what="first packet", timeout_s=10
    )
    # Its own handshake ends a moment after ours, and before that it has no way to say goodbye.
    await until(lambda: sender.connection.connectionState == "connected", what="connected browser", timeout_s=10)
    await sender.close()
    await until(
        lambda: any(isinstance(event, events.TransportClosed) and event.reason == "peer_closed" for event in seen),
        what="closed by the peer",
        timeout_s=10,
    )
    (last,) = [event.last for event in seen if isinstance(event, events.TransportClosed)]
    assert last is not None
    assert last.packets_received > 0
    assert [track.packets > 0 for track in last.up] == [True]


async def test_a_wrong_fingerprint_ends_the_transport(
    small_engine: Engine, dtls_certificate: DtlsCertificate, browsers: list[Browser], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[events.AnyEvent] = []
    original = small_engine.submit

    def tamper(*batch: commands.Command) -> None:
        for command in batch:
            if isinstance(command, commands.SetIceRemote):
                small_engine.subscribe_events(command.id, seen.append)
                wrong = commands.Fingerprint(algorithm="sha-256", value=bytes(32))
                command = commands.SetIceRemote(
                    id=command.id, ufrag=command.ufrag, pwd=command.pwd, fingerprints=(wrong,)
                )
            original(command)

    monkeypatch.setattr(small_engine, "submit", tamper)
    browsers.append(await publish(small_engine, dtls_certificate, [AudioStreamTrack()]))
    await until(lambda: any(isinstance(event, events.TransportClosed) for event in seen), what="closed", timeout_s=10)
    reasons = [event.reason for event in seen if isinstance(event, events.TransportClosed)]
    assert reasons == ["fingerprint_mismatch"]
    assert not any(isinstance(event, events.TransportConnected) for event in seen)
    await asyncio.sleep(0)
