"""Subscriptions to the presence and the dialogs of users (RFC 6665, 3856, 4235): who may, for how long, what is told."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from mediaserver.sip.config import SipLimits
from mediaserver.sip.credentials import Credentials
from mediaserver.sip.dialog_name import DialogName
from mediaserver.sip.digest import answer_challenge, parse_digest
from mediaserver.sip.event_packages import UserDialog, UserState
from mediaserver.sip.flow import Flow
from mediaserver.sip.headers import NameAddr
from mediaserver.sip.location import Binding
from mediaserver.sip.message import Request, Response
from mediaserver.sip.uri import parse_sip_uri
from tests.sip.conftest import PASSWORDS
from tests.sip.wire import Wire, answer, request

ALICE = "alice@example.org"
PHONE = Flow("udp", "192.0.2.1", 5060, "192.0.2.44", 5060)


def house(**limits: int) -> Wire:
    return Wire(trunk=False, limits=SipLimits(**limits))


def subscribe_text(
    event: str = "dialog",
    *,
    expires: int | None = 600,
    cseq: int = 1,
    call_id: str = "watch",
    to_tag: str | None = None,
    extra: str = "",
    uri: str = "sip:alice@192.0.2.1",
    branch: str = "",
) -> str:
    extra += f"Event: {event}\n" if event else ""
    extra += f"Expires: {expires}\n" if expires is not None else ""
    return request(
        "SUBSCRIBE",
        cseq=cseq,
        call_id=call_id,
        to_tag=to_tag,
        body="",
        extra=extra,
        uri=uri,
        branch=f"z9hG4bK{call_id}{cseq}{branch}",
    )


def subscribe(
    wire: Wire, event: str = "dialog", *, user: str = "bob", uri: str = "sip:alice@192.0.2.1", **more: object
) -> list[Request | Response]:
    """What is sent because of a SUBSCRIBE with the right password."""
    (challenge,) = wire.receive(subscribe_text(event, uri=uri, branch="c", **more))  # type: ignore[arg-type]
    assert isinstance(challenge, Response)
    assert challenge.code == 401
    params = parse_digest(challenge.headers.all("WWW-Authenticate")[0])
    assert params is not None
    proof = answer_challenge(params, Credentials(user, PASSWORDS[user]), method="SUBSCRIBE", uri=uri)
    more["extra"] = f"Authorization: {proof}\n{more.get('extra', '')}"
    more["cseq"] = int(str(more.get("cseq", 1))) + 1
    return wire.receive(subscribe_text(event, uri=uri, **more))  # type: ignore[arg-type]


def begun(wire: Wire, event: str = "dialog", **more: object) -> tuple[Response, Request]:
    """The 200 and the first NOTIFY, which was answered."""
    accepted, notify = subscribe(wire, event, **more)  # type: ignore[arg-type]
    assert isinstance(accepted, Response)
    assert isinstance(notify, Request)
    assert accepted.code == 200
    wire.receive(answer(notify, 200))
    return accepted, notify


def notified(wire: Wire, seconds: float = 1.5) -> Request | None:
    """The one NOTIFY that comes within this time, answered at once; None where none does."""
    found: list[Request] = []
    for _ in range(round(seconds * 10)):
        for _, message in wire.wait(0.1):
            if isinstance(message, Request) and message.method == "NOTIFY":
                found.append(message)
                wire.receive(answer(message, 200))
    assert len(found) <= 1, found
    return found[0] if found else None


def dialogs(notify: Request | None) -> list[tuple[str, str, str]]:
    """Direction, state and remote party of each dialog in a NOTIFY."""
    assert notify is not None
    root = ElementTree.fromstring(notify.body)  # noqa: S314 - our own document
    space = "{urn:ietf:params:xml:ns:dialog-info}"
    return [
        (
            each.get("direction") or "",
            each.findtext(f"{space}state") or "",
            each.findtext(f"{space}remote/{space}identity") or "",
        )
        for each in root.findall(f"{space}dialog")
    ]


def basic(notify: Request | None) -> tuple[str, str]:
    """Basic status and note of a presence document."""
    assert notify is not None
    root = ElementTree.fromstring(notify.body)  # noqa: S314 - our own document
    space = "{urn:ietf:params:xml:ns:pidf}"
    tuple_ = f"{space}tuple/"
    return root.findtext(f"{tuple_}{space}status/{space}basic") or "", root.findtext(f"{tuple_}{space}note") or ""


def bind_alice(wire: Wire, expires_at: float = 9000.0) -> Binding:
    contact = parse_sip_uri("sip:alice@192.0.2.44:5060")
    binding = Binding(ALICE, contact, PHONE, expires_at, 1.0, "c", 1)
    wire.core.location.replace(ALICE, [binding])
    wire.core.watch_location(wire.now)
    wire.core.tell(ALICE)
    return binding


def ring_alice(wire: Wire) -> Request:
    wire.core.invite(
        parse_sip_uri("sip:alice@192.0.2.44:5060"),
        destinations=[PHONE],
        from_=NameAddr(parse_sip_uri("sip:carol@example.org")),
        to=NameAddr(parse_sip_uri("sip:alice@example.org")),
        body=b"offer",
        headers=(),
        credentials=None,
        max_forwards=70,
        aor=ALICE,
        now=wire.now,
    )
    sent = [message for message in wire.sent() if isinstance(message, Request) and message.method == "INVITE"]
    return sent[0]


def test_a_subscription_is_accepted_and_the_state_told_at_once() -> None:
    wire = house()
    accepted, notify = begun(wire, "presence;id=7")
    assert accepted.headers.get("Expires") == "600"
    assert "Contact" in accepted.headers
    assert accepted.to.tag
    assert (notify.method, notify.uri_text) == ("NOTIFY", "sip:bob@192.0.2.9:5070")
    assert notify.headers.get("Event") == "presence;id=7"
    assert notify.headers.get("Subscription-State") == "active;expires=600"
    assert notify.content_type == "application/pidf+xml"
    assert "Contact" in notify.headers
    assert notify.from_.tag == accepted.to.tag
    assert basic(notify) == ("closed", "")
    assert 'entity="sip:alice@example.org"' in notify.body.decode()


def test_presence_follows_the_registration_and_the_call_at_most_every_five_seconds() -> None:
    wire = house()
    begun(wire, "presence")
    bind_alice(wire)
    assert notified(wire, 4.5) is None
    assert basic(notified(wire, 1.0)) == ("open", "")
    ok = answer(ring_alice(wire), 200)
    wire.receive(ok, PHONE)
    assert basic(notified(wire, 6.0)) == ("open", "On the phone")
    wire.core.location.replace(ALICE, [])
    wire.core.tell(ALICE)
    assert basic(notified(wire, 6.0))[0] == "closed"
    wire.core.tell(ALICE)  # nothing that could be seen
    assert notified(wire, 6.0) is None


def test_dialogs_are_told_from_the_first_ring_to_the_end() -> None:
    wire = house()
    bind_alice(wire)
    _, first = begun(wire)
    assert dialogs(first) == []
    invite = ring_alice(wire)
    assert dialogs(notified(wire)) == [("recipient", "trying", "sip:carol@example.org")]
    wire.receive(answer(invite, 180), PHONE)
    assert dialogs(notified(wire)) == [("recipient", "early", "sip:carol@example.org")]
    wire.receive(answer(invite, 200), PHONE)
    assert dialogs(notified(wire)) == [("recipient", "confirmed", "sip:carol@example.org")]
    bye = request("BYE", to_tag=invite.from_.tag, from_tag="their-tag", call_id=invite.call_id, body="", cseq=9)
    wire.receive(bye, PHONE)
    last = notified(wire)
    assert dialogs(last) == [("recipient", "terminated", "sip:carol@example.org")]
    assert last is not None
    assert [int(n) for n in re.findall(r'version="(\d+)"', last.body.decode())] == [4]


def test_an_agent_on_a_page_is_there_and_in_a_call_beside_the_phones() -> None:
    wire = house()
    _, first = begun(wire, "presence", call_id="there")
    begun(wire, "dialog", call_id="talks")
    assert b"<basic>closed</basic>" in first.body
    talking = UserDialog("page", "recipient", "confirmed", "sip:+4930555@example.org")
    wire.core.watched.show_user(ALICE, UserState(True, (talking,)))
    bodies = {}
    for _ in range(60):
        for _, message in wire.wait(0.1):
            assert isinstance(message, Request)
            bodies[message.call_id] = message
            wire.receive(answer(message, 200))
    assert b"<basic>open</basic>" in bodies["there"].body
    assert b"On the phone" in bodies["there"].body
    assert dialogs(bodies["talks"]) == [("recipient", "confirmed", "sip:+4930555@example.org")]
    wire.core.watched.show_user("alice@192.0.2.1", UserState(False))
    assert wire.core.watched.user_state(ALICE, wire.now) == UserState(False)


def test_who_calls_is_the_initiator() -> None:
    wire = house()
    begun(wire, uri="sip:bob@192.0.2.1", user="alice")
    (challenge,) = wire.receive(request(branch="z9hG4bKi1"))
    assert isinstance(challenge, Response)
    params = parse_digest(challenge.headers.all("WWW-Authenticate")[0])
    assert params is not None
    proof = answer_challenge(params, Credentials("bob", PASSWORDS["bob"]), method="INVITE", uri="sip:alice@192.0.2.1")
    wire.receive(request(branch="z9hG4bKi2", cseq=2, extra=f"Authorization: {proof}\n"))
    assert dialogs(notified(wire)) == [("initiator", "trying", "sip:alice@example.org")]


def test_one_notification_at_a_time_and_what_changes_meanwhile_follows() -> None:
    wire = house()
    bind_alice(wire)
    _accepted, notify = subscribe(wire)
    invite = ring_alice(wire)
    wire.receive(answer(invite, 180), PHONE)
    others = [each for _, each in wire.wait(1.2) if isinstance(each, Request) and each.method == "NOTIFY"]
    assert {each.cseq for each in others} <= {notify.cseq}  # repeated, nothing new  # type: ignore[union-attr]
    wire.receive(answer(notify, 200))  # type: ignore[arg-type]
    assert dialogs(notified(wire)) == [("recipient", "early", "sip:carol@example.org")]


def test_it_ends_in_time_by_wish_and_when_nobody_takes_its_notifications() -> None:
    wire = house()
    accepted, _ = begun(wire, expires=60)
    assert len(wire.core.notifier) == 1
    last = notified(wire, 61)
    assert last is not None
    assert last.headers.get("Subscription-State") == "terminated;reason=timeout"
    assert len(wire.core.notifier) == 0

    accepted, _ = begun(wire, call_id="second")
    assert accepted.to.tag
    gone = subscribe_text(expires=0, cseq=3, call_id="second", to_tag=accepted.to.tag)
    done, last = wire.receive(gone)
    assert isinstance(done, Response)
    assert isinstance(last, Request)
    assert (done.code, done.headers.get("Expires")) == (200, "0")
    assert last.headers.get("Subscription-State") == "terminated;reason=timeout"
    wire.receive(answer(last, 200))
    assert len(wire.core.notifier) == 0

    _accepted, notify = subscribe(wire, call_id="third")
    wire.receive(answer(notify, 481))  # type: ignore[arg-type]
    assert len(wire.core.notifier) == 0
    subscribe(wire, call_id="fourth")
    wire.wait(40)  # never answered
    assert len(wire.core.notifier) == 0


def test_to_ask_once_is_to_be_told_once() -> None:
    wire = house()
    _done, notify = subscribe(wire, expires=0)
    assert isinstance(notify, Request)
    assert notify.headers.get("Subscription-State") == "terminated;reason=timeout"
    assert dialogs(notify) == []
    wire.receive(answer(notify, 200))
    assert len(wire.core.notifier) == 0


def test_a_refresh_prolongs_and_tells_the_whole_state() -> None:
    wire = house()
    accepted, _ = begun(wire, expires=60)
    wire.wait(50)
    done, notify = wire.receive(subscribe_text(expires=120, cseq=3, to_tag=accepted.to.tag))
    assert isinstance(done, Response)
    assert isinstance(notify, Request)
    assert done.code == 200
    assert notify.headers.get("Subscription-State") == "active;expires=120"
    wire.receive(answer(notify, 200))
    assert notified(wire, 100) is None
    (old,) = wire.receive(subscribe_text(expires=120, cseq=2, to_tag=accepted.to.tag, branch="old"))
    assert isinstance(old, Response)
    assert old.code == 500
    (other,) = wire.receive(subscribe_text("presence", cseq=9, to_tag=accepted.to.tag))
    assert isinstance(other, Response)
    assert other.code == 489
    (unknown,) = wire.receive(subscribe_text(cseq=10, to_tag="guessed"))
    assert isinstance(unknown, Response)
    assert unknown.code == 481


@pytest.mark.parametrize(
    ("event", "more", "code", "header"),
    [
        ("dialog", {"expires": 5}, 423, ("Min-Expires", "60")),
        ("reg", {}, 489, ("Allow-Events", "conference, dialog, presence")),
        ("", {}, 489, ("Allow-Events", "conference, dialog, presence")),
        ("dialog", {"extra": "Accept: application/pidf+xml\n"}, 406, None),
        ("dialog", {"uri": "sip:nobody@192.0.2.1"}, 404, None),
        ("dialog", {"uri": "sip:alice@elsewhere.test"}, 404, None),
        ("dialog", {"uri": "sip:192.0.2.1"}, 404, None),
    ],
)
def test_what_cannot_be_is_refused_by_name(
    event: str, more: dict[str, object], code: int, header: tuple[str, str] | None
) -> None:
    wire = house()
    (refused,) = subscribe(wire, event, **more)  # type: ignore[arg-type]
    assert isinstance(refused, Response)
    assert refused.code == code
    if header is not None:
        assert refused.headers.get(header[0]) == header[1]
    assert len(wire.core.notifier) == 0


def test_nobody_watches_without_a_password_a_trunk_neither() -> None:
    wire = Wire()
    (challenge,) = wire.receive(subscribe_text())
    assert isinstance(challenge, Response)
    assert challenge.code == 401


def test_subscriptions_are_bounded_by_user_and_in_all() -> None:
    wire = house(subscriptions_per_user=2, subscriptions=3)
    for number in range(2):
        begun(wire, call_id=f"w{number}")
    (refused,) = subscribe(wire, call_id="w3")
    assert isinstance(refused, Response)
    assert refused.code == 403
    begun(wire, call_id="w4", user="alice")
    (refused,) = subscribe(wire, call_id="w5", user="alice")
    assert isinstance(refused, Response)
    assert (refused.code, refused.headers.get("Retry-After")) == (503, "30")
    assert wire.counts.table["sip.dropped.subscriptions_user"] == 1
    assert wire.counts.table["sip.dropped.subscriptions_full"] == 1
    assert wire.counts.table["sip.subscriptions.dialog"] == 3


def test_a_longest_life_and_a_usual_one() -> None:
    wire = house()
    accepted, _ = begun(wire, expires=1_000_000)
    assert accepted.headers.get("Expires") == "7200"
    accepted, _ = begun(wire, expires=None, call_id="usual")
    assert accepted.headers.get("Expires") == "3600"


def test_who_is_watched_no_more_and_a_server_that_stops_say_so() -> None:
    wire = house()
    begun(wire)
    begun(wire, call_id="other", uri="sip:bob@192.0.2.1", user="alice")
    wire.core.notifier.keep_users({"alice", "bob"}.__contains__, wire.now)
    assert wire.sent() == []
    wire.core.notifier.keep_users({"bob"}.__contains__, wire.now)
    (gone, rejected) = wire.sent()
    assert isinstance(gone, Request)
    assert gone.headers.get("Subscription-State") == "terminated;reason=noresource"
    assert isinstance(rejected, Request)
    assert rejected.headers.get("Subscription-State") == "terminated;reason=rejected"
    for notify in (gone, rejected):
        wire.receive(answer(notify, 200))
    begun(wire, call_id="third", uri="sip:bob@192.0.2.1")
    wire.core.notifier.end_all(wire.now)
    (stopped,) = wire.sent()
    assert isinstance(stopped, Request)
    assert stopped.headers.get("Subscription-State") == "terminated;reason=deactivated"
    wire.receive(answer(stopped, 200))
    assert len(wire.core.notifier) == 0


def names(notify: Request | None) -> list[dict[str, str | None]]:
    """By which each dialog in a NOTIFY is known."""
    assert notify is not None
    root = ElementTree.fromstring(notify.body)  # noqa: S314 - our own document
    found = root.findall("{urn:ietf:params:xml:ns:dialog-info}dialog")
    return [{name: each.get(name) for name in ("call-id", "local-tag", "remote-tag")} for each in found]


@pytest.mark.parametrize("may", [True, False])
def test_how_a_ringing_call_is_named_is_told_to_those_alone_who_may_name_it(may: bool) -> None:
    wire = house()
    wire.core.watched.may_name = lambda user, owner: may and (user, owner) == ("bob", "alice")
    begun(wire)
    machine, invite = wire.call(flow=PHONE)
    machine.aor = ALICE
    wire.receive(answer(invite, 180, tag="alices-phone"), PHONE)
    (said,) = names(notified(wire, 2.5))
    if not may:
        assert set(said.values()) == {None}
        return
    assert said == {"call-id": machine.call_id, "local-tag": "alices-phone", "remote-tag": machine.local_tag}
    # RFC 3891 §3 from those: to-tag is that of whoever gets the INVITE, from-tag that of its peer.
    assert wire.core.find_named(DialogName(machine.call_id, machine.local_tag, "alices-phone")) is machine
