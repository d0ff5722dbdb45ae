"""REFER outside of a call (RFC 3515): who may ask for one, what he is told of it, and what bounds him."""

from __future__ import annotations

import pytest

from mediaserver.sip.config import SipLimits
from mediaserver.sip.credentials import Credentials
from mediaserver.sip.digest import answer_challenge, parse_digest
from mediaserver.sip.message import Request, Response
from mediaserver.sip.outside_referrals import OutsideReferral
from tests.sip.conftest import PASSWORDS
from tests.sip.wire import Wire, answer, request

HOUSE = "sip:192.0.2.1"
CAROL = "<sip:5001@example.org>"


def house(**limits: float) -> Wire:
    return Wire(trunk=False, limits=SipLimits(**limits))  # type: ignore[arg-type]


def ask(
    wire: Wire, to: str = CAROL, *, user: str = "bob", uri: str = HOUSE, call_id: str = "click", extra: str = ""
) -> list[Request | Response]:
    """What is sent because of a REFER outside of every call, with the right password."""

    def text(branch: str, fields: str) -> str:
        branch = f"z9hG4bK{call_id}{branch}"
        return request("REFER", call_id=call_id, body="", uri=uri, branch=branch, extra=fields)

    (challenge,) = wire.receive(text("c", f"Refer-To: {to}\n"))
    assert isinstance(challenge, Response)
    assert challenge.code == 401
    params = parse_digest(challenge.headers.get("WWW-Authenticate") or "")
    assert params is not None
    proof = answer_challenge(params, Credentials(user, PASSWORDS[user]), method="REFER", uri=uri)
    return wire.receive(text("p", f"Authorization: {proof}\nRefer-To: {to}\n{extra}"))


def taken(wire: Wire, **more: str) -> tuple[OutsideReferral, Response, Request]:
    """One that was taken: itself, the 202 and the first NOTIFY, which was answered."""
    assert ask(wire, **more) == []
    referral = wire.referrals[-1]
    wire.core.referrals.answer(referral, 100, wire.now)
    accepted, notify = wire.sent()
    assert isinstance(accepted, Response)
    assert isinstance(notify, Request)
    assert wire.receive(answer(notify, 200)) == []
    return referral, accepted, notify


def told(wire: Wire, referral: OutsideReferral, code: int) -> Request:
    """The NOTIFY that says how it goes on."""
    wire.core.referrals.answer(referral, code, wire.now)
    (notify,) = wire.sent()
    assert isinstance(notify, Request)
    wire.receive(answer(notify, 200))
    return notify


def unsubscribe(referral: OutsideReferral, *, expires: int = 0, cseq: int = 2, event: str = "refer") -> str:
    return request(
        "SUBSCRIBE",
        cseq=cseq,
        call_id="click",
        to_tag=referral.dialog.local_tag,
        body="",
        branch=f"z9hG4bKsub{cseq}",
        extra=f"Event: {event}\nExpires: {expires}\n",
    )


def test_a_user_asks_for_a_call_and_is_told_how_it_goes_to_its_end() -> None:
    wire = house()
    referral, accepted, trying = taken(wire)
    assert (referral.user, referral.called) == ("bob", "5001")
    assert (accepted.code, bool(accepted.to.tag), bool(accepted.headers.get("Contact"))) == (202, True, True)
    assert (trying.method, trying.body, trying.to.tag) == ("NOTIFY", b"SIP/2.0 100 Trying\r\n", "their-tag")
    assert (trying.headers.get("Event"), trying.content_type) == ("refer", "message/sipfrag")
    assert (trying.headers.get("Subscription-State") or "").startswith("active;expires=")
    assert told(wire, referral, 180).body == b"SIP/2.0 180 Ringing\r\n"
    done = told(wire, referral, 200)
    assert done.body == b"SIP/2.0 200 OK\r\n"
    assert done.headers.get("Subscription-State") == "terminated;reason=noresource"
    assert done.cseq[0] > trying.cseq[0]
    wire.core.referrals.answer(referral, 487, wire.now)  # the call ends, which is nobody's business any more
    assert wire.sent() == []
    assert len(wire.core.referrals) == 0


def test_what_may_not_be_called_is_refused_at_once() -> None:
    wire = house()
    assert ask(wire) == []
    wire.core.referrals.answer(wire.referrals[0], 403, wire.now)
    (refused,) = wire.sent()
    assert isinstance(refused, Response)
    assert (refused.code, len(wire.core.referrals)) == (403, 0)


@pytest.mark.parametrize(
    ("to", "called"),
    [
        ("<tel:+49-30-(1234)5;phone-context=example.org>", "+493012345"),
        ("<sip:+4930@example.org;user=phone>", "+4930"),
        ("<sip:alice@192.0.2.1?Subject=x>", "alice"),
    ],
)
def test_a_number_or_an_address_of_the_house_is_called(to: str, called: str) -> None:
    wire = house()
    assert ask(wire, to, uri="sip:bob@example.org") == []
    assert wire.referrals[0].called == called


@pytest.mark.parametrize(
    ("to", "uri", "user", "code"),
    [
        (CAROL, "sip:alice@192.0.2.1", "bob", 403),  # another one's phones would ring
        (CAROL, HOUSE, "alice", 403),  # who proves to be Alice says that she is Bob
        (CAROL, "sip:elsewhere.test", "bob", 404),
        ("<sip:5001@elsewhere.test>", HOUSE, "bob", 404),
        ("<sip:5001@example.org;method=BYE>", HOUSE, "bob", 603),
        ("<sip:5001@example.org?Replaces=a%3Bto-tag%3Db%3Bfrom-tag%3Dc>", HOUSE, "bob", 603),
        (f"{CAROL}\nTarget-Dialog: a;local-tag=b;remote-tag=c", HOUSE, "bob", 603),
        ("<sip:example.org>", HOUSE, "bob", 603),
        ("<mailto:carol@example.org>", HOUSE, "bob", 416),
        ("<tel:;x=y>", HOUSE, "bob", 416),
        ("not a uri", HOUSE, "bob", 400),
        (f"{CAROL}\nRefer-To: {CAROL}", HOUSE, "bob", 400),
    ],
)
def test_everything_else_is_refused(to: str, uri: str, user: str, code: int) -> None:
    wire = house()
    (refused,) = ask(wire, to, uri=uri, user=user)
    assert isinstance(refused, Response)
    assert (refused.code, wire.referrals) == (code, [])


def test_a_trunk_is_refused_because_its_address_may_be_forged() -> None:
    wire = Wire()
    (refused,) = wire.receive(request("REFER", body="", uri=HOUSE, extra=f"Refer-To: {CAROL}\n"))
    assert isinstance(refused, Response)
    assert (refused.code, wire.referrals) == (403, [])


def test_a_user_makes_one_call_at_a_time() -> None:
    wire = house()
    referral, _, _ = taken(wire)
    (refused,) = ask(wire, call_id="again")
    assert isinstance(refused, Response)
    assert (refused.code, bool(refused.headers.get("Retry-After"))) == (500, True)
    assert wire.counts.table["sip.dropped.referral_under_way"] == 1
    told(wire, referral, 486)
    assert ask(wire, call_id="later") == []
    assert len(wire.referrals) == 2


def test_a_source_that_asks_too_often_is_not_heard_with_a_password_either() -> None:
    wire = house(unauthenticated_per_source_per_s=2.0)  # four at once: two challenges, and two with the password
    for number in range(2):
        assert ask(wire, call_id=f"call{number}") == []
        wire.core.referrals.answer(wire.referrals[-1], 404, wire.now)
        wire.sent()
    assert wire.receive(request("REFER", body="", uri=HOUSE, call_id="more", extra=f"Refer-To: {CAROL}\n")) == []
    assert wire.counts.table["sip.dropped.source_rate"] == 1


def test_whoever_wants_no_notify_gets_none() -> None:
    wire = house()
    ask(wire, extra="Refer-Sub: false\n")
    wire.core.referrals.answer(wire.referrals[0], 100, wire.now)
    (accepted,) = wire.sent()
    assert accepted.headers.get("Refer-Sub") == "false"
    wire.core.referrals.answer(wire.referrals[0], 200, wire.now)
    assert wire.sent() == []


def test_who_answers_a_notify_with_an_error_gets_no_more() -> None:
    wire = house()
    ask(wire)
    wire.core.referrals.answer(wire.referrals[0], 100, wire.now)
    _, notify = wire.sent()
    assert isinstance(notify, Request)
    wire.receive(answer(notify, 481))
    wire.core.referrals.answer(wire.referrals[0], 180, wire.now)
    assert wire.sent() == []


def test_a_subscribe_asks_for_more_time_or_for_no_more() -> None:
    wire = house()
    referral, _, _ = taken(wire)
    longer, now = wire.receive(unsubscribe(referral, expires=3600))
    assert isinstance(longer, Response)
    assert isinstance(now, Request)
    assert (longer.code, longer.headers.get("Expires"), now.body) == (200, "300", b"SIP/2.0 100 Trying\r\n")
    (wrong,) = wire.receive(unsubscribe(referral, cseq=3, event="presence"))
    assert isinstance(wrong, Response)
    assert wrong.code == 489
    _, last = wire.receive(unsubscribe(referral, cseq=4))
    assert last.headers.get("Subscription-State") == "terminated;reason=timeout"
    wire.core.referrals.answer(referral, 180, wire.now)
    assert wire.sent() == []
    (gone,) = wire.receive(unsubscribe(referral, cseq=5))
    assert isinstance(gone, Response)
    assert gone.code == 481


def test_a_server_that_is_about_to_stop_takes_none() -> None:
    wire = house()
    wire.core.draining = True
    (refused,) = wire.receive(request("REFER", body="", uri=HOUSE, extra=f"Refer-To: {CAROL}\n"))
    assert isinstance(refused, Response)
    assert refused.code == 503
