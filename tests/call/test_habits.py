"""What call managers do in their own way: Cisco UCM and UCCX, Genesys and Avaya, by their published habits.

The messages in `tests/data/habits` were written after the vendors' documents; none of these systems was there to try.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from mediaserver.call.caller_identity import CallerIdentity, identity_of
from mediaserver.call.sip_leg import SipLeg
from mediaserver.call.trunk import TrunkLine
from mediaserver.config.loader import load_text
from mediaserver.sdp.description import Direction, SessionDescription
from mediaserver.sdp.parser import parse
from mediaserver.sip import events as sip
from mediaserver.sip.core import NewInvite
from mediaserver.sip.flow import Source
from mediaserver.sip.session import InviteSession
from mediaserver.sip.user_agent import IncomingInvite
from tests.call.fakes import FakeLeg, FakeSession
from tests.call.test_sip_leg import POLICY, settle, taken
from tests.call.test_sip_media import BROWSER
from tests.sip.wire import Wire

DATA = Path(__file__).parents[1] / "data" / "habits"
RULES = "trunks: {pbx: {target: 'sip:192.0.2.9', identity: {incoming: trusted, user_to_user: told}}}"


def message(name: str) -> bytes:
    """A request as it stands on the wire, with the length of its body put right."""
    head, _, body = (DATA / f"{name}.sip").read_text().partition("\n\n")
    body = body.replace("\n", "\r\n")
    lines = [line for line in head.split("\n") if not line.startswith("Content-Length")]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", body]).encode()


def sdp(name: str) -> bytes:
    return (DATA / f"{name}.sdp").read_text().replace("\n", "\r\n").encode()


def invited(name: str) -> tuple[Wire, NewInvite]:
    """What became of an INVITE; every one must be taken."""
    wire = Wire()
    wire.receive(message(name))
    (new,) = wire.new
    return wire, new


def who(name: str) -> CallerIdentity:
    """The caller as a trusted trunk tells of it."""
    wire, new = invited(name)
    session = InviteSession(new.machine, drive=lambda: None, now=lambda: wire.now, queue_limit=8)
    source = Source(new.flow.remote_ip, new.flow.remote_port, new.flow.transport)
    incoming = IncomingInvite(session, new.request, source, new.flow, None, "pbx")
    return identity_of(incoming, TrunkLine("pbx", load_text(RULES).config.trunks["pbx"]))


def last_answer(session: FakeSession) -> SessionDescription:
    kind, body = session.log[-1]
    assert kind in ("answer", "answer_reoffer")
    return parse(body.decode())


def down_is_active(leg: SipLeg) -> bool:
    down = leg.media["audio"].down
    assert down is not None
    return down.active


# -- Cisco ---------------------------------------------------------------------------------------------------------


async def test_ucm_calls_without_an_offer_and_answers_ours_in_its_ack() -> None:
    _, new = invited("ucm_delayed_offer")
    assert new.machine.first_offer is None
    assert new.machine.session_id.remote == "5c9c1d0000105000a00000505687abcd"
    assert (who("ucm_delayed_offer").name, who("ucm_delayed_offer").number) == ("Anna Berg", "4711")
    leg, session = await taken(None)
    await leg.meet(FakeLeg("agent", codecs=BROWSER))
    assert [section.kind for section in last_answer(session).media] == ["audio", "video"]
    session.happen(sip.Confirmed(sdp("ucm_inactive").replace(b"a=inactive\r\n", b"") + b"m=video 0 RTP/AVP 97\r\n"))
    await settle()
    assert set(leg.media) == {"audio"}
    assert not leg.ended


async def test_ucm_holds_by_address_zero_then_by_inactive_then_asks_for_an_offer_for_its_music() -> None:
    leg, session = await taken(sdp("ucm_inactive").replace(b"a=inactive\r\n", b""))
    await leg.meet(FakeLeg("agent", codecs=BROWSER))
    assert down_is_active(leg)
    session.happen(sip.Reoffered(sdp("ucm_hold")))
    await settle()
    assert not down_is_active(leg)
    session.happen(sip.Reoffered(sdp("ucm_inactive")))
    await settle()
    assert [section.direction for section in last_answer(session).media] == [Direction.INACTIVE]
    session.happen(sip.Reoffered(None))
    await settle()
    ours = last_answer(session)
    assert ours.media[0].direction is Direction.SENDRECV
    assert any(section.kind == "video" and not section.rejected for section in ours.media)
    rest = b"".join(b"m=%s 0 RTP/AVP 97\r\n" % section.kind.encode() for section in ours.media[1:])
    session.happen(sip.Confirmed(sdp("ucm_music") + rest))
    await settle()
    assert leg._sip_media.agreed["audio"].direction is Direction.RECVONLY
    assert leg._sip_media.agreed["audio"].remote_rtp == ("192.0.2.40", 4000)
    assert not leg.ended


async def test_lines_for_floors_far_cameras_and_second_pictures_are_declined_in_their_order() -> None:
    leg, session = await taken(sdp("ucm_endpoints"))
    await leg.meet(FakeLeg("agent", codecs=BROWSER))
    ours, theirs = last_answer(session), parse(sdp("ucm_endpoints").decode())
    assert [section.kind for section in ours.media] == [section.kind for section in theirs.media]
    assert [section.rejected for section in ours.media] == [False, False, True, True, True, True]
    assert [section.protocol for section in ours.media] == [section.protocol for section in theirs.media]


def test_uccx_says_who_called_whom_before_the_agent() -> None:
    found = who("uccx_route_point")
    assert (found.number, [step.by for step in found.way]) == ("+493055512345", ["8000", "7999"])
    assert found.attributes["told"] == "Case12"
    assert found.attributes["called_first"] == "8000"


# -- Genesys -------------------------------------------------------------------------------------------------------


async def test_genesys_brings_an_agent_in_by_a_reinvite_without_sdp() -> None:
    leg, session = await taken(message("genesys_3pcc").partition(b"\r\n\r\n")[2])
    await leg.meet(FakeLeg("caller", codecs=BROWSER))
    assert [codec.name for codec in last_answer(session).media[0].codecs] == ["PCMU", "telephone-event"]
    session.happen(sip.Reoffered(None))
    await settle()
    assert [section.kind for section in last_answer(session).media] == ["audio", "video"]
    session.happen(sip.Confirmed(sdp("genesys_agent")))
    await settle()
    assert set(leg.media) == {"audio", "video"}
    assert leg._sip_media.agreed["video"].remote_rtp == ("192.0.2.80", 5006)


def test_genesys_attaches_data_without_a_display_name_or_brackets() -> None:
    found = who("genesys_3pcc")
    assert (found.name, found.number) == ("+493055598765", "+493055598765")
    assert found.attributes["told"] == "customer=4711"


# -- Avaya ---------------------------------------------------------------------------------------------------------


def test_avaya_tells_by_history_from_where_a_call_was_forwarded_and_its_ucid_stays_readable() -> None:
    found = who("avaya_sm")
    assert (found.name, found.number) == ("Berg, Anna", "+4930555000")
    assert [(step.by, step.reason) for step in found.way] == [("8000", "unconditional")]
    assert found.attributes["told"] == "fa080001000a5e1b2c3d4e"  # the application id and the call's own number
    assert found.display_name == "Berg, Anna"


async def test_avaya_offers_encryption_as_a_capability_and_is_answered_in_the_clear() -> None:
    """RFC 5939 §3.6.2: who knows no capability negotiation answers the offer as it stands."""
    leg, session = await taken(sdp("avaya_capneg"))
    await leg.meet(FakeLeg("agent", codecs=BROWSER))
    (sound,) = last_answer(session).media
    assert (sound.protocol, [codec.pt for codec in sound.codecs]) == ("RTP/AVP", [0, 127])
    assert sound.cryptos == ()


async def test_avaya_lines_of_its_own_are_no_obstacle() -> None:
    leg, session = await taken(message("avaya_sm").partition(b"\r\n\r\n")[2])
    await leg.meet(FakeLeg("agent", codecs=BROWSER))
    assert not last_answer(session).media[0].rejected
    assert POLICY.srtp == "prefer"


@pytest.mark.parametrize("name", sorted(path.stem for path in DATA.glob("*.sip")))
def test_every_message_is_answered_inside_the_dialog_it_begins(name: str) -> None:
    wire, new = invited(name)
    new.machine.answer(b"v=0\r\n", (), now=wire.now)
    wire.core.touch(new.machine)
    (ok,) = wire.sent()
    request = new.request
    assert (ok.call_id, ok.cseq) == (request.call_id, request.cseq)
    assert ok.headers.all("Record-Route") == request.headers.all("Record-Route")
