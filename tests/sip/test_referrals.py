"""REFER with its NOTIFYs, and what Replaces names (RFC 3515, 3891, 3892, 4488)."""

from __future__ import annotations

import pytest

from mediaserver.errors import LocalProtocolError
from mediaserver.sip.errors import SipParseError
from mediaserver.sip.events import Referred
from mediaserver.sip.invite_session import InviteMachine, SessionState
from mediaserver.sip.message import Request, Response
from mediaserver.sip.replaces import Replaces, parse_replaces
from tests.sip.test_invite_session import act, established, in_dialog
from tests.sip.wire import Wire, request


def refer(machine: InviteMachine, to: str = "<sip:carol@example.org>", *, cseq: int = 1, extra: str = "") -> str:
    return in_dialog(machine, "REFER", cseq, branch=f"r{cseq}", extra=f"Refer-To: {to}\n{extra}")


def sent(wire: Wire, machine: InviteMachine) -> list[Request | Response]:
    wire.core.touch(machine)
    return wire.sent()


def test_a_transfer_is_accepted_and_followed_by_notify_to_its_end() -> None:
    wire = Wire()
    machine, _ = established(wire)
    assert wire.receive(refer(machine, extra="Referred-By: <sip:bob@example.org>\n")) == []
    (event,) = wire.events
    assert isinstance(event, Referred)
    assert (str(event.target), event.replaces) == ("sip:carol@example.org", None)
    assert event.referred_by is not None
    machine.accept_referral(now=wire.now)
    accepted, trying = sent(wire, machine)
    assert isinstance(accepted, Response)
    assert isinstance(trying, Request)
    assert (accepted.code, trying.method, trying.body) == (202, "NOTIFY", b"SIP/2.0 100 Trying\r\n")
    assert (trying.headers.get("Event"), trying.content_type) == ("refer", "message/sipfrag")
    assert (trying.headers.get("Subscription-State") or "").startswith("active")
    machine.notify_referral(200, now=wire.now)
    done = act(wire, machine)
    assert isinstance(done, Request)
    assert done.headers.get("Subscription-State") == "terminated;reason=noresource"
    with pytest.raises(LocalProtocolError):
        machine.notify_referral(200, now=wire.now)


def test_a_transfer_can_be_refused_and_the_call_goes_on() -> None:
    wire = Wire()
    machine, _ = established(wire)
    wire.receive(refer(machine))
    machine.reject_referral(403, now=wire.now)
    response = act(wire, machine)
    assert isinstance(response, Response)
    assert (response.code, machine.state) == (403, SessionState.CONFIRMED)


def test_a_second_transfer_waits_for_the_first_and_has_an_id() -> None:
    wire = Wire()
    machine, _ = established(wire)
    wire.receive(refer(machine))
    (busy,) = wire.receive(refer(machine, cseq=2))
    assert isinstance(busy, Response)
    assert busy.code == 500
    assert wire.counts.table["sip.dropped.referral_under_way"] == 1
    machine.reject_referral(486, now=wire.now)
    act(wire, machine)
    wire.receive(refer(machine, cseq=3))
    machine.accept_referral(now=wire.now)
    assert sent(wire, machine)[1].headers.get("Event") == "refer;id=3"


def test_who_wants_no_notify_gets_none() -> None:
    wire = Wire()
    machine, _ = established(wire)
    wire.receive(refer(machine, extra="Refer-Sub: false\nSupported: norefersub\n"))
    machine.accept_referral(now=wire.now)
    (accepted,) = sent(wire, machine)
    assert accepted.headers.get("Refer-Sub") == "false"
    machine.notify_referral(200, now=wire.now)
    assert sent(wire, machine) == []


@pytest.mark.parametrize(
    ("to", "code"),
    [
        ("<tel:+4989>", 416),
        ("<mailto:carol@example.org>", 416),
        ("not a uri", 400),
        ("<sip:carol@example.org>\nRefer-To: <sip:dave@example.org>", 400),
        ("<sip:carol@example.org;method=BYE>", 603),
        ("<sip:carol@example.org?Replaces=onlyacallid>", 400),
    ],
)
def test_a_transfer_to_nobody_is_refused_at_once(to: str, code: int) -> None:
    wire = Wire()
    machine, _ = established(wire)
    (response,) = wire.receive(refer(machine, to))
    assert isinstance(response, Response)
    assert response.code == code
    assert wire.events == []


def test_an_attended_transfer_names_the_other_call() -> None:
    wire = Wire()
    machine, _ = established(wire)
    to = "<sip:carol@192.0.2.1?Replaces=abc%40host%3Bto-tag%3Dours%3Bfrom-tag%3Dtheirs>"
    wire.receive(refer(machine, to))
    (event,) = wire.events
    assert isinstance(event, Referred)
    assert event.replaces == Replaces("abc@host", "ours", "theirs")
    assert str(event.target) == "sip:carol@192.0.2.1"


def test_replaces_finds_a_dialog_by_all_three_parts() -> None:
    wire = Wire()
    machine, _ = established(wire)
    named = Replaces(machine.call_id, machine.local_tag, "their-tag")
    assert wire.core.find_named(named) is machine
    for wrong in (
        Replaces("other", named.to_tag, named.from_tag),
        Replaces(named.call_id, "guessed", named.from_tag),
        Replaces(named.call_id, named.to_tag, "guessed"),
        Replaces(named.call_id, named.to_tag, "0"),
    ):
        assert wire.core.find_named(wrong) is None


@pytest.mark.parametrize(
    "text", ["", ";to-tag=a;from-tag=b", "c;to-tag=a", "c;to-tag=;from-tag=b", "c d;to-tag=a;from-tag=b"]
)
def test_broken_replaces_are_refused(text: str) -> None:
    with pytest.raises(SipParseError):
        parse_replaces(text)


def test_a_refer_of_a_stranger_in_a_dialog_is_481() -> None:
    wire = Wire()
    machine, _ = established(wire)
    stranger = request(
        "REFER",
        to_tag=machine.local_tag,
        from_tag="stranger",
        call_id=machine.call_id,
        body="",
        extra="Refer-To: <sip:a@b>\n",
    )
    (response,) = wire.receive(stranger)
    assert isinstance(response, Response)
    assert response.code == 481


def test_a_focus_says_so_and_its_uri_in_the_contact_of_all_that_may_carry_one() -> None:
    wire = Wire()
    machine, _ = established(wire)
    wire.receive(refer(machine))
    machine.accept_referral(now=wire.now)
    _, before = sent(wire, machine)
    assert "isfocus" not in (before.headers.get("Contact") or "")
    machine.focus = "conf-17"
    machine.notify_referral(200, now=wire.now)
    (after,) = sent(wire, machine)
    uri, _, params = (after.headers.get("Contact") or "").partition(">")
    assert (uri.partition("@")[0], params) == ("<sip:conf-17", ";isfocus")
