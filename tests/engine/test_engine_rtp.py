"""SIP legs through the engine: plain RTP and SDES-SRTP, both ways, between shards, with gates, clips and digits."""

from __future__ import annotations

import asyncio
import os
import struct
from dataclasses import dataclass

import pytest

from mediaserver.engine import commands, events
from mediaserver.engine.engine import CommandRefused, Engine, LocalRtp
from mediaserver.engine.ids import shard_of
from mediaserver.errors import LimitExceeded
from tests.engine.phones import LOOPBACK, PCMU, TELEPHONE_EVENT, Phone, payload_of, until


@dataclass
class Leg:
    """A phone and the engine's transport towards it, with a track in each direction."""

    phone: Phone
    local: LocalRtp
    up: int
    down: int
    events: list[events.AnyEvent]

    @property
    def target(self) -> tuple[str, int]:
        return self.local.ip, self.local.rtp_port


async def open_leg(
    engine: Engine,
    *,
    closed_gates: tuple[str, ...] = (),
    srtp: commands.SrtpKeys | None = None,
    latching_ms: int = 0,
    timeout_ms: int = 0,
) -> Leg:
    phone = await Phone.open()
    local = await engine.open_rtp_transport(LOOPBACK, latching_ms=latching_ms, timeout_ms=timeout_ms)
    up, down = engine.new_track_id(local.id), engine.new_track_id(local.id)
    seen: list[events.AnyEvent] = []
    for object_id in (local.id, up, down):
        engine.subscribe_events(object_id, seen.append)
    payloads = (PCMU, TELEPHONE_EVENT)
    engine.submit(
        commands.SetRtpRemote(id=local.id, rtp=phone.address, srtp=srtp),
        commands.AddUpTrack(id=up, transport=local.id, kind="audio", payloads=payloads, closed_gates=closed_gates),
        commands.AddDownTrack(
            id=down, transport=local.id, kind="audio", ssrc=0x1000 + local.rtp_port, cname="test", payloads=payloads
        ),
    )
    return Leg(phone, local, up, down, seen)


async def bridge(engine: Engine, left: Leg, right: Leg) -> None:
    await asyncio.gather(
        engine.request(commands.Subscribe(id=left.down, up=right.up)),
        engine.request(commands.Subscribe(id=right.down, up=left.up)),
    )
    # With two shards a subscription still has to reach the other one; there it is taken before this is answered.
    await engine.ping()


async def test_two_phones_hear_each_other(engine: Engine) -> None:
    left, right = await open_leg(engine), await open_leg(engine)
    if engine.config.shards == 2:
        assert shard_of(left.local.id) != shard_of(right.local.id)
    await bridge(engine, left, right)
    for number in range(20):
        left.phone.send(left.phone.rtp(bytes([number]) * 160), left.target)
        right.phone.send(right.phone.rtp(bytes([100 + number]) * 160), right.target)
        await asyncio.sleep(0.002)
    await until(lambda: len(left.phone.received) == len(right.phone.received) == 20, what="20 packets each way")
    assert [payload_of(packet) for packet in right.phone.received] == [bytes([n]) * 160 for n in range(20)]
    assert [payload_of(packet) for packet in left.phone.received] == [bytes([100 + n]) * 160 for n in range(20)]
    assert set(right.phone.sources) == {right.target}, "symmetric RTP: sent from the port that receives"
    sequences = [struct.unpack_from("!H", packet, 2)[0] for packet in right.phone.received]
    assert sequences == list(range(sequences[0], sequences[0] + 20))
    assert {struct.unpack_from("!I", packet, 8)[0] for packet in right.phone.received} == {
        0x1000 + right.local.rtp_port
    }
    assert any(isinstance(event, events.UpTrackStarted) and event.codec == "PCMU" for event in left.events)


async def test_stats_count_what_passed(engine: Engine) -> None:
    left, right = await open_leg(engine), await open_leg(engine)
    await bridge(engine, left, right)
    for _ in range(5):
        left.phone.send(left.phone.rtp(b"x" * 160), left.target)
    await until(lambda: len(right.phone.received) == 5, what="5 packets")
    by_id = {stats.id: stats for stats in await engine.stats([left.local.id, right.local.id])}
    up, down = by_id[left.local.id].up[0], by_id[right.local.id].down[0]
    assert (up.id, up.packets, up.bytes, up.codec, up.lost) == (left.up, 5, 800, "PCMU", 0)
    assert (down.id, down.packets, down.bytes, down.codec) == (right.down, 5, 800, "PCMU")
    assert by_id[left.local.id].packets_received == 5


async def test_a_closed_gate_drops_and_counts_until_it_opens(engine: Engine) -> None:
    left, right = await open_leg(engine, closed_gates=("consent",)), await open_leg(engine)
    await bridge(engine, left, right)
    for _ in range(7):
        left.phone.send(left.phone.rtp(b"secret" * 20), left.target)
    await until(lambda: engine.counters().get("drop.gate_consent") == 7, what="7 gated packets in the counter")
    assert right.phone.received == []
    [stats] = await engine.stats([left.local.id])
    assert stats.up[0].gated["consent"] == 7
    await engine.request(commands.SetGate(id=left.up, gate="consent", open=True))
    left.phone.send(left.phone.rtp(b"public" * 20), left.target)
    await until(lambda: len(right.phone.received) == 1, what="the packet after the gate opened")
    assert payload_of(right.phone.received[0]) == b"public" * 20


SRTP_SUITES: dict[commands.SrtpSuite, int] = {
    "AES_CM_128_HMAC_SHA1_80": 30,
    "AES_CM_128_HMAC_SHA1_32": 30,
    "AEAD_AES_128_GCM": 28,
    "AEAD_AES_256_GCM": 44,
}


@pytest.mark.parametrize("suite", SRTP_SUITES)
async def test_two_engines_talk_sdes_srtp(small_engine: Engine, suite: commands.SrtpSuite) -> None:
    """phone -> plain leg -> SRTP leg => SRTP leg -> plain leg -> phone, all in one engine."""
    ours, theirs = os.urandom(SRTP_SUITES[suite]), os.urandom(SRTP_SUITES[suite])
    caller, callee = await open_leg(small_engine), await open_leg(small_engine)
    near, far = await open_leg(small_engine), await open_leg(small_engine)
    near_keys = commands.SrtpKeys(local_suite=suite, local_key=ours, remote_suite=suite, remote_key=theirs)
    far_keys = commands.SrtpKeys(local_suite=suite, local_key=theirs, remote_suite=suite, remote_key=ours)
    small_engine.submit(
        commands.SetRtpRemote(id=near.local.id, rtp=far.target, srtp=near_keys),
        commands.SetRtpRemote(id=far.local.id, rtp=near.target, srtp=far_keys),
    )
    await bridge(small_engine, caller, near)
    await bridge(small_engine, callee, far)
    for number in range(10):
        caller.phone.send(caller.phone.rtp(bytes([number]) * 160), caller.target)
        callee.phone.send(callee.phone.rtp(bytes([50 + number]) * 160), callee.target)
    await until(lambda: len(callee.phone.received) == len(caller.phone.received) == 10, what="10 packets each way")
    assert [payload_of(packet) for packet in callee.phone.received] == [bytes([n]) * 160 for n in range(10)]
    assert [payload_of(packet) for packet in caller.phone.received] == [bytes([50 + n]) * 160 for n in range(10)]
    connected = [event for event in near.events if isinstance(event, events.TransportConnected)]
    assert [event.srtp_profile for event in connected] == [suite]


async def test_plain_rtp_on_an_srtp_leg_is_dropped_by_name(small_engine: Engine) -> None:
    key = os.urandom(28)
    keys = commands.SrtpKeys(
        local_suite="AEAD_AES_128_GCM", local_key=key, remote_suite="AEAD_AES_128_GCM", remote_key=key
    )
    left, right = await open_leg(small_engine, srtp=keys), await open_leg(small_engine)
    await bridge(small_engine, left, right)
    left.phone.send(left.phone.rtp(b"plain" * 20), left.target)
    await until(lambda: small_engine.counters().get("drop.srtp_authentication") == 1, what="one failed authentication")
    assert right.phone.received == []


async def test_a_stranger_is_not_heard_and_not_answered(small_engine: Engine) -> None:
    left, right = await open_leg(small_engine), await open_leg(small_engine)
    await bridge(small_engine, left, right)
    stranger = await Phone.open("127.0.0.2")
    stranger.send(stranger.rtp(b"x" * 160), left.target)
    await until(lambda: small_engine.counters().get("drop.unexpected_source") == 1, what="one unexpected source")
    right.phone.send(right.phone.rtp(b"y" * 160), right.target)
    await until(lambda: len(left.phone.received) == 1, what="media for the phone")
    assert right.phone.received == []
    assert stranger.received == []


async def test_media_follows_a_phone_behind_nat_within_the_latching_window(small_engine: Engine) -> None:
    left, right = await open_leg(small_engine, latching_ms=5_000), await open_leg(small_engine)
    small_engine.submit(commands.SetRtpRemote(id=left.local.id, rtp=("192.0.2.1", 4000)))
    await bridge(small_engine, left, right)
    for _ in range(10):
        left.phone.send(left.phone.rtp(b"x" * 160), left.target)
        await asyncio.sleep(0.002)
    await until(lambda: len(right.phone.received) > 0, what="media from the real address")
    right.phone.send(right.phone.rtp(b"y" * 160), right.target)
    await until(lambda: len(left.phone.received) == 1, what="media to the real address")


async def test_silence_is_reported_once_and_its_end_too(small_engine: Engine) -> None:
    left = await open_leg(small_engine, timeout_ms=150)
    left.phone.send(left.phone.rtp(b"x" * 160), left.target)
    await until(lambda: any(isinstance(event, events.MediaTimeout) for event in left.events), what="media timeout")
    left.phone.send(left.phone.rtp(b"x" * 160), left.target)
    await until(lambda: any(isinstance(event, events.MediaResumed) for event in left.events), what="media resumed")


async def test_a_clip_plays_in_time_and_gives_the_source_back(engine: Engine) -> None:
    left, right = await open_leg(engine), await open_leg(engine)
    await bridge(engine, left, right)
    packets = tuple(
        commands.ClipPacket(timestamp=160 * n, marker=n == 0, keyframe=False, payload=bytes([n]) * 160)
        for n in range(30)
    )
    clip = await engine.load_clip([commands.ClipTrack(codec="PCMU", clock_rate=8000, packets=packets, duration_ms=600)])
    begun = asyncio.get_running_loop().time()
    await engine.request(commands.Play(id=clip, ids=(right.down,), clip=clip))
    left.phone.send(left.phone.rtp(b"live" * 40), left.target)
    await until(lambda: any(isinstance(event, events.PlayFinished) for event in right.events), what="end of the clip")
    took = asyncio.get_running_loop().time() - begun
    assert 0.59 <= took < 10
    assert [payload_of(packet)[0] for packet in right.phone.received] == list(range(30))
    left.phone.send(left.phone.rtp(b"live" * 40), left.target)
    await until(lambda: len(right.phone.received) == 31, what="the source after the clip")
    sequences = [struct.unpack_from("!H", packet, 2)[0] for packet in right.phone.received]
    assert sequences == list(range(sequences[0], sequences[0] + 31)), "no gap between clip and source"


async def test_digits_are_sent_and_received_once_each(engine: Engine) -> None:
    left, right = await open_leg(engine), await open_leg(engine)
    small = commands.SetRtpRemote(id=left.local.id, rtp=right.target)
    engine.submit(small, commands.SetRtpRemote(id=right.local.id, rtp=left.target))
    await engine.request(commands.SendDtmf(id=left.down, digits="4#", duration_ms=80, gap_ms=40))

    def digits() -> list[str]:
        return [event.digit for event in right.events if isinstance(event, events.DtmfReceived)]

    await until(lambda: len(digits()) == 2, what="two digits")
    await asyncio.sleep(0.1)
    assert digits() == ["4", "#"]


async def test_a_closed_transport_gives_its_ports_back_and_says_so(small_engine: Engine) -> None:
    leg = await open_leg(small_engine)
    small_engine.close_transport(leg.local.id)
    await until(lambda: any(isinstance(event, events.TransportClosed) for event in leg.events), what="closed event")
    assert await small_engine.stats([leg.local.id]) == []
    again = await small_engine.open_rtp_transport(LOOPBACK)
    assert again.rtp_port != leg.local.rtp_port, "a released pair rests"


async def test_port_pairs_run_out_by_name(small_engine: Engine) -> None:
    opened = [small_engine.open_rtp_transport(LOOPBACK) for _ in range(110)]
    results = await asyncio.gather(*opened, return_exceptions=True)
    refused = {result.limit for result in results if isinstance(result, LimitExceeded)}
    assert refused == {"sip_ports"}
    assert all(isinstance(result, LocalRtp | LimitExceeded) for result in results)


async def test_commands_about_unknown_objects_are_refused(small_engine: Engine) -> None:
    unknown = small_engine.new_id()
    with pytest.raises(CommandRefused, match="no such track"):
        await small_engine.request(commands.RequestKeyframe(id=unknown))
    with pytest.raises(CommandRefused, match="not configured"):
        await small_engine.open_rtp_transport("192.0.2.1")


async def test_garbage_is_dropped_by_name_and_nothing_breaks(engine: Engine) -> None:
    left, right = await open_leg(engine), await open_leg(engine)
    await bridge(engine, left, right)
    shared = (await engine.open_ice_transport()).addresses[0]
    for number in range(200):
        junk = os.urandom(1 + number * 7 % 1400)
        left.phone.send(junk, left.target)
        left.phone.send(junk, shared)
    left.phone.send(b"", left.target)
    left.phone.send(left.phone.rtp(b"good" * 40), left.target)
    await until(lambda: len(right.phone.received) >= 1, what="media after garbage")
    await until(lambda: engine.counters().get("drop.endpoint_unbound_tuple", 0) > 0, what="unbound tuples counted")
    assert engine.counters()["panics"] == 0
