"""Session messages are strict, bounded, and say what is wrong with them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import TypeAdapter

from mediaserver.config.limits import MAX_ATTRIBUTE_BYTES, MAX_ATTRIBUTES
from mediaserver.errors import RemoteProtocolError
from mediaserver.webrtc import messages
from mediaserver.webrtc.messages import ServerMessage, dump, parse_client

CLIENT: list[dict[str, Any]] = [
    {
        "type": "hello",
        "version": 1,
        "role": "caller",
        "entry": "sales",
        "page": {"url": "https://x.test/", "title": ""},
    },
    {"type": "hello", "version": 1, "role": "agent", "token": "aaa.bbb.ccc", "resume": "r~1"},
    {"type": "offer", "id": 1, "sdp": "v=0\r\n"},
    {"type": "answer", "id": 0, "sdp": "v=0\r\n"},
    {"type": "candidate", "candidate": "", "mid": None},
    {"type": "consent", "camera": True, "text_version": "2026-11"},
    {"type": "mute", "audio": True, "video": False},
    {"type": "dtmf", "digits": "1234567890*#ABCDa,"},
    {"type": "accept", "call_id": "c-1"},
    {"type": "decline", "call_id": "c-1"},
    {"type": "call", "target": "sip:bob@example.test"},
    {"type": "hangup"},
    {"type": "ping"},
]
SERVER: list[messages.ServerMessage] = [
    messages.Welcome(session="s", resume="r", ice_servers=(messages.IceServer(urls=("turn:x",)),), title="Sales"),
    messages.Offer(id=1, sdp="v=0"),
    messages.Answer(id=1, sdp="v=0"),
    messages.State(state="connected", peer=messages.Peer(name="Bob"), video=messages.VideoPermission(may_send=False)),
    messages.Incoming(
        call_id="c", caller=messages.CallerInfo(name="<b>", verified=False), media=messages.MediaKinds(video=True)
    ),
    messages.Withdrawn(call_id="c", reason="taken"),
    messages.Ended(by="caller", reason="hangup", code=16),
    messages.Error(code="busy", message="Try again.", ref="1"),
    messages.Pong(),
]


@pytest.mark.parametrize("message", CLIENT, ids=lambda message: message["type"])
def test_every_client_message_is_read_and_written_back(message: dict[str, Any]) -> None:
    parsed = parse_client(json.dumps(message))
    assert parsed.type == message["type"]
    assert message.items() <= json.loads(dump(parsed)).items()


@pytest.mark.parametrize("message", SERVER, ids=lambda message: message.type)
def test_every_server_message_survives_the_wire(message: messages.ServerMessage) -> None:
    text = dump(message)
    assert "\n" not in text
    assert TypeAdapter(ServerMessage).validate_json(text) == message


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "JSON"),
        ("[]", "object"),
        ('"hello"', "object"),
        ("{}", "type"),
        ('{"type":"shout"}', "shout"),
        ('{"type":"hello","version":2,"role":"caller"}', "hello.version"),
        ('{"type":"hello","version":1,"role":"boss"}', "hello.role"),
        ('{"type":"hello","version":1,"role":"caller","extra":1}', "hello.extra"),
        ('{"type":"hello","version":1,"role":"caller","entry":"../x"}', "hello.entry"),
        ('{"type":"hello","version":1,"role":"caller","attributes":{"a":1}}', "hello.attributes.a"),
        ('{"type":"offer","id":"1","sdp":"v=0"}', "offer.id"),
        ('{"type":"offer","id":-1,"sdp":"v=0"}', "offer.id"),
        ('{"type":"offer","id":true,"sdp":"v=0"}', "offer.id"),
        ('{"type":"offer","id":1,"sdp":""}', "offer.sdp"),
        ('{"type":"mute","audio":1,"video":false}', "mute.audio"),
        ('{"type":"dtmf","digits":"1x"}', "dtmf.digits"),
        ('{"type":"call","target":"sip:a b"}', "call.target"),
        ('{"type":"welcome","session":"s","resume":"r"}', "welcome"),
    ],
)
def test_a_wrong_message_says_what_is_wrong(text: str, named: str) -> None:
    with pytest.raises(RemoteProtocolError, match=named.replace(".", r"\.")) as caught:
        parse_client(text)
    assert caught.value.status == 400


def test_values_are_not_repeated_in_an_error() -> None:
    secret = "very secret token!"
    with pytest.raises(RemoteProtocolError) as caught:
        parse_client(json.dumps({"type": "hello", "version": 1, "role": "agent", "token": secret}))
    assert secret not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"attributes": {f"a{n}": "x" for n in range(MAX_ATTRIBUTES + 1)}},
        {"attributes": {"a": "x" * (MAX_ATTRIBUTE_BYTES + 1)}},
        {"attributes": {"a" * 65: "x"}},
        {"page": {"url": "x" * 2049, "title": ""}},
        {"page": {"url": "x", "title": "x" * 257}},
        {"token": "x" * 4097},
    ],
)
def test_everything_a_page_says_is_bounded(change: dict[str, Any]) -> None:
    with pytest.raises(RemoteProtocolError):
        parse_client(json.dumps({"type": "hello", "version": 1, "role": "caller", **change}))


def test_an_oversize_message_is_refused_unread() -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        parse_client("x" * (messages.MAX_MESSAGE_CHARS + 1))
    assert caught.value.status == 413


def test_many_mistakes_make_a_short_text() -> None:
    attributes = {f"a{n}": n for n in range(30)}
    with pytest.raises(RemoteProtocolError, match="and 25 more"):
        parse_client(json.dumps({"type": "hello", "version": 1, "role": "caller", "attributes": attributes}))
