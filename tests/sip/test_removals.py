"""REFER with method=BYE to a conference (RFC 4579 §5.11), inside of its calls and outside: who may ask, what follows."""

from __future__ import annotations

import pytest

from mediaserver.sip.credentials import Credentials
from mediaserver.sip.digest import answer_challenge, parse_digest
from mediaserver.sip.events import Referred
from mediaserver.sip.message import Request, Response
from tests.sip.conftest import PASSWORDS
from tests.sip.test_conference_info import CONF, URI, up
from tests.sip.test_invite_session import established
from tests.sip.test_referrals import refer
from tests.sip.wire import Wire, request

CAROL = "<sip:carol@example.org;method=BYE>"


def ask(wire: Wire, to: str = CAROL, *, user: str = "bob", uri: str = URI, extra: str = "") -> list[Request | Response]:
    """What is sent because of a REFER outside of every call, with the right password."""

    def text(branch: str, fields: str) -> str:
        return request("REFER", call_id="remove", body="", uri=uri, branch=f"z9hG4bK{branch}", extra=fields)

    (challenge,) = wire.receive(text("c", f"Refer-To: {to}\n"))
    params = parse_digest(challenge.headers.get("WWW-Authenticate") or "")
    assert params is not None
    proof = answer_challenge(params, Credentials(user, PASSWORDS[user]), method="REFER", uri=uri)
    return wire.receive(text("p", f"Authorization: {proof}\nRefer-To: {to}\n{extra}"))


def test_whoever_is_in_a_conference_has_somebody_removed_and_is_told_of_it_once() -> None:
    wire = up("bob", "carol")
    assert ask(wire) == []
    (event,) = wire.removals
    assert (event.asked.conference, event.asked.authenticated_user) == (CONF, "bob")
    assert event.asked.target.user_text == "carol"
    wire.core.answer_removal(event, 200, wire.now)
    accepted, notify = wire.sent()
    assert isinstance(accepted, Response)
    assert isinstance(notify, Request)
    assert (accepted.code, notify.method, notify.body) == (202, "NOTIFY", b"SIP/2.0 200 OK\r\n")
    assert notify.headers.get("Subscription-State") == "terminated;reason=noresource"
    assert (notify.headers.get("Event"), notify.to.tag) == ("refer", event.transaction.request.from_.tag)


def test_whoever_wants_no_notify_gets_none() -> None:
    wire = up("bob", "carol")
    ask(wire, extra="Refer-Sub: false\n")
    wire.core.answer_removal(wire.removals[0], 200, wire.now)
    (accepted,) = wire.sent()
    assert accepted.headers.get("Refer-Sub") == "false"


def test_nobody_of_that_name_is_not_found() -> None:
    wire = up("bob", "carol")
    ask(wire)
    wire.core.answer_removal(wire.removals[0], 404, wire.now)
    (refused,) = wire.sent()
    assert isinstance(refused, Response)
    assert refused.code == 404


@pytest.mark.parametrize(
    ("names", "to", "code"),
    [
        (("carol",), CAROL, 403),  # Bob is not in it
        (("bob",), "<sip:dave@example.org>", 603),
        (("bob",), "<sip:dave@example.org;method=MESSAGE>", 603),
        (("bob",), "not a uri", 400),
        (("bob",), f"{CAROL}\nRefer-To: {CAROL}", 400),
    ],
)
def test_everything_else_is_refused(names: tuple[str, ...], to: str, code: int) -> None:
    wire = up(*names)
    (refused,) = ask(wire, to)
    assert isinstance(refused, Response)
    assert refused.code == code
    assert wire.removals == []


def test_a_bye_is_asked_of_a_conference_alone() -> None:
    wire = up("bob")
    (refused,) = ask(wire, uri="sip:bob@192.0.2.1")
    assert isinstance(refused, Response)
    assert (refused.code, wire.removals) == (603, [])


@pytest.mark.parametrize(
    ("focus", "to", "taken"),
    [
        (CONF, CAROL, True),
        (None, CAROL, False),
        (CONF, "<sip:carol@example.org;method=BYE?Replaces=a%3Bto-tag%3Db%3Bfrom-tag%3Dc>", False),
        (CONF, "<sip:carol@example.org;method=INFO>", False),
    ],
)
def test_in_its_call_a_focus_is_asked_so_and_nobody_else(focus: str | None, to: str, taken: bool) -> None:
    wire = Wire()
    machine, _ = established(wire)
    machine.focus = focus
    sent = wire.receive(refer(machine, to))
    if taken:
        (event,) = wire.events
        assert isinstance(event, Referred)
        assert (event.removes, event.target.user_text, sent) == (True, "carol", [])
    else:
        (refused,) = sent
        assert isinstance(refused, Response)
        assert (refused.code, wire.events) == (603, [])
