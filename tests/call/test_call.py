"""Two legs in a call: what each is told, and how the end of one is the end of both."""

from __future__ import annotations

import asyncio

import pytest

from mediaserver.call.call import Call
from mediaserver.call.events import EndCause, MediaChanged
from mediaserver.call.leg import LegMedia
from mediaserver.core.down_track import DownTrack
from mediaserver.core.up_track import UpTrack
from mediaserver.engine.commands import Subscribe, Unsubscribe
from mediaserver.errors import NegotiationError
from mediaserver.sdp.codecs import KNOWN
from tests.call.fakes import FakeEngine, FakeLeg
from tests.passing import passed


def with_audio(leg: FakeLeg, engine: FakeEngine, transport: int) -> FakeLeg:
    codecs = (KNOWN["PCMU"],)
    leg.media = {
        "audio": LegMedia(
            UpTrack(engine=engine, transport=transport, kind="audio", mid=None, codecs=codecs),  # type: ignore[arg-type]
            DownTrack(
                engine=engine,  # type: ignore[arg-type]
                transport=transport,
                kind="audio",
                mid=None,
                ssrc=transport,
                cname="c",
                codecs=codecs,
            ),
        )
    }
    return leg


def call_of(caller: FakeLeg, callee: FakeLeg, *, longest_s: float = 60) -> tuple[Call, list[EndCause]]:
    ended: list[EndCause] = []
    call = Call(
        call_id="call",
        caller=caller,
        callee=callee,
        longest_s=longest_s,
        on_ended=lambda _, cause: ended.append(cause),
    )
    return call, ended


async def test_joined_legs_meet_and_hear_each_other() -> None:
    engine = FakeEngine()
    caller, callee = with_audio(FakeLeg("a"), engine, 1), with_audio(FakeLeg("b"), engine, 2)
    call, _ = call_of(caller, callee)
    await call.join()
    assert (caller.met, callee.met) == (["b"], ["a"])
    one, two = caller.media["audio"], callee.media["audio"]
    assert one.up is not None
    assert one.down is not None
    assert two.up is not None
    assert two.down is not None
    assert [(c.id, c.up) for c in engine.of(Subscribe)] == [(one.down.id, two.up.id), (two.down.id, one.up.id)]


async def test_tracks_that_come_later_are_joined_and_unchanged_ones_left_alone() -> None:
    engine = FakeEngine()
    caller, callee = FakeLeg("a"), with_audio(FakeLeg("b"), engine, 2)
    call, _ = call_of(caller, callee)
    await call.join()
    assert engine.of(Subscribe) == []
    with_audio(caller, engine, 1)
    caller.emit(MediaChanged())
    caller.emit(MediaChanged())
    assert len(engine.of(Subscribe)) == 2
    caller.media = {}
    caller.emit(MediaChanged())
    assert len(engine.of(Unsubscribe)) == 1


async def test_a_leg_that_speaks_something_else_is_met_again_and_a_hold_is_not() -> None:
    caller, callee = FakeLeg("a"), FakeLeg("b", codecs={"audio": (KNOWN["PCMU"],)})
    call, _ = call_of(caller, callee)
    await call.join()
    callee.emit(MediaChanged())
    await asyncio.sleep(0)
    assert caller.met == ["b"]
    callee._codecs = {"audio": (KNOWN["PCMU"],), "video": (KNOWN["H264"],)}
    callee.emit(MediaChanged())
    callee.emit(MediaChanged())
    await passed(0.01)
    assert caller.met == ["b", "b"]
    assert callee.met == ["a"]


@pytest.mark.parametrize("first", ["a", "b"])
async def test_when_one_leg_ends_the_other_ends_for_the_same_cause(first: str) -> None:
    caller, callee = FakeLeg("a"), FakeLeg("b")
    call, ended = call_of(caller, callee)
    await call.join()
    cause = EndCause("agent", "hangup")
    await {"a": caller, "b": callee}[first].end(cause)
    await passed(0.01)
    assert (caller.end_cause, callee.end_cause, ended) == (cause, cause, [cause])


async def test_a_leg_that_hung_up_while_joining_ends_the_call() -> None:
    class HangsUp(FakeLeg):
        async def meet(self, other: object) -> None:
            await self.end(EndCause("caller", "hangup"))

    caller, callee = HangsUp("a"), FakeLeg("b")
    call, ended = call_of(caller, callee)
    await call.join()
    await passed(0.01)
    assert callee.ended
    assert len(ended) == 1


async def test_legs_that_cannot_meet_still_exist() -> None:
    class Stranger(FakeLeg):
        async def meet(self, other: object) -> None:
            raise NegotiationError("nothing in common", warning_code=305)

    caller, callee = Stranger("a"), FakeLeg("b")
    call, ended = call_of(caller, callee)
    with pytest.raises(NegotiationError):
        await call.join()
    assert not caller.ended
    assert not callee.ended
    assert ended == []


async def test_a_call_has_a_longest_length() -> None:
    caller, callee = FakeLeg("a"), FakeLeg("b")
    call, ended = call_of(caller, callee, longest_s=0.01)
    await call.join()
    await passed(0.05)
    assert ended == [EndCause("system", "call_duration")]
    assert callee.ended
