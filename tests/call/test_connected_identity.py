"""Who is told of whom in a call, also after a transfer, and which peer is believed when it names somebody else."""

from __future__ import annotations

import pytest

from mediaserver.call.call import Call
from mediaserver.call.connected_identity import ConnectedIdentity, IdentityRules
from mediaserver.call.events import EndCause
from mediaserver.call.identity_rules import phone_rules, trunk_rules
from mediaserver.call.sip_leg import SipLeg
from mediaserver.sdp.serializer import serialize
from mediaserver.sip import events as sip
from mediaserver.sip.identity import ANONYMOUS
from tests.call.fakes import FakeLeg, FakeSession
from tests.call.test_caller_identity import trunks_of
from tests.call.test_sip_leg import settle, taken
from tests.call.test_sip_media import BROWSER, VOICE, described

ANNA = ConnectedIdentity("Anna", "anna")
BERT = ConnectedIdentity("Bert", "bert")
HIDDEN = ConnectedIdentity("Anna", "+4930555", withheld=True)


def named(name: str, identity: ConnectedIdentity) -> FakeLeg:
    leg = FakeLeg(name, codecs=BROWSER)
    leg.identity = identity
    return leg


async def talking(trunk: str | None = None, *, updates: bool = True) -> tuple[Call, SipLeg, FakeSession]:
    """A phone of the house, or a trunk, that called and talks to Anna."""
    phone, session = await taken(serialize(described(VOICE)).encode())
    session.updates = updates
    line = trunks_of().get(trunk)
    phone.identity_rules = phone_rules("house.test") if line is None else trunk_rules(line, "house.test")
    phone.identity = ConnectedIdentity("Carl", "carl")
    call = Call(call_id="c", caller=phone, callee=named("anna", ANNA), longest_s=60, on_ended=lambda *_: None)
    await call.join()
    session.happen(sip.Confirmed(None))
    await settle()
    return call, phone, session


def identities(session: FakeSession) -> list[dict[str, str]]:
    return [entry[1] for entry in session.log if entry[0] == "identify"]


async def test_a_phone_is_told_who_has_answered_before_its_answer_and_who_came_by_a_transfer() -> None:
    call, _, session = await talking()
    assert [entry[0] for entry in session.log[:2]] == ["identify", "answer"]
    await call.replace(call.callee, named("bert", BERT))
    assert identities(session) == [
        {"P-Asserted-Identity": '"Anna" <sip:anna@house.test>'},
        {"P-Asserted-Identity": '"Bert" <sip:bert@house.test>'},
    ]
    await call.end(EndCause("system", "over"))


async def test_a_phone_without_update_is_told_by_a_reinvite_that_changes_nothing() -> None:
    call, _, session = await talking(updates=False)
    session.log.clear()
    await call.replace(call.callee, named("bert", BERT))
    await settle()
    assert [entry[0] for entry in session.log] == ["identify", "reoffer"]
    await call.end(EndCause("system", "over"))


async def test_a_trusted_trunk_that_names_somebody_else_is_passed_on_and_another_is_not_believed() -> None:
    boss = sip.PartyTold((("P-Asserted-Identity", '"Boss" <sip:030777@pbx.test>'),))
    for trunk, believed in (("pbx", True), ("carrier", False)):
        call, phone, session = await talking(trunk)
        heard: list[ConnectedIdentity] = []
        call.callee.represent = lambda other: heard.append(other.identity)  # type: ignore[method-assign,misc]  # noqa: B023
        session.happen(boss)
        await settle()
        assert [(who.name, who.withheld) for who in heard] == ([("Boss", False)] if believed else [])
        assert (phone.identity.name == "Boss") is believed
        assert isinstance(call.callee, FakeLeg)
        assert call.callee.parties == (["Boss"] if believed else [])
        assert phone.shown_name == ("Boss" if believed else phone.name)
        await call.end(EndCause("system", "over"))


async def test_a_page_sees_no_name_of_somebody_who_does_not_want_to_be_named() -> None:
    call, phone, session = await talking("pbx")
    session.happen(sip.PartyTold((("P-Asserted-Identity", '"Boss" <sip:030777@pbx.test>'), ("Privacy", "id"))))
    await settle()
    assert isinstance(call.callee, FakeLeg)
    assert call.callee.parties == [phone.shown_name] == ["anonymous"]
    assert phone.identity.withheld
    await call.end(EndCause("system", "over"))


@pytest.mark.parametrize(
    ("identity", "fields"),
    [
        (ANNA, [("P-Asserted-Identity", '"Anna" <sip:anna@h.test>')]),
        (HIDDEN, []),
        (ConnectedIdentity("Visitor"), []),
        (
            ConnectedIdentity("Eve", "0900", verified=False),
            [("Remote-Party-ID", '"Eve" <sip:0900@h.test>;party=calling;screen=no;privacy=off')],
        ),
    ],
)
def test_a_phone_is_told_who_the_house_knows_and_what_it_only_heard_as_such(
    identity: ConnectedIdentity, fields: list[tuple[str, str]]
) -> None:
    assert list(phone_rules("h.test").tell(identity)) == fields
    assert phone_rules("h.test").believe((("P-Asserted-Identity", "<sip:boss@h.test>"),)) is None


def test_a_trunk_is_told_by_its_own_rule() -> None:
    pbx, carrier = trunks_of().get("pbx"), trunks_of().get("carrier")
    assert pbx is not None
    assert carrier is not None
    told = dict(trunk_rules(pbx, "h.test").tell(HIDDEN))
    assert told["P-Asserted-Identity"].startswith("<sip:+4930555@")
    assert told["Privacy"] == "id"
    assert list(trunk_rules(carrier, "h.test").tell(ANNA)) == []
    assert dict(trunk_rules(carrier, "h.test").tell(HIDDEN)) == {"Privacy": "id"}
    hidden = trunk_rules(pbx, "h.test").believe((("P-Asserted-Identity", "<sip:030777@p.test>"), ("Privacy", "id")))
    assert hidden is not None
    assert hidden.withheld
    assert trunk_rules(pbx, "h.test").believe((("P-Asserted-Identity", "<mailto:a@b>"),)) is None


@pytest.mark.parametrize("rules", [phone_rules("h.test"), trunk_rules(trunks_of()["pbx"], "h.test")])
def test_from_names_who_is_there_and_nobody_who_does_not_want_to_be_named(rules: IdentityRules) -> None:
    assert str(rules.address(ConnectedIdentity("Anna", "+4930555"))).startswith('"Anna" <sip:')
    assert rules.address(HIDDEN) == ANONYMOUS
    assert rules.address(ConnectedIdentity("Visitor")) is None


async def test_who_came_by_a_transfer_is_the_new_from_for_a_phone_that_knows_that() -> None:
    call, _, session = await talking()
    await call.replace(call.callee, named("bert", BERT))
    assert str(session.party) == '"Bert" <sip:bert@house.test>'
    await call.end(EndCause("system", "over"))


@pytest.mark.parametrize("trunk", ["pbx", "carrier"])
async def test_a_trunks_new_from_is_its_own_word(trunk: str) -> None:
    call, phone, session = await talking(trunk)
    session.happen(sip.PartyTold((("From", '"Desk" <sip:030777@pbx.test>'),)))
    await settle()
    assert (phone.identity.name, phone.identity.verified) == ("Desk", False)
    await call.end(EndCause("system", "over"))
