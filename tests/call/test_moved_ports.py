"""Ports at an Edge that could not be had again after its restart: the phone is told the others by a re-INVITE."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from mediaserver.call.sip_leg import SipLeg
from mediaserver.engine.commands import Address, EdgePorts
from mediaserver.sdp.serializer import serialize
from mediaserver.sip import events as sip
from tests.call.fakes import FakeEngine, FakeLeg, FakeSession
from tests.call.test_hold_by_house import agrees, last
from tests.call.test_sip_leg import POLICY, settle
from tests.call.test_sip_media import BROWSER, PICTURE, SETTINGS, VOICE, described
from tests.call.test_sip_negotiation import said


class AtEdge:
    """Ports that the fake engine gives."""

    def __init__(self) -> None:
        self.on_moved: Callable[[int, int, int], None] | None = None
        self.announced_ip = SETTINGS.announced_ip

    async def open(self, transport: int, *, latching_ms: int = 0) -> EdgePorts:
        raise AssertionError("the fake engine asks nobody")

    def aim(self, transport: int, rtp: Address | None, rtcp: Address | None, *, latching_ms: int) -> None:
        """The Edge is told."""


@pytest.fixture
async def call() -> tuple[SipLeg, FakeSession, AtEdge]:
    """A call with sound and picture by an Edge."""
    at_edge, session = AtEdge(), FakeSession("incoming")
    leg = SipLeg(
        leg_id="leg",
        contact_id="contact",
        name="name",
        party="agent",
        engine=FakeEngine(),  # type: ignore[arg-type]
        settings=replace(SETTINGS, at_edge=at_edge),
        policy=POLICY,
    )
    leg.take(session, serialize(described(VOICE, PICTURE)).encode())  # type: ignore[arg-type]
    browser = FakeLeg("browser", codecs=BROWSER)
    await leg.meet(browser)
    leg.settle_with(browser)
    session.happen(sip.Confirmed(None))
    await settle()
    session.log.clear()
    return leg, session, at_edge


async def test_the_phone_is_told_the_new_ports_and_nothing_else_changes(
    call: tuple[SipLeg, FakeSession, AtEdge],
) -> None:
    leg, session, at_edge = call
    before = leg._sip_media._local
    assert before is not None
    sound, _ = leg.transports
    assert at_edge.on_moved is not None
    at_edge.on_moved(sound, 30_000, 30_001)
    await settle()
    offered = last(session)
    assert [section.port for section in offered.media] == [30_000, before.media[1].port]
    assert [section.direction for section in offered.media] == ["sendrecv", "sendrecv"]
    assert [section.codecs for section in offered.media] == [section.codecs for section in before.media]
    assert int(offered.origin.version) == int(before.origin.version) + 1
    await agrees(session, "sendrecv", "sendrecv")
    assert leg.transports[0] == sound
    assert len(said(session, "reoffer")) == 1


async def test_two_that_move_at_once_are_both_told(call: tuple[SipLeg, FakeSession, AtEdge]) -> None:
    leg, session, at_edge = call
    for number, transport in enumerate(leg.transports):
        assert at_edge.on_moved is not None
        at_edge.on_moved(transport, 30_000 + 2 * number, 30_001 + 2 * number)
    await settle()
    await agrees(session, "sendrecv", "sendrecv")
    assert [section.port for section in last(session).media] == [30_000, 30_002]


async def test_a_phone_whose_connection_went_with_the_edge_is_told_when_it_is_back(
    call: tuple[SipLeg, FakeSession, AtEdge],
) -> None:
    leg, session, at_edge = call
    assert at_edge.on_moved is not None
    at_edge.on_moved(leg.transports[0], 30_000, 30_001)
    await settle()
    session.happen(sip.ReofferNotSent())
    await settle()
    assert len(said(session, "reoffer")) == 1
    session.happen(sip.Returned())
    await settle()
    assert len(said(session, "reoffer")) == 2
    assert last(session).media[0].port == 30_000
    await agrees(session, "sendrecv", "sendrecv")
    session.happen(sip.Returned())
    await settle()
    assert len(said(session, "reoffer")) == 2


async def test_a_call_that_is_over_hears_of_no_ports(call: tuple[SipLeg, FakeSession, AtEdge]) -> None:
    leg, _, at_edge = call
    leg._sip_media.close()
    assert at_edge.on_moved is None
