"""What Core and Edge say to each other when a link comes up, goes on and comes back."""

from __future__ import annotations

import msgspec
import pytest

from mediaserver.link.messages import (
    REVOCATIONS_PER_MESSAGE,
    BringElsewhere,
    CoreHello,
    Drain,
    EdgeHello,
    Revocation,
    SetKeys,
    dump,
    media_key,
)
from tests.link.fakes import KEY, NEW_KEY, PUBLIC, WEB, Pair


def test_an_edge_is_ready_once_it_has_answered_and_has_the_keys() -> None:
    pair = Pair()
    assert not pair.core.is_ready
    pair.connect()
    assert pair.core.is_ready
    assert pair.core.reason == ""
    assert pair.core.addresses == (PUBLIC, WEB)
    assert pair.edge.core_id == 3
    assert pair.sink.keys == [SetKeys(tokens=(KEY,), media=pair.media_keys[-1])]


def test_an_edge_has_the_secrets_of_its_cores_credentials_and_shows_none_of_them() -> None:
    pair = Pair(turn_secrets=(b"t" * 32, b"u" * 32))
    pair.connect()
    (keys,) = pair.sink.keys
    assert keys.turn == (b"t" * 32, b"u" * 32)
    assert "ttt" not in repr(keys)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(
            {"type": "set_keys", "tokens": keys.tokens, "media": keys.media, "turn": [b"t" * 32] * 3}, SetKeys
        )


def test_an_edge_that_comes_up_is_told_the_ended_sessions() -> None:
    pair = Pair()
    pair.revoked = [Revocation(session=9, expires_minute=1)]
    pair.connect()
    assert pair.sink.revoked == pair.revoked


def test_every_core_has_a_media_secret_that_outlives_the_connection() -> None:
    pair, other = Pair(), Pair()
    other.connect()
    pair.connect()
    pair.cut()
    pair.new_edge("second")
    pair.connect()
    assert len(pair.media_keys) == 2
    assert len(set(pair.media_keys)) == 1
    assert [keys.media for keys in pair.sink.keys] == pair.media_keys
    assert other.media_keys[0] not in pair.media_keys


def test_rotated_keys_reach_an_edge_that_is_there_and_one_that_comes_later() -> None:
    there, later = Pair(), Pair()
    there.connect()
    for pair in (there, later):
        pair.core.set_keys((KEY, NEW_KEY), (b"u" * 32, b"t" * 32))
    there.carry()
    later.connect()
    assert there.sink.keys[-1].tokens == later.sink.keys[-1].tokens == (KEY, NEW_KEY)
    assert there.sink.keys[-1].turn == later.sink.keys[-1].turn == (b"u" * 32, b"t" * 32)


def test_sessions_that_end_are_revoked_at_once() -> None:
    pair = Pair()
    pair.connect()
    ended = [Revocation(session=number, expires_minute=5) for number in range(2500)]
    pair.core.revoke(ended)
    assert pair.core_wire.kinds() == ["Revoke"] * 3
    pair.carry()
    assert pair.sink.revoked == ended


def test_nothing_is_sent_to_an_edge_that_is_away() -> None:
    pair = Pair()
    pair.core.revoke([Revocation(session=1, expires_minute=5)])
    pair.core.set_keys((NEW_KEY,), ())
    pair.edge.drain(5.0)
    pair.edge.set_addresses((PUBLIC,))
    assert pair.core_wire.sent == pair.edge_wire.sent == []


def test_an_edge_that_drains_says_so_now_and_after_the_line_was_lost() -> None:
    pair = Pair()
    pair.connect()
    pair.edge.drain(30.0)
    pair.carry()
    assert pair.core.drain_deadline_s == 30.0
    pair.cut()
    pair.connect()
    assert pair.core.drain_deadline_s == 30.0
    pair.edge.drain(None)
    pair.carry()
    assert not pair.core.is_draining


def test_new_addresses_reach_the_core() -> None:
    pair = Pair()
    pair.connect()
    pair.edge.set_addresses((WEB,))
    pair.carry()
    assert pair.core.addresses == (WEB,)


def test_an_edge_that_is_lost_keeps_its_addresses_and_says_why() -> None:
    pair = Pair()
    pair.connect()
    pair.cut("no sign of life from the other end for 2 s")
    assert not pair.core.is_ready
    assert pair.core.reason == "no sign of life from the other end for 2 s"
    assert pair.core.addresses == (PUBLIC, WEB)
    assert pair.changes[-1] is False


def test_an_edge_without_a_common_version_never_becomes_ready() -> None:
    pair = Pair()
    pair.edge.handle_up()
    pair.edge.handle_message(dump(CoreHello(versions=(99,), core_id=3, shards=1, software="future")))
    assert pair.edge.core_id is None
    assert "99" in pair.edge.reason
    pair.core.handle_up()
    pair.core_wire.take()
    pair.carry()
    assert not pair.core.is_ready
    assert "no version" in pair.core.reason
    assert pair.core_wire.sent == []


def test_a_core_cannot_take_the_id_of_another() -> None:
    pair = Pair()
    pair.edge.handle_up()
    pair.edge.handle_message(dump(CoreHello(versions=(1,), core_id=4, shards=1, software="test")))
    pair.edge.handle_message(dump(SetKeys(tokens=(KEY,), media=b"m" * 32)))
    assert pair.edge.core_id is None
    assert pair.edge.reason == "the Core claims core id 4, which is not its own"
    assert pair.sink.keys == []
    assert pair.edge_wire.sent == []


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xc1",
        b"\x81" * 10_000,
        msgspec.msgpack.encode({"type": "nothing"}),
        msgspec.msgpack.encode({"type": "core_hello", "versions": [1], "core_id": 1 << 16, "software": ""}),
        msgspec.msgpack.encode({"type": "set_keys", "tokens": [{"id": 1, "secret": b"short"}], "media": b"m" * 32}),
        msgspec.msgpack.encode({"type": "drain", "deadline_s": 1.0, "more": 1}),
        msgspec.msgpack.encode({"type": "drain", "deadline_s": float("nan")}),
        dump(Drain(deadline_s=1.0)),
    ],
)
def test_what_cannot_be_read_or_comes_too_early_is_counted_and_changes_nothing(payload: bytes) -> None:
    pair = Pair()
    pair.core.handle_up()
    pair.edge.handle_up()
    pair.core.handle_message(payload)
    pair.edge.handle_message(payload)
    assert (pair.core.unreadable, pair.edge.unreadable) == (1, 1)
    assert not pair.core.is_ready
    assert pair.edge.core_id is None
    pair.carry()
    assert pair.core.is_ready


def test_messages_of_the_wrong_direction_are_refused() -> None:
    pair = Pair()
    pair.connect()
    keys = SetKeys(tokens=(KEY,), media=b"m" * 32)
    pair.core.handle_message(dump(keys))
    pair.edge.handle_message(dump(EdgeHello(version=1, name="e", software="", instance="i")))
    assert (pair.core.unreadable, pair.edge.unreadable) == (1, 1)


def test_no_secret_is_printed() -> None:
    keys = SetKeys(tokens=(KEY,), media=b"m" * 32)
    assert "kkkk" not in repr(keys)
    assert "mmmm" not in repr(keys)


def test_the_longest_messages_fit_into_the_link() -> None:
    pair = Pair()
    pair.revoked = [Revocation(session=(1 << 63) - 1, expires_minute=(1 << 24) - 1)] * REVOCATIONS_PER_MESSAGE
    pair.connect()
    assert len(pair.sink.revoked) == REVOCATIONS_PER_MESSAGE


def test_each_pair_of_threads_has_a_key_of_its_own() -> None:
    secret = b"s" * 32
    keys = {media_key(secret, worker=worker, shard=shard) for worker in range(3) for shard in range(3)}
    assert (len(keys), {len(key) for key in keys}) == (9, {32})


def test_an_edge_that_ends_tls_unasked_is_not_used() -> None:
    pair = Pair(terminated=("video.bank.example",))
    pair.connect()
    assert not pair.core.is_ready
    assert "video.bank.example itself: trust it by link.edges.dmz-1.tls: terminate" in pair.core.reason
    assert pair.sink.keys == []


def test_an_edge_that_may_end_tls_says_for_which_names_it_does() -> None:
    pair = Pair(terminated=("video.bank.example",), may_end_tls=True)
    pair.connect()
    assert pair.core.is_ready
    assert pair.core.terminated == ("video.bank.example",)
    plain = Pair(may_end_tls=True)
    plain.connect()
    assert plain.core.terminated == ()


def test_an_edge_knows_whether_a_core_drains_also_when_it_comes_later_itself() -> None:
    pair = Pair()
    pair.connect()
    assert not pair.edge.is_draining
    pair.core.drain(30.0)
    pair.carry()
    assert pair.edge.is_draining
    pair.cut()
    pair.new_edge("second")
    pair.connect()
    assert pair.edge.is_draining
    # The Core itself, started anew.
    other = Pair()
    pair.edge.handle_down("gone")
    other.edge = pair.edge
    other.core.handle_up()
    other.carry()
    assert not pair.edge.is_draining


def test_a_core_that_drains_while_the_edge_is_away_says_nothing_into_the_void() -> None:
    pair = Pair()
    pair.core.drain(30.0)
    assert pair.core_wire.sent == []
    pair.connect()
    assert pair.edge.is_draining


def test_a_core_says_that_a_visitor_is_anothers_while_the_edge_is_there() -> None:
    pair = Pair()
    pair.core.bring_elsewhere("203.0.113.7", 4)
    pair.connect()
    pair.core.bring_elsewhere("203.0.113.7", 4)
    pair.core.bring_elsewhere("2001:db8::7", None)
    pair.carry()
    assert [message for _, message in pair.sink.elsewhere] == [
        BringElsewhere(source="203.0.113.7", core_id=4),
        BringElsewhere(source="2001:db8::7", core_id=None),
    ]
    assert {core for core, _ in pair.sink.elsewhere} == {pair.edge.core_name}


def test_an_edge_has_no_say_in_where_visitors_go_at_a_core() -> None:
    pair = Pair()
    pair.connect()
    pair.core.handle_message(dump(BringElsewhere(source="203.0.113.7", core_id=None)))
    assert pair.core.unreadable == 1
