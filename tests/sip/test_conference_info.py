"""The conference event package (RFC 4575): who may subscribe, what is told whole and what by its changes, and its end."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from mediaserver.sip.conference_info import ConferenceEndpoint, ConferenceState, ConferenceUser, trunk_watcher
from mediaserver.sip.message import Request, Response
from tests.sip.test_subscriptions import begun, house, notified, subscribe, subscribe_text
from tests.sip.wire import Wire, answer

CONF = "conf-17"
URI = f"sip:{CONF}@192.0.2.1"
SPACE = "{urn:ietf:params:xml:ns:conference-info}"


def user(name: str, *, status: str = "connected") -> ConferenceUser:
    endpoint = ConferenceEndpoint(f"sip:{name}-leg@example.org", status, ("audio",))  # type: ignore[arg-type]
    return ConferenceUser(f"sip:{name}@example.org", name.title(), (endpoint,))


def state(*names: str) -> ConferenceState:
    return ConferenceState(tuple(user(name) for name in names), frozenset(names))


def up(*names: str) -> Wire:
    wire = house()
    wire.core.watched.show_conference(CONF, state(*names), wire.now)
    return wire


def read(notify: Request | None) -> tuple[str, int, int, dict[str, str]]:
    """State, version, how many are there, and what is said of each: `full` or `deleted`."""
    assert notify is not None
    assert notify.content_type == "application/conference-info+xml"
    root = ElementTree.fromstring(notify.body)  # noqa: S314 - our own document
    users = root.find(f"{SPACE}users")
    assert users is not None
    assert users.get("state") == root.get("state")
    count = root.findtext(f"{SPACE}conference-state/{SPACE}user-count")
    said = {each.get("entity", ""): each.get("state", "") for each in users}
    return root.get("state", ""), int(root.get("version", "-1")), int(count or -1), said


def test_whoever_is_in_a_conference_is_told_everybody_at_first() -> None:
    wire = up("bob", "alice")
    accepted, notify = begun(wire, "conference", uri=URI)
    assert "conference" in (accepted.headers.get("Allow-Events") or "")
    assert read(notify) == ("full", 0, 2, {"sip:bob@example.org": "full", "sip:alice@example.org": "full"})
    root = ElementTree.fromstring(notify.body)  # noqa: S314 - our own document
    assert root.get("entity") == f"sip:{CONF}@example.org"
    bob = root.find(f"{SPACE}users/{SPACE}user")
    assert bob is not None
    assert bob.findtext(f"{SPACE}display-text") == "Bob"
    assert bob.findtext(f"{SPACE}endpoint/{SPACE}status") == "connected"
    assert bob.findtext(f"{SPACE}endpoint/{SPACE}media/{SPACE}type") == "audio"


def test_what_changes_then_is_told_alone_and_not_more_often_than_every_five_seconds() -> None:
    wire = up("bob", "alice")
    begun(wire, "conference", uri=URI)
    wire.core.watched.show_conference(CONF, state("bob", "alice", "carol"), wire.now)
    assert notified(wire, 4.5) is None
    wire.core.watched.show_conference(
        CONF, ConferenceState((user("bob", status="on-hold"), user("carol")), frozenset({"bob"})), 0
    )
    assert read(notified(wire, 1.0)) == (
        "partial",
        1,
        2,
        {"sip:bob@example.org": "full", "sip:carol@example.org": "full", "sip:alice@example.org": "deleted"},
    )


def test_a_refresh_asks_for_the_full_state() -> None:
    wire = up("bob", "alice")
    accepted, _ = begun(wire, "conference", uri=URI)
    again = subscribe_text("conference", cseq=3, to_tag=accepted.to.tag, uri=URI)
    _, notify = wire.receive(again)
    assert isinstance(notify, Request)
    assert read(notify)[:3] == ("full", 1, 2)


@pytest.mark.parametrize(("uri", "code"), [(URI, 403), ("sip:conf-18@192.0.2.1", 404)])
def test_who_is_in_a_conference_is_for_those_who_are(uri: str, code: int) -> None:
    wire = up("alice")
    (refused,) = subscribe(wire, "conference", uri=uri)
    assert isinstance(refused, Response)
    assert refused.code == code


def test_a_conference_is_no_user_whose_presence_could_be_watched() -> None:
    (refused,) = subscribe(up("bob"), "presence", uri=URI)
    assert isinstance(refused, Response)
    assert refused.code == 404


def test_whoever_has_left_is_told_no_more() -> None:
    wire = up("bob", "alice")
    begun(wire, "conference", uri=URI)
    wire.core.watched.show_conference(CONF, state("alice", "carol"), wire.now)
    (last,) = wire.sent()
    assert isinstance(last, Request)
    assert last.headers.get("Subscription-State") == "terminated;reason=rejected"


def test_the_end_of_a_conference_ends_its_subscriptions_and_a_reload_does_not() -> None:
    wire = up("bob", "alice")
    begun(wire, "conference", uri=URI)
    wire.core.notifier.keep_users(lambda name: name in ("bob", "alice"), wire.now)
    assert wire.sent() == []
    wire.core.watched.show_conference(CONF, None, wire.now)
    (last,) = wire.sent()
    assert isinstance(last, Request)
    assert last.headers.get("Subscription-State") == "terminated;reason=noresource"
    assert read(last)[2] == 0
    assert wire.core.watched.conferences == {}
    (gone,) = subscribe(wire, "conference", uri=URI, call_id="again")
    assert isinstance(gone, Response)
    assert gone.code == 404


def with_trunk(*watchers: str) -> Wire:
    """A conference, and a call manager at the trunk's address."""
    wire = Wire()
    wire.core.watched.show_conference(CONF, ConferenceState((user("bob"),), frozenset(watchers)), wire.now)
    return wire


def test_a_trunk_with_a_leg_in_a_conference_is_told_who_is_there_as_everybody_in_it() -> None:
    wire = with_trunk("bob", trunk_watcher("peer"))
    accepted, notify = wire.receive(subscribe_text("conference", uri=URI))
    assert isinstance(accepted, Response)
    assert isinstance(notify, Request)
    assert accepted.code == 200
    assert read(notify) == ("full", 0, 1, {"sip:bob@example.org": "full"})
    wire.receive(answer(notify, 200))
    wire.core.watched.show_conference(CONF, state("bob"), wire.now)  # its leg is gone
    (last,) = wire.sent()
    assert last.headers.get("Subscription-State") == "terminated;reason=rejected"


def test_a_trunk_without_a_leg_in_it_is_asked_who_it_is() -> None:
    wire = with_trunk("bob", trunk_watcher("another"))
    (challenge,) = wire.receive(subscribe_text("conference", uri=URI))
    assert isinstance(challenge, Response)
    assert challenge.code == 401


@pytest.mark.parametrize(("event", "code"), [("presence", 403), ("dialog", 403), ("weather", 489)])
def test_a_trunk_watches_nothing_else(event: str, code: int) -> None:
    wire = with_trunk(trunk_watcher("peer"))
    (refused,) = wire.receive(subscribe_text(event, uri=URI))
    assert isinstance(refused, Response)
    assert refused.code == code


def test_a_trunk_that_is_gone_from_the_configuration_watches_no_more() -> None:
    wire = with_trunk("bob", trunk_watcher("peer"))
    _, notify = wire.receive(subscribe_text("conference", uri=URI))
    assert isinstance(notify, Request)
    wire.receive(answer(notify, 200))
    wire.core.notifier.keep_users({"bob", trunk_watcher("peer")}.__contains__, wire.now)
    assert wire.sent() == []
    wire.core.notifier.keep_users({"bob"}.__contains__, wire.now)
    (last,) = wire.sent()
    assert last.headers.get("Subscription-State") == "terminated;reason=rejected"
