"""A caller on a page: announcement, connection, consent and gates, hangup, and why nobody answered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mediaserver.call.call import Call
from mediaserver.call.call_request import CallRequest
from mediaserver.call.dial_failed import DialFailed
from mediaserver.call.events import EndCause, PartyChanged
from mediaserver.call.routing import Destination
from mediaserver.call.webrtc_leg import WebRtcLeg
from mediaserver.config.sections import Entry, Target
from mediaserver.contact.caller_session import CallerSession
from mediaserver.contact.contact import Contact
from mediaserver.engine.commands import AddUpTrack, Play, SetGate, StopPlaying
from mediaserver.engine.events import EdgeLeft, TransportClosed, TransportConnected, TransportStats, UpTrackStats
from mediaserver.errors import RemoteProtocolError
from mediaserver.sdp.codecs import KNOWN
from mediaserver.sdp.description import Fingerprint
from mediaserver.webrtc import messages
from mediaserver.webrtc.section import MediaPolicy
from tests.call.fakes import FakeEngine, FakeLeg, FakeSignaling
from tests.passing import passed

OFFER = (Path(__file__).parents[1] / "data/sdp/chromium_sendrecv.sdp").read_text()


class FakeCalls:
    """Connects when the test says so, or fails as it says."""

    def __init__(self) -> None:
        self.request: CallRequest | None = None
        self.callee = FakeLeg("agent", codecs={"audio": (KNOWN["opus"],), "video": (KNOWN["VP8"],)})
        self.outcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def connect(self, request: CallRequest, *, on_ended: Callable[[Call, EndCause], None]) -> Call:
        self.request = request
        await self.outcome
        call = Call(call_id="call", caller=request.caller, callee=self.callee, longest_s=60, on_ended=on_ended)
        await call.join()
        return call


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.fixture
def house() -> Any:
    return make_house()


def make_house(*, video: str = "two-way") -> Any:
    engine, signaling = FakeEngine(), FakeSignaling()
    contact, over = Contact(id="contact", source="192.0.2.1", entry="demo"), []
    leg = WebRtcLeg(
        leg_id="leg",
        contact_id=contact.id,
        name="Visitor",
        party="caller",
        engine=engine,  # type: ignore[arg-type]
        fingerprint=Fingerprint("sha-256", bytes(32)),
        policy=MediaPolicy(audio=("opus", "PCMU"), video=("VP8", "H264")),
        signaling=signaling,
        closed_gates={"video": ("consent", "queued")},
        may_send_video=video == "two-way",
    )
    contact.add_leg(leg)
    return SimpleNamespace(engine=engine, signaling=signaling, contact=contact, leg=leg, over=over, video=video)


async def session_of(house: Any) -> tuple[CallerSession, FakeCalls]:
    calls = FakeCalls()
    session = CallerSession(
        contact=house.contact,
        leg=house.leg,
        entry=Entry(video=house.video),
        destination=Destination(Target(user="agent"), None, "entry demo"),
        announcement=(77, True),
        calls=calls,  # type: ignore[arg-type]
        engine=house.engine,
        signaling=house.signaling,
        on_over=house.over.append,
    )
    await session.handle(messages.Offer(id=1, sdp=OFFER))
    await settle()
    return session, calls


async def test_the_offer_is_answered_at_once_and_the_destination_rings(house: Any) -> None:
    _, calls = await session_of(house)
    (answer,) = house.signaling.of(messages.Answer)
    assert answer.id == 1
    assert calls.request is not None
    assert {"opus", "PCMU"} <= {codec.name for codec in calls.request.caller.codecs["audio"]}


async def test_no_announcement_begins_over_what_the_caller_hears_already(house: Any) -> None:
    await session_of(house)
    house.leg.hears_early = True
    house.engine.deliver(TransportConnected(id=house.leg.transports[0], remote=("127.0.0.1", 1), srtp_profile="x"))
    await settle()
    assert house.engine.of(Play) == []


async def test_the_announcement_plays_from_the_moment_media_can_flow_until_somebody_answers(house: Any) -> None:
    _, calls = await session_of(house)
    assert house.engine.of(Play) == []
    house.engine.deliver(TransportConnected(id=house.leg.transports[0], remote=("127.0.0.1", 1), srtp_profile="x"))
    await settle()
    (play,) = house.engine.of(Play)
    assert (play.clip, play.loop, len(play.ids)) == (77, True, 2)
    calls.outcome.set_result(None)
    await settle()
    assert [command.ids for command in house.engine.of(StopPlaying)] == [play.ids]


async def test_the_picture_is_shut_until_both_the_agent_is_there_and_the_customer_consents(house: Any) -> None:
    session, calls = await session_of(house)
    (video,) = [track for track in house.engine.of(AddUpTrack) if track.kind == "video"]
    assert set(video.closed_gates) == {"consent", "queued"}
    calls.outcome.set_result(None)
    await settle()
    assert [(c.gate, c.open) for c in house.engine.of(SetGate)] == [("queued", True)]
    await session.handle(messages.Consent(camera=True, text_version="1"))
    assert (house.engine.of(SetGate)[-1].gate, house.engine.of(SetGate)[-1].open) == ("consent", True)
    await session.handle(messages.Consent(camera=False, text_version="1"))
    assert (house.engine.of(SetGate)[-1].gate, house.engine.of(SetGate)[-1].open) == ("consent", False)
    assert [consent.given for consent in house.contact.consents] == [True, False]


async def test_a_page_whose_edge_is_lost_is_asked_for_an_ice_restart(house: Any) -> None:
    await session_of(house)
    house.engine.deliver(EdgeLeft(id=house.leg.transports[0]))
    await settle()
    assert [message.type for message in house.signaling.sent].count("restart_ice") == 1


async def test_consent_to_another_text_than_the_entrys_is_kept_as_said_and_noted(house: Any) -> None:
    session, _ = await session_of(house)
    for version in ("1", "0.9"):
        await session.handle(messages.Consent(camera=True, text_version=version))
    assert [consent.text_version for consent in house.contact.consents] == ["1", "0.9"]
    noted = [entry.detail for entry in house.contact.timeline.entries if entry.what == "consent_text_differs"]
    assert noted == ["the entry's is 1"]


async def test_an_entry_that_never_shows_the_camera_refuses_consent() -> None:
    house = make_house(video="agent-only")
    session, _ = await session_of(house)
    with pytest.raises(RemoteProtocolError):
        await session.handle(messages.Consent(camera=True, text_version="1"))
    assert house.engine.of(SetGate) == []


async def test_nobody_answering_ends_the_contact_with_the_code(house: Any) -> None:
    _, calls = await session_of(house)
    calls.outcome.set_exception(DialFailed(486, "Busy Here"))
    await settle()
    (contact,) = house.over
    assert (contact.cause.by, contact.cause.reason, contact.cause.code) == ("agent", "busy", 486)
    assert house.signaling.of(messages.Ended)[0].code == 486


async def test_hanging_up_before_an_answer_stops_the_ringing(house: Any) -> None:
    session, calls = await session_of(house)
    await session.handle(messages.Hangup())
    await settle()
    assert calls.outcome.cancelled()
    assert [contact.cause for contact in house.over] == [EndCause("caller", "hangup")]
    with pytest.raises(RemoteProtocolError):
        await session.handle(messages.Hangup())


async def test_the_agents_hangup_ends_both_and_is_recorded_once(house: Any) -> None:
    _, calls = await session_of(house)
    calls.outcome.set_result(None)
    await settle()
    await calls.callee.end(EndCause("agent", "hangup"))
    await passed(0.01)
    assert [contact.cause for contact in house.over] == [EndCause("agent", "hangup")]
    assert house.leg.ended


async def test_a_page_that_vanishes_ends_the_call_with_a_reason(house: Any) -> None:
    _, calls = await session_of(house)
    calls.outcome.set_result(None)
    await settle()
    house.engine.deliver(TransportClosed(id=house.leg.transports[0], reason="consent_expired"))
    await passed(0.01)
    (contact,) = house.over
    assert (contact.cause.by, contact.cause.reason) == ("system", "consent_expired")


async def test_a_hangup_is_recorded_as_one_though_the_closed_connection_is_noticed_before_it(house: Any) -> None:
    session, calls = await session_of(house)
    calls.outcome.set_result(None)
    await settle()
    house.engine.deliver(TransportClosed(id=house.leg.transports[0], reason="peer_closed"))
    await passed(0.01)
    assert house.over == []
    await session.handle(messages.Hangup())
    await passed(0.01)
    (contact,) = house.over
    assert contact.cause == EndCause("caller", "hangup")


async def test_what_a_closed_connection_had_counted_is_in_the_record(house: Any) -> None:
    session, calls = await session_of(house)
    calls.outcome.set_result(None)
    await settle()
    track = next(media.up for media in house.leg.media.values() if media.up is not None)
    counted = UpTrackStats(
        id=track.id, packets=700, bytes=70_000, lost=3, jitter_ms=1.5, keyframes=0, gated={}, codec="opus"
    )
    last = TransportStats(
        id=house.leg.transports[0], packets_received=700, bytes_received=80_000, packets_sent=0, bytes_sent=0,
        round_trip_ms=12.0, up=(counted,), down=(),
    )  # fmt: skip
    house.engine.deliver(TransportClosed(id=last.id, reason="peer_closed", last=last))
    await session.handle(messages.Hangup())
    await passed(0.01)
    (contact,) = house.over
    leg = contact.record().legs[0]
    assert leg.round_trip_ms == 12.0
    assert [(stream.packets, stream.lost) for stream in leg.streams if stream.packets] == [(700, 3)]


async def test_a_page_that_closes_its_connection_without_a_word_has_left(house: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("mediaserver.call.webrtc_leg._CLOSED_WITHOUT_A_WORD_S", 0.02)
    _, calls = await session_of(house)
    calls.outcome.set_result(None)
    await settle()
    house.engine.deliver(TransportClosed(id=house.leg.transports[0], reason="peer_closed"))
    await passed(0.1)
    (contact,) = house.over
    assert contact.cause == EndCause("caller", "left")


async def test_the_page_is_shown_who_is_there_by_now_and_keeps_what_it_knew_of_its_camera(house: Any) -> None:
    _, calls = await session_of(house)
    calls.callee.shown_name = "Carl"  # as the phone's answer named itself
    calls.outcome.set_result(None)
    await settle()
    calls.callee.shown_name = "Dora"
    calls.callee.emit(PartyChanged())
    await settle()
    shown = house.signaling.of(messages.State)
    assert [(state.state, state.peer.name) for state in shown] == [("connected", "Carl"), ("connected", "Dora")]
    assert shown[0].video is not None
    assert shown[1].video is None
    await house.leg.end(EndCause("caller", "hangup"))
    await house.leg.show_party(calls.callee)
    assert len(house.signaling.of(messages.State)) == 2


async def test_a_phone_with_another_codec_makes_one_offer_with_that_codec_first(house: Any) -> None:
    _, calls = await session_of(house)
    calls.callee = FakeLeg("phone", codecs={"audio": (KNOWN["PCMU"],), "video": (KNOWN["H264"],)})
    calls.outcome.set_result(None)
    await settle()
    (offer,) = house.signaling.of(messages.Offer)
    first = [line for line in offer.sdp.splitlines() if line.startswith(("m=audio", "m=video"))]
    assert first[0].split()[3] == "0"
    assert f"a=rtpmap:{first[1].split()[3]} H264/90000" in offer.sdp.splitlines()


async def test_a_phone_with_the_browsers_codecs_makes_no_offer(house: Any) -> None:
    _, calls = await session_of(house)
    calls.outcome.set_result(None)
    await settle()
    assert house.signaling.of(messages.Offer) == []
