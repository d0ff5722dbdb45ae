"""A phone rings, and somebody else's INVITE with Replaces takes the call: what becomes of all of them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mediaserver.call.call import Call
from mediaserver.call.named_dialogs import DialogRefused
from mediaserver.call.sip_leg import SipLeg
from mediaserver.sip.headers import NameAddr
from mediaserver.sip.replaces import Replaces
from mediaserver.sip.session_states import SessionState
from mediaserver.sip.uri import parse_sip_uri
from tests.call import test_call_bandwidth as bandwidth
from tests.call.fakes import FakeEngine, FakeSession
from tests.call.test_sip_media import BROWSER, media

WORLD = """
users: {ann: {secret: {env: A}}, ben: {secret: {env: B}}, eve: {secret: {env: E}}}
groups: {desk: {members: [ann, ben], pickup: true}}
routes:
  - {match: {called: "*"}, to: {user: ann}}
sites:
"""
EARLY = Replaces("call", "ours", "theirs", early_only=True)


class Phones(bandwidth.Phones):
    """Ann's phone rings and rings."""

    async def invite(self, target: Any, *, body: bytes, **_: object) -> FakeSession:
        session = FakeSession()
        session.state = SessionState.EARLY
        self.sessions.append(session)
        return session

    def find_named(self, name: object) -> Any:
        return self.sessions[-1] if name == EARLY and self.sessions else None


class House(bandwidth.House):
    """Somebody calls Ann."""

    def __init__(self) -> None:
        super().__init__("  munich: {cidrs: [10.1.0.0/16]}\n", world=WORLD)

    @classmethod
    async def ringing(cls) -> tuple[House, asyncio.Future[Call], Any]:
        house = cls()
        house.phones.register("10.1.0.7")
        caller, session = await house.incoming()
        connecting = asyncio.ensure_future(house.connect(caller, "ann"))
        await bandwidth.settle()
        return house, connecting, session

    async def picker(self, user: str) -> tuple[SipLeg, FakeSession]:
        session: Any = FakeSession("incoming")
        session.remote_party = NameAddr(parse_sip_uri(f"sip:{user}@example.org"))
        offer = await media(FakeEngine()).offer(BROWSER, srtp=False)
        invite = bandwidth.invite_of(session, offer, "10.1.0.8", user=user)
        return self.calls.incoming_leg(invite, "contact"), session


@pytest.fixture(autouse=True)
def silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bandwidth, "Phones", Phones)


async def test_whoever_picks_up_has_the_call_and_the_phone_stops_ringing() -> None:
    house, connecting, caller = await House.ringing()
    place = house.calls.taking_over.look(EARLY, user="ben", trunk=None)
    leg, session = await house.picker("ben")
    await house.calls.taking_over.take(leg, place)
    call = await connecting
    assert call.callee is leg
    assert [entry[0] for entry in session.log] == ["answer"]
    assert [entry[0] for entry in caller.log] == ["identify", "answer"]
    assert house.phones.sessions[-1].log == [("hangup", None)]
    # It rings no more: there is nothing left to pick up.
    with pytest.raises(DialogRefused) as refused:
        house.calls.taking_over.look(EARLY, user="ben", trunk=None)
    assert refused.value.code == 481


async def test_a_user_of_no_group_of_hers_does_not_pick_up_what_rings_at_ann() -> None:
    house, connecting, _ = await House.ringing()
    with pytest.raises(DialogRefused) as refused:
        house.calls.taking_over.look(EARLY, user="eve", trunk=None)
    assert refused.value.code == 403
    assert not connecting.done()
    connecting.cancel()
    await bandwidth.settle()


async def test_whoever_picks_up_while_the_caller_hangs_up_is_hung_up() -> None:
    house, connecting, _ = await House.ringing()
    place = house.calls.taking_over.look(EARLY, user="ben", trunk=None)
    leg, session = await house.picker("ben")
    await house.calls.taking_over.take(leg, place)
    connecting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await connecting
    await bandwidth.settle()
    assert leg.ended
    assert [entry[0] for entry in session.log] == ["answer", "hangup"]
    assert house.phones.sessions[-1].log == [("hangup", None)]
