"""Admission control in calls: what phones, pages and rooms are told when lines are narrow or full."""

from __future__ import annotations

import asyncio
import gc
import weakref
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mediaserver.call.admission import Admission
from mediaserver.call.agents import Agents, Presentation
from mediaserver.call.booking import BROWSER_PACKETS, Party
from mediaserver.call.call import Call
from mediaserver.call.call_request import CallRequest
from mediaserver.call.calls import Calls
from mediaserver.call.dial_failed import DialFailed
from mediaserver.call.events import EndCause
from mediaserver.call.leg import Leg
from mediaserver.call.media_addresses import MediaAddresses
from mediaserver.call.room_leg import RoomSessions
from mediaserver.call.room_party import Parts
from mediaserver.call.routing import Question, Router
from mediaserver.call.sip_leg import SipLeg
from mediaserver.call.trunks import Trunks
from mediaserver.call.webrtc_leg import WebRtcLeg
from mediaserver.config.loader import load_text
from mediaserver.config.sections import RoomDefaults
from mediaserver.contact.connected_call import ConnectedCall
from mediaserver.contact.contact import Contact
from mediaserver.core.rooms import Rooms
from mediaserver.core.sites import Hop
from mediaserver.engine.commands import Kind, SetLimits
from mediaserver.errors import InsufficientBandwidth
from mediaserver.runtime.metrics import Metrics
from mediaserver.sdp.description import Bandwidth, Fingerprint, SessionDescription
from mediaserver.sdp.parser import parse
from mediaserver.sdp.serializer import serialize
from mediaserver.sip import events as sip
from mediaserver.sip.flow import Flow
from mediaserver.sip.headers import Headers, NameAddr
from mediaserver.sip.uri import parse_sip_uri
from mediaserver.webrtc import messages
from mediaserver.webrtc.section import MediaPolicy
from tests.call.fakes import FakeEngine, FakeSession, FakeSignaling
from tests.call.test_sip_media import BROWSER, media
from tests.passing import passed

CHROMIUM = (Path(__file__).parents[1] / "data/sdp/chromium_sendrecv.sdp").read_text()
WORLD = """
users: {ann: {secret: {env: A}}}
trunks:
  first: {peers: [10.2.0.1], target: "sip:10.2.0.1", srtp: never}
  second: {peers: [10.3.0.1], target: "sip:10.3.0.1", srtp: never}
routes:
  - {match: {called: "0*"}, to: {trunk: first}}
  - {match: {called: "*"}, to: {trunk: second}}
sites:
"""


class Phones:
    """Has the face of a user agent; every phone answers, with the `b=` lines that the test gives it."""

    def __init__(self) -> None:
        self.offers: list[tuple[str, SessionDescription]] = []
        self.sessions: list[FakeSession] = []
        self.registered: list[Any] = []
        self.bandwidth: tuple[Bandwidth, ...] = ()
        self.rejection: sip.Rejected | None = None

    def find_named(self, name: object) -> None:
        return None

    def show_conference(self, address: str, state: object) -> None:
        """Nobody watches."""

    def bindings(self, aor: str) -> list[Any]:
        return self.registered

    def register(self, address: str) -> None:
        flow = Flow("udp", "127.0.0.1", 5060, address, 5060)
        self.registered.append(SimpleNamespace(contact=parse_sip_uri(f"sip:ann@{address}"), flow=flow))

    async def invite(self, target: Any, *, body: bytes, **_: object) -> FakeSession:
        offer = parse(body.decode())
        self.offers.append((target.host, offer))
        session = FakeSession()
        self.sessions.append(session)
        if self.rejection is not None:
            session.happen(self.rejection)
            return session
        answer = await media(FakeEngine()).answer(offer, BROWSER, srtp_required=False, srtp_allowed=False)
        session.happen(sip.Answered(self.limited(answer)))
        return session

    def limited(self, body: bytes) -> bytes:
        said = parse(body.decode())
        lines = [replace(m, bandwidth=self.bandwidth if m.kind == "video" else ()) for m in said.media]
        return serialize(replace(said, media=tuple(lines))).encode()


def invite_of(session: FakeSession, body: bytes, address: str, *, user: str | None = None) -> Any:
    """As the user agent tells of an INVITE from there."""
    return SimpleNamespace(
        session=session,
        body=body,
        source=SimpleNamespace(ip=address, transport="udp"),
        flow=Flow("udp", "127.0.0.1", 5060, address, 5060),
        trunk=None,
        authenticated_user=user,
        request=SimpleNamespace(headers=Headers()),
    )


class House:
    """Calls over doubles of engine and SIP, with real admission control."""

    def __init__(self, sites: str, *, world: str = WORLD) -> None:
        self.config = load_text(world + sites).config
        self.metrics, self.phones, self.engine = Metrics(), Phones(), FakeEngine()
        self.admission = Admission(self.config, metrics=self.metrics)
        self.calls = Calls(
            config=self.config,
            engine=self.engine,  # type: ignore[arg-type]
            user_agent=self.phones,  # type: ignore[arg-type]
            agents=Agents(),
            fingerprint=Fingerprint("sha-256", bytes(32)),
            addresses=MediaAddresses({"127.0.0.1": "127.0.0.1"}),
            trunks=Trunks(
                self.config.trunks,
                realm="example.org",
                password_of=lambda name, trunk: None,
                metrics=self.metrics,
                now=lambda: 0.0,
            ),
            admission=self.admission,
        )
        self.contact = Contact(id="contact", source="")

    async def incoming(self, address: str = "10.1.0.5", *, bandwidth: tuple[Bandwidth, ...] = ()) -> tuple[SipLeg, Any]:
        """The leg of an INVITE with sound and picture, and its session."""
        session: Any = FakeSession("incoming")
        session.remote_party = NameAddr(parse_sip_uri(f"sip:caller@{address}"))
        self.phones.bandwidth, before = bandwidth, self.phones.bandwidth
        body = self.phones.limited(await media(FakeEngine()).offer(BROWSER, srtp=False))
        self.phones.bandwidth = before
        invite = invite_of(session, body, address)
        leg = self.calls.incoming_leg(invite, "contact", note=self.contact.note)
        return leg, session

    async def connect(self, caller: Leg, called: str) -> Call:
        destination = Router(self.config).route(Question(called=called))
        assert destination is not None
        request = CallRequest("contact", caller, destination, Presentation(name="x"), note=self.contact.note)
        return await self.calls.connect(request, on_ended=lambda call, cause: None)

    def browser(self, address: str = "10.1.0.9") -> tuple[WebRtcLeg, FakeSignaling]:
        signaling = FakeSignaling()
        leg = WebRtcLeg(
            leg_id=f"browser-{address}",
            contact_id="contact",
            name="Visitor",
            party="caller",
            engine=self.engine,  # type: ignore[arg-type]
            fingerprint=Fingerprint("sha-256", bytes(32)),
            policy=MediaPolicy(audio=("opus", "PCMU"), video=("VP8", "H264")),
            signaling=signaling,
            closed_gates={},
            may_send_video=True,
        )
        leg.booking = self.admission.book(
            leg.id, Party(address=address, packets=BROWSER_PACKETS), note=self.contact.note
        )
        return leg, signaling

    def used(self, kind: Kind, site: str = "munich") -> int:
        return self.admission.used(Hop("site", site), kind)

    def noted(self, what: str) -> list[str]:
        return [entry.detail for entry in self.contact.timeline.entries if entry.what == what]


MUNICH = "  munich: {{cidrs: [10.1.0.0/16], budget: {{{}}}}}\n"
OTHERS = "  berlin: {{cidrs: [10.2.0.0/16], budget: {{{}}}}}\n  hamburg: {{cidrs: [10.3.0.0/16]}}\n"


def kinds(description: SessionDescription) -> dict[str, bool]:
    """Whether sound and picture are taken."""
    return {section.kind: not section.rejected for section in description.media if section.is_rtp}


def answer_of(session: Any) -> SessionDescription:
    return parse(next(entry[1] for entry in session.log if entry[0] == "answer").decode())


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_call_is_charged_for_what_it_agreed_on_and_gives_it_back() -> None:
    house = House(MUNICH.format("audio: 1 Mbit/s, video: 1 Mbit/s"))
    leg, session = await house.incoming()
    call = await house.connect(leg, "0815")
    # Opus at 40 kbit/s with 50 bytes of headers (SRTP was allowed), 50 times a second.
    assert (house.used("audio"), house.used("video")) == (60_000, 1_000_000)
    answer = answer_of(session)
    assert kinds(answer) == {"audio": True, "video": True}
    assert answer.media[1].bandwidth[0] == Bandwidth("AS", 1000)
    await call.end(EndCause("caller", "hangup"))
    assert (house.used("audio"), house.used("video")) == (0, 0)


async def test_a_call_that_is_over_is_freed_without_the_collector() -> None:
    house = House(MUNICH.format("audio: 1 Mbit/s, video: 1 Mbit/s"))
    leg, _ = await house.incoming()
    call = await house.connect(leg, "0815")
    gone = [weakref.ref(call.caller), weakref.ref(call.callee), weakref.ref(leg.booking)]
    house.contact.add_leg(leg)
    gc.disable()
    try:
        await call.end(EndCause("caller", "hangup"))
        await passed(0.01)
        del call, leg
        house.contact = Contact(id="next", source="")
        house.phones.sessions.clear()
        await passed(0.01)
        assert [reference() for reference in gone] == [None, None, None]
    finally:
        gc.enable()


async def test_without_budgets_and_caps_nothing_about_bandwidth_is_said() -> None:
    house = House("  munich: {cidrs: [10.1.0.0/16]}\n")
    leg, session = await house.incoming()
    await house.connect(leg, "0815")
    assert all(section.bandwidth == () for section in answer_of(session).media)
    assert all(section.bandwidth == () for section in house.phones.offers[0][1].media)
    assert leg.cap("video") is None


async def test_a_caller_whose_line_has_no_room_for_a_picture_is_answered_with_sound() -> None:
    house = House(MUNICH.format("video: 100 kbit/s"))
    leg, session = await house.incoming()
    call = await house.connect(leg, "0815")
    assert kinds(answer_of(session)) == {"audio": True, "video": False}
    assert kinds(house.phones.offers[0][1]) == {"audio": True}
    assert set(call.callee.media) == {"audio"}
    assert house.noted("bandwidth")[0].startswith("audio_only at munich")


async def test_a_callee_whose_line_has_no_room_for_a_picture_is_offered_sound() -> None:
    house = House(MUNICH.format("video: 5 Mbit/s") + OTHERS.format("video: 100 kbit/s"))
    leg, session = await house.incoming()
    await house.connect(leg, "0815")
    assert kinds(house.phones.offers[0][1]) == {"audio": True}
    assert kinds(answer_of(session)) == {"audio": True, "video": False}
    # What the caller's line had reserved for a picture that nobody sees is free again.
    assert house.used("video") == 0


async def test_a_caller_whose_line_has_no_room_at_all_is_refused_before_anybody_is_rung() -> None:
    house = House(MUNICH.format("audio: 20 kbit/s"))
    leg, session = await house.incoming()
    destination = Router(house.config).route(Question(called="0815"))
    assert destination is not None
    over: list[Contact] = []
    call = ConnectedCall(
        contact=house.contact,
        leg=leg,
        destination=destination,
        presentation=Presentation(name="x"),
        calls=house.calls,
        server_name="ms.example",
        on_over=over.append,
    )
    house.contact.add_leg(leg)
    call.begin()
    await settle()
    assert session.log[0] == (
        "reject",
        488,
        {"Warning": '370 ms.example "There is not enough bandwidth for audio of this call."'},
    )
    assert house.phones.offers == []
    assert house.contact.cause is not None
    assert (house.contact.cause.reason, house.contact.cause.code) == ("insufficient_bandwidth", 488)
    assert house.metrics.value("admission_decisions_total", site="munich", kind="leg", outcome="refused") == 1
    assert over == [house.contact]


async def test_a_full_route_gives_way_to_the_next_line_of_the_table() -> None:
    house = House(MUNICH.format("audio: 1 Mbit/s") + OTHERS.format("audio: 20 kbit/s"))
    leg, _ = await house.incoming()
    await house.connect(leg, "0815")
    assert [host for host, _ in house.phones.offers] == ["10.3.0.1"]
    assert house.noted("rerouted") == ["route 1 has no bandwidth, next is route 2"]
    assert house.metrics.value("admission_rerouted_total") == 1


async def test_a_call_manager_that_says_its_lines_are_full_is_a_full_route_too() -> None:
    house = House(MUNICH.format("audio: 1 Mbit/s"))
    house.phones.rejection = sip.Rejected(488, "Not Acceptable Here", (), '370 pbx "Insufficient bandwidth"')
    leg, _ = await house.incoming()
    with pytest.raises(DialFailed) as failure:
        await house.connect(leg, "0815")
    assert failure.value.lacks_bandwidth
    assert [host for host, _ in house.phones.offers] == ["10.2.0.1", "10.3.0.1"]


async def test_a_phone_that_is_busy_does_not_send_the_call_elsewhere() -> None:
    house = House(MUNICH.format("audio: 1 Mbit/s"))
    house.phones.rejection = sip.Rejected(486, "Busy Here")
    leg, _ = await house.incoming()
    with pytest.raises(DialFailed):
        await house.connect(leg, "0815")
    assert [host for host, _ in house.phones.offers] == ["10.2.0.1"]


async def test_of_two_phones_the_one_whose_line_has_room_rings() -> None:
    house = House(
        MUNICH.format("audio: 1 Mbit/s") + OTHERS.format("audio: 20 kbit/s"),
        world=WORLD.split("routes")[0] + "sites:\n",
    )
    house.phones.register("10.2.0.7")
    house.phones.register("10.3.0.7")
    leg, _ = await house.incoming()
    await house.connect(leg, "ann")
    assert [host for host, _ in house.phones.offers] == ["10.3.0.7"]


async def test_the_phones_own_lines_bound_what_both_legs_reserve() -> None:
    house = House(MUNICH.format("video: 5 Mbit/s") + OTHERS.format("video: 5 Mbit/s"))
    house.phones.bandwidth = (Bandwidth("AS", 384),)
    leg, _ = await house.incoming()
    call = await house.connect(leg, "0815")
    assert (house.used("video"), house.used("video", "berlin")) == (384_000, 384_000)
    assert (leg.cap("video"), call.callee.cap("video")) == (384_000, 384_000)


async def test_a_phone_is_answered_with_the_rate_that_the_other_one_takes() -> None:
    house = House(MUNICH.format("video: 5 Mbit/s"))
    house.phones.bandwidth = (Bandwidth("AS", 384),)
    leg, session = await house.incoming()
    await house.connect(leg, "0815")
    assert answer_of(session).media[1].bandwidth[0] == Bandwidth("AS", 384)


async def test_a_page_hears_by_one_offer_what_the_phone_takes() -> None:
    house = House(MUNICH.format("video: 5 Mbit/s"))
    house.phones.bandwidth = (Bandwidth("AS", 384),)
    leg, signaling = house.browser()
    await leg.handle(messages.Offer(id=1, sdp=CHROMIUM))
    await house.connect(leg, "0815")
    await settle()
    (offer,) = signaling.of(messages.Offer)
    assert parse(offer.sdp).media[1].bandwidth[0] == Bandwidth("AS", 384)


async def test_the_offer_to_the_callee_says_what_the_callers_line_carries() -> None:
    house = House(MUNICH.format("video: 5 Mbit/s") + OTHERS.format("video: 5 Mbit/s"))
    leg, _ = await house.incoming(bandwidth=(Bandwidth("AS", 512),))
    await house.connect(leg, "0815")
    assert house.phones.offers[0][1].media[1].bandwidth[0] == Bandwidth("AS", 512)


async def test_a_reinvite_with_other_lines_is_charged_the_difference() -> None:
    house = House(MUNICH.format("video: 5 Mbit/s"))
    leg, session = await house.incoming()
    await house.connect(leg, "0815")
    before = house.used("video")
    house.phones.bandwidth = (Bandwidth("TIAS", 230_000),)
    offer = house.phones.limited(await media(FakeEngine()).offer(BROWSER, srtp=False))
    session.happen(sip.Reoffered(offer))
    await settle()
    assert session.log[-1][0] == "answer_reoffer"
    assert before == 2_500_000
    assert 230_000 < house.used("video") < 250_000


async def test_a_held_call_keeps_what_it_needs_to_go_on() -> None:
    house = House(MUNICH.format("audio: 1 Mbit/s, video: 1 Mbit/s"))
    leg, session = await house.incoming()
    await house.connect(leg, "0815")
    before = (house.used("audio"), house.used("video"))
    offer = (await media(FakeEngine()).offer(BROWSER, srtp=False)).replace(b"a=sendrecv", b"a=inactive")
    session.happen(sip.Reoffered(offer))
    await settle()
    assert (house.used("audio"), house.used("video")) == before


async def test_opus_is_told_its_rate_in_offer_and_answer() -> None:
    house = House(MUNICH.format("audio: 40 kbit/s"))
    leg, session = await house.incoming()
    await house.connect(leg, "0815")
    answered, offered = answer_of(session).media[0].codecs[0], house.phones.offers[0][1].media[0].codecs[0]
    assert (answered.name, answered.fmtp["maxaveragebitrate"]) == ("opus", "20000")
    assert (offered.name, offered.fmtp["maxaveragebitrate"]) == ("opus", "20000")


async def test_a_page_is_answered_without_a_picture_and_told_why_when_it_is_connected() -> None:
    house = House(MUNICH.format("video: 100 kbit/s"))
    leg, signaling = house.browser()
    await leg.handle(messages.Offer(id=1, sdp=CHROMIUM))
    (answer,) = signaling.of(messages.Answer)
    assert kinds(parse(answer.sdp)) == {"audio": True, "video": False}
    await house.connect(leg, "0815")
    (state,) = [state for state in signaling.of(messages.State) if state.state == "connected"]
    assert state.video == messages.VideoPermission(may_send=False, reason="bandwidth")


async def test_a_page_is_told_the_rates_of_its_line() -> None:
    house = House(MUNICH.format("audio: 1 Mbit/s, video: 800 kbit/s"))
    leg, signaling = house.browser()
    await leg.handle(messages.Offer(id=1, sdp=CHROMIUM))
    audio, video, *_ = parse(signaling.of(messages.Answer)[0].sdp).media
    assert [line.kind for line in video.bandwidth] == ["AS", "TIAS"]
    assert video.bandwidth[0] == Bandwidth("AS", 800)
    assert audio.bandwidth[0] == Bandwidth("AS", 92)


async def test_a_page_whose_line_is_full_is_told_so() -> None:
    house = House(MUNICH.format("audio: 20 kbit/s"))
    leg, signaling = house.browser()
    await leg.handle(messages.Offer(id=1, sdp=CHROMIUM))
    assert signaling.of(messages.Answer) == []
    (ended,) = signaling.of(messages.Ended)
    assert (ended.by, ended.reason, ended.code) == ("system", "insufficient_bandwidth", 488)


async def test_a_page_hears_by_one_more_offer_that_its_line_has_less_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mediaserver.call.webrtc_leg._RATES_SETTLE_S", 0.0)
    house = House(MUNICH.format("video: 1 Mbit/s"))
    first, signaling = house.browser("10.1.0.1")
    await first.handle(messages.Offer(id=1, sdp=CHROMIUM))
    second, _ = house.browser("10.1.0.2")
    await second.handle(messages.Offer(id=1, sdp=CHROMIUM))
    await passed(0.01)
    (offer,) = signaling.of(messages.Offer)
    video = parse(offer.sdp).media[1]
    assert video.bandwidth[0] == Bandwidth("AS", 850)
    assert house.noted("bandwidth")[-2] == "video now 850 kbit/s, was 1 Mbit/s"
    for leg in (first, second):
        await leg.end(EndCause("caller", "hangup"))
    assert house.used("video") == 0


def rooms_of(house: House) -> RoomSessions:
    parts = Parts(
        rooms=Rooms(rooms=10, publishers=10, viewers=10),
        engine=house.engine,  # type: ignore[arg-type]
        fingerprint=Fingerprint("sha-256", bytes(32)),
        admission=house.admission,
        defaults=RoomDefaults(),
        audio_codecs=("opus",),
        video_codecs=("VP8",),
        data_channels=True,
    )
    return RoomSessions(parts, metrics=house.metrics)


async def test_a_publisher_without_room_is_refused_and_one_that_leaves_makes_room() -> None:
    house = House(MUNICH.format("audio: 100 kbit/s"))
    rooms = rooms_of(house)
    first = await rooms.publish("lobby", CHROMIUM, subject="a", source="10.1.0.1")
    with pytest.raises(InsufficientBandwidth):
        await rooms.publish("lobby", CHROMIUM, subject="b", source="10.1.0.2")
    assert len(rooms) == 1
    await first.close("enough")
    await rooms.publish("lobby", CHROMIUM, subject="b", source="10.1.0.2")


async def test_publishers_of_a_room_share_its_cap_and_viewers_do_not_count() -> None:
    house = House("  munich: {cidrs: [10.1.0.0/16]}\nmedia: {bandwidth: {room: {video: 300 kbit/s}}}\n")
    rooms = rooms_of(house)
    for number in (1, 2):
        leg = await rooms.publish("lobby", CHROMIUM, subject=f"p{number}", source="192.0.2.1")
        assert kinds(parse(leg.answer_sdp)) == {"audio": True, "video": True}
    third = await rooms.publish("lobby", CHROMIUM, subject="p3", source="192.0.2.1")
    assert kinds(parse(third.answer_sdp)) == {"audio": True, "video": False}
    viewer = await rooms.view("lobby", CHROMIUM, subject="v", source="192.0.2.1")
    assert kinds(parse(viewer.answer_sdp)) == {"audio": True, "video": True}


def limits(house: House, send: bool = True) -> list[int | None]:
    """What the engine was told that may be sent, or received, in order."""
    return [command.send_bps if send else command.receive_bps for command in house.engine.of(SetLimits)]


async def test_the_engine_keeps_a_pages_line_within_its_cap_both_ways() -> None:
    house = House(MUNICH.format("audio: 1 Mbit/s, video: 800 kbit/s"))
    leg, _ = house.browser()
    await leg.handle(messages.Offer(id=1, sdp=CHROMIUM))
    ((send, receive),) = [(each.send_bps, each.receive_bps) for each in house.engine.of(SetLimits)]
    assert send == receive
    # 800 kbit/s and Opus at 40 kbit/s with its headers, without those of IP and UDP (28 bytes a packet).
    assert send is not None
    assert 770_000 < send < 845_000
    await leg.end(EndCause("caller", "hangup"))


async def test_without_caps_the_engine_is_told_nothing() -> None:
    house = House("  munich: {cidrs: [10.1.0.0/16]}\n")
    leg, _ = house.browser()
    await leg.handle(messages.Offer(id=1, sdp=CHROMIUM))
    await house.connect(leg, "0815")
    assert limits(house) == []
    await leg.end(EndCause("caller", "hangup"))


async def test_a_phones_picture_is_bound_by_its_trunk_and_by_its_own_lines() -> None:
    world = WORLD.replace("srtp: never}", "srtp: never, per_call: {video: 600 kbit/s}}")
    house = House("  munich: {cidrs: [10.1.0.0/16]}\n", world=world)
    house.phones.bandwidth = (Bandwidth("AS", 384),)
    leg, _ = await house.incoming()
    await house.connect(leg, "0815")
    told = [(each.send_bps, each.receive_bps) for each in house.engine.of(SetLimits)]
    # What the phone said that it takes, less IP and UDP, is what was reserved of the trunk both ways.
    assert told[-1] == (375_040, 375_040)


async def test_caps_and_budgets_of_a_reload_act_on_calls_that_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mediaserver.call.webrtc_leg._RATES_SETTLE_S", 0.0)
    house = House(MUNICH.format("video: 2 Mbit/s"))
    leg, signaling = house.browser()
    await leg.handle(messages.Offer(id=1, sdp=CHROMIUM))
    await house.connect(leg, "0815")
    (before,) = {each.send_bps for each in house.engine.of(SetLimits)}
    narrow = WORLD + MUNICH.format("video: 2 Mbit/s") + "media: {bandwidth: {track: {video: 500 kbit/s}}}\n"
    house.admission.reload(load_text(narrow).config)
    assert (house.used("video"), leg.cap("video")) == (500_000, 500_000)
    lowered = [each for each in house.engine.of(SetLimits) if each.send_bps != before]
    assert len(lowered) == 2, "the page's line and the phone's"
    assert all(each.send_bps is not None and each.send_bps < 560_000 for each in lowered)
    await passed(0.01)
    assert parse(signaling.of(messages.Offer)[-1].sdp).media[1].bandwidth[0] == Bandwidth("AS", 500)
    house.admission.reload(house.config)
    assert leg.cap("video") == 2_000_000
    assert set(limits(house)[-2:]) == {before, None}, "nothing bounds the phone any more"
    await leg.end(EndCause("caller", "hangup"))


async def test_a_cap_of_a_reload_reaches_a_call_that_had_none() -> None:
    house = House("  munich: {cidrs: [10.1.0.0/16]}\n")
    leg, _ = await house.incoming()
    await house.connect(leg, "0815")
    assert limits(house) == []
    world = WORLD + "  munich: {cidrs: [10.1.0.0/16], per_call: {video: 400 kbit/s}}\n"
    house.admission.reload(load_text(world).config)
    told = limits(house, send=False)
    assert len(told) == 2, "the caller's line, and the other phone's, who is sent no more than that"
    assert all(each is not None and 380_000 < each < 400_000 for each in told)
    house.admission.reload(house.config)
    assert limits(house, send=False)[2:] == [None, None]
