"""Who is calling, by the trust rule of a trunk: what is believed of a call that comes, and told of one that goes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from mediaserver.call.admission import Admission
from mediaserver.call.agents import Agents, Presentation
from mediaserver.call.call_request import CallRequest
from mediaserver.call.caller_identity import CallerIdentity, identity_of
from mediaserver.call.calls import Calls
from mediaserver.call.events import EndCause
from mediaserver.call.incoming import question_of
from mediaserver.call.media_addresses import MediaAddresses
from mediaserver.call.routing import Destination
from mediaserver.call.trunks import Trunks
from mediaserver.config.loader import load_text
from mediaserver.config.sections import Target
from mediaserver.contact.attributes import AttributeLimits
from mediaserver.contact.contact import Contact
from mediaserver.runtime.metrics import Metrics
from mediaserver.sdp.description import Fingerprint
from mediaserver.sdp.parser import parse
from mediaserver.sip import events as sip
from mediaserver.sip.diversions import Diversion
from mediaserver.sip.flow import Flow
from mediaserver.sip.headers import Headers, NameAddr, parse_name_addr
from mediaserver.sip.session_id import NIL
from mediaserver.sip.uri import parse_sip_uri
from tests.call.fakes import FakeEngine, FakeLeg, FakeSession
from tests.call.test_sip_media import BROWSER, media

WORLD = """
users: {ann: {secret: {env: A}}}
trunks:
  pbx:
    target: sip:192.0.2.7
    numbers: {region: DE, incoming: e164}
    identity: {incoming: trusted, outgoing: asserted, user_to_user: ticket}
  carrier:
    target: sip:192.0.2.8
    numbers: {own: "+4930123"}
    identity: {user_to_user: ticket}
"""
SAID = (
    ("P-Asserted-Identity", '"Anna" <sip:030555@pbx>'),
    ("Diversion", "<sip:4711@pbx>;reason=user-busy"),
    ("User-to-User", "045431;encoding=hex"),
)


def trunks_of(text: str = WORLD) -> Trunks:
    config = load_text(text).config
    return Trunks(config.trunks, realm="example.org", password_of=lambda *_: None, metrics=Metrics(), now=lambda: 0.0)


def invite(*fields: tuple[str, str], from_: str = '"Desk" <sip:030777@pbx>', **more: Any) -> Any:
    session = FakeSession("incoming")
    return SimpleNamespace(
        session=SimpleNamespace(remote_party=parse_name_addr(from_), session_id=session.session_id),
        request=SimpleNamespace(headers=Headers(fields), uri=parse_sip_uri("sip:100@example.org")),
        authenticated_user=more.get("user"),
        trunk=more.get("trunk"),
    )


def identity(*fields: tuple[str, str], trunk: str | None = "pbx", **more: Any) -> CallerIdentity:
    return identity_of(invite(*fields, trunk=trunk, **more), trunks_of().get(trunk))


def test_a_trusted_trunk_says_who_is_calling_how_the_call_came_and_what_goes_with_it() -> None:
    found = identity(*SAID)
    assert (found.name, found.number, found.trusted, found.withheld) == ("Anna", "+4930555", True, False)
    assert found.way == (Diversion("4711", "user-busy"),)
    assert found.attributes == {
        "called_first": "4711",
        "diverted_by": "4711",
        "diverted_because": "user-busy",
        "ticket": "T1",
    }


def test_of_a_trunk_that_is_not_trusted_only_from_counts_and_the_rest_is_its_own_word() -> None:
    found = identity(*SAID, trunk="carrier")
    assert (found.name, found.number, found.trusted) == ("Desk", "030777", False)
    assert found.attributes["ticket"] == "T1"


def test_a_user_of_the_house_is_who_has_proven_it_whatever_the_phone_asserts() -> None:
    found = identity(*SAID, trunk=None, user="ann", from_="<sip:ann@example.org>")
    assert (found.name, found.number, dict(found.attributes), found.way) == ("ann", "ann", {}, ())


def test_a_name_in_from_stays_where_the_asserted_identity_has_none() -> None:
    assert identity(("P-Asserted-Identity", "<tel:+4930555>")).name == "Desk"
    hidden = identity(("P-Asserted-Identity", "<tel:+4930555>"), from_='"Anonymous" <sip:anonymous@anonymous.invalid>')
    assert (hidden.name, hidden.number) == ("+4930555", "+4930555")


def test_who_wants_to_be_anonymous_is_so_for_agents_but_not_for_routes() -> None:
    call = invite(*SAID, ("Privacy", "id"), trunk="pbx")
    found = identity_of(call, trunks_of().get("pbx"))
    assert (found.name, found.number, found.withheld) == ("anonymous", "+4930555", True)
    question = question_of(call, trunks_of())
    assert (question.caller, question.name, question.attributes["ticket"]) == ("+4930555", "Anna", "T1")


def test_routes_see_no_attribute_of_a_trunk_that_is_not_trusted() -> None:
    assert question_of(invite(*SAID, trunk="carrier"), trunks_of()).attributes == {}


def test_the_contact_keeps_what_a_trusted_trunk_says_as_verified_and_the_way_in_its_timeline() -> None:
    contact = Contact(id="c", source="")
    shown = contact.introduce(identity(*SAID), AttributeLimits())
    assert (shown.name, shown.number, shown.verified, shown.attributes["ticket"]) == ("Anna", "+4930555", True, "T1")
    assert contact.record().attributes["diverted_by"] == "4711"
    assert ("diverted", "by 4711: user-busy") in [(entry.what, entry.detail) for entry in contact.timeline.entries]


def test_the_contact_keeps_the_rest_apart_and_bounded() -> None:
    contact = Contact(id="c", source="")
    shown = contact.introduce(identity(*SAID, trunk="carrier"), AttributeLimits())
    assert (dict(shown.attributes), shown.unverified["ticket"]) == ({}, "T1")
    small = Contact(id="c", source="")
    assert small.introduce(identity(*SAID), AttributeLimits(count=2)).attributes == {}
    assert "attributes_left_out" in [entry.what for entry in small.timeline.entries]


# -- calls that go -------------------------------------------------------------------------------------------------


class Phones:
    """Has the face of a user agent where everybody answers; `told` is what the last INVITE said."""

    def __init__(self) -> None:
        self.told: dict[str, Any] = {}

    def find_named(self, name: object) -> None:
        return None

    def show_conference(self, address: str, state: object) -> None:
        """Nobody watches."""

    def bindings(self, aor: str) -> list[Any]:
        """One phone."""
        flow = Flow("udp", "127.0.0.1", 5060, "192.0.2.9", 5060)
        return [SimpleNamespace(contact=parse_sip_uri("sip:ann@192.0.2.9"), flow=flow)]

    async def invite(self, target: object, *, body: bytes, **told: Any) -> FakeSession:
        self.told = told
        session = FakeSession()
        answer = await media(FakeEngine()).answer(
            parse(body.decode()), BROWSER, srtp_required=False, srtp_allowed=False
        )
        session.happen(sip.Answered(answer))
        return session


async def call_to(
    trunk: str | None, shown: Presentation, text: str = WORLD, **more: Any
) -> tuple[NameAddr, dict[str, str]]:
    """From and the further header fields of a call over `trunk`, None to a user's phone."""
    config, phones, metrics = load_text(text).config, Phones(), Metrics()
    calls = Calls(
        config=config,
        engine=FakeEngine(),  # type: ignore[arg-type]
        user_agent=phones,  # type: ignore[arg-type]
        agents=Agents(),
        fingerprint=Fingerprint("sha-256", bytes(32)),
        addresses=MediaAddresses({"127.0.0.1": "127.0.0.1", "192.0.2.7": "192.0.2.1", "0.0.0.0": "192.0.2.1"}),
        trunks=trunks_of(text),
        admission=Admission(config, metrics=metrics),
    )
    caller = FakeLeg("caller", codecs=BROWSER)
    request = CallRequest(
        "c", caller, Destination(Target(trunk=trunk) if trunk else Target(user="ann"), "100", "x"), shown, **more
    )
    call = await calls.connect(request, on_ended=lambda *_: None)
    assert phones.told["session_uuid"] == caller.session_uuid != NIL
    await call.end(EndCause("system", "over"))
    fields = dict(phones.told["headers"]) | {"Max-Forwards": str(phones.told["max_forwards"])}
    return phones.told["from_"], {name: value for name, value in fields.items() if value != "70"}


ANNA = Presentation(name="Anna", number="+4930555", attributes={"ticket": "T1"})
HIDDEN = Presentation(name="anonymous", number="+4930555", withheld=True)


async def test_a_phone_is_told_in_from_too_whom_it_can_call_back() -> None:
    from_, _ = await call_to(None, ANNA)
    assert (str(from_.uri), from_.display_name) == ("sip:+4930555@mediaserver", "Anna")
    hidden, _ = await call_to(None, HIDDEN)
    assert str(hidden) == '"Anonymous" <sip:anonymous@anonymous.invalid>'
    visitor, _ = await call_to(None, Presentation(name="Visitor"))
    assert str(visitor) == '"Visitor" <sip:anonymous@mediaserver>'


async def test_a_trusted_trunk_is_told_who_calls_and_the_attribute_goes_with_it() -> None:
    from_, fields = await call_to("pbx", ANNA)
    assert str(from_.uri).startswith("sip:+4930555@")
    assert fields["P-Asserted-Identity"].startswith('"Anna" <sip:+4930555@')
    assert fields["User-to-User"] == "045431;purpose=isdn-uui;content=isdn-uui;encoding=hex"
    assert "Privacy" not in fields


async def test_a_trusted_trunk_is_told_of_an_anonymous_caller_with_the_wish_beside_it() -> None:
    from_, fields = await call_to("pbx", HIDDEN)
    assert str(from_) == '"Anonymous" <sip:anonymous@anonymous.invalid>'
    assert fields["P-Asserted-Identity"].startswith("<sip:+4930555@")
    assert fields["Privacy"] == "id"


async def test_a_trunk_that_is_not_trusted_hears_nothing_of_an_anonymous_caller() -> None:
    from_, fields = await call_to("carrier", HIDDEN)
    assert str(from_) == '"Anonymous" <sip:anonymous@anonymous.invalid>'
    assert fields == {"Privacy": "id"}
    assert "4930555" not in f"{from_}{fields}"


async def test_a_trunk_that_is_not_trusted_gets_from_alone() -> None:
    from_, fields = await call_to("carrier", Presentation(name="Anna", number="+4930555"))
    assert (from_.display_name, fields) == ("Anna", {})


@pytest.mark.parametrize("form", ["remote_party_id", "preferred"])
async def test_the_form_is_the_trunks(form: str) -> None:
    _, fields = await call_to("pbx", ANNA, WORLD.replace("outgoing: asserted", f"outgoing: {form}"))
    assert {"remote_party_id": "Remote-Party-ID", "preferred": "P-Preferred-Identity"}[form] in fields


async def test_a_fixed_field_of_the_trunk_wins() -> None:
    text = WORLD.replace(
        "    identity: {incoming",
        "    headers: {fixed: {P-Asserted-Identity: '<sip:1@house>'}}\n    identity: {incoming",
    )
    _, fields = await call_to("pbx", ANNA, text)
    assert fields["P-Asserted-Identity"] == "<sip:1@house>"


async def test_what_everybody_is_told_goes_to_trunks_too() -> None:
    _, fields = await call_to("carrier", ANNA, own_headers=(("Referred-By", "<sip:bob@example.org>"),))
    assert fields["Referred-By"] == "<sip:bob@example.org>"


@pytest.mark.parametrize(("came", "goes"), [("70", "69"), ("3", "2"), ("1", "0"), ("255", "69"), ("junk", None)])
async def test_a_call_that_goes_round_between_two_houses_loses_a_hop_each_time(came: str, goes: str | None) -> None:
    _, fields = await call_to("carrier", ANNA, headers=(("max-forwards", came),))
    assert fields.get("Max-Forwards") == goes
