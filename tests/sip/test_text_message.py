"""Texts by MESSAGE (RFC 3428): in and outside of dialogs, what is taken, who may send, and how ours go out."""

from __future__ import annotations

import pytest

from mediaserver.errors import LimitExceeded, LocalProtocolError
from mediaserver.sip.credentials import Credentials
from mediaserver.sip.digest import answer_challenge, parse_digest
from mediaserver.sip.events import TextReceived
from mediaserver.sip.headers import NameAddr
from mediaserver.sip.invite_session import InviteMachine
from mediaserver.sip.message import Request, Response
from mediaserver.sip.standalone import OutsideRequest
from mediaserver.sip.text_message import MOST_BYTES
from mediaserver.sip.user_agent import IncomingText
from tests.sip.conftest import PASSWORDS, MakeEndpoint, party
from tests.sip.wire import Wire, answer, request

PLAIN = "Content-Type: text/plain;charset=UTF-8\n"


def message(
    body: str = "hello",
    *,
    kind: str = PLAIN,
    to_tag: str | None = None,
    extra: str = "",
    cseq: int = 2,
    branch: str = "",
) -> str:
    text = request(
        "MESSAGE", cseq=cseq, to_tag=to_tag, body=body, extra=extra + kind, branch=f"z9hG4bKm{branch or cseq}"
    )
    return text.replace("Content-Type: application/sdp\n", "").replace(
        f"Content-Length: {len(body.replace(chr(10), chr(13) + chr(10)))}",
        f"Content-Length: {len(body.replace(chr(10), chr(13) + chr(10)).encode())}",
    )


def answered(wire: Wire, *, record_route: str = "") -> InviteMachine:
    """A call of the peer's that we have answered."""
    machine = wire.invited(request(extra=record_route))
    machine.answer(b"answer", (), now=wire.now)
    wire.core.touch(machine)
    wire.sent()
    wire.receive(request("ACK", to_tag=machine.local_tag, body=""))
    wire.events.clear()
    return machine


def code(sent: list[Request | Response]) -> int:
    (response,) = sent
    assert isinstance(response, Response)
    return response.code


def test_a_text_in_a_call_is_taken_and_told() -> None:
    wire = Wire()
    machine = answered(wire)
    assert code(wire.receive(message("grüß dich ☺", to_tag=machine.local_tag))) == 200
    assert wire.events == [TextReceived("grüß dich ☺")]
    assert code(wire.receive(message("", kind="", to_tag=machine.local_tag, cseq=3))) == 200
    assert len(wire.events) == 1


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("Content-Type: text/html\n", "<b>hello</b>", 415),
        ("Content-Type: message/cpim\n", "hello", 415),
        ("Content-Type: text/plain;charset=iso-8859-1\n", "hello", 415),
        ("", "hello", 415),
        (PLAIN + "Content-Encoding: gzip\n", "hello", 415),
        (PLAIN, "x" * (MOST_BYTES + 1), 413),
    ],
)
def test_anything_but_a_short_plain_text_is_refused_and_what_would_do_is_named(
    kind: str, body: str, status: int
) -> None:
    wire = Wire()
    machine = answered(wire)
    (response,) = wire.receive(message(body, kind=kind, to_tag=machine.local_tag))
    assert isinstance(response, Response)
    assert response.code == status
    assert response.headers.get("Accept") == ("text/plain" if status == 415 else None)
    assert wire.events == []


def test_bytes_that_are_no_utf_8_are_refused() -> None:
    wire = Wire()
    machine = answered(wire)
    raw = message("hello", to_tag=machine.local_tag).replace("\n", "\r\n").encode().replace(b"hello", b"\xff\xfe\xfd12")
    assert code(wire.receive(raw)) == 400


def test_texts_of_one_call_are_bounded_both_ways() -> None:
    wire = Wire()
    machine = answered(wire)
    codes = [code(wire.receive(message(str(n), to_tag=machine.local_tag, cseq=2 + n))) for n in range(30)]
    assert codes == [200] * 20 + [503] * 10
    for _ in range(20):
        machine.send_text("hi", now=wire.now)
    with pytest.raises(LimitExceeded):
        machine.send_text("hi", now=wire.now)
    assert wire.counts.table["sip.dropped.text_rate"] == 11
    wire.now += 1
    machine.send_text("hi", now=wire.now)


def test_ours_goes_beside_the_dialog_and_what_becomes_of_it_is_not_the_calls_end() -> None:
    wire = Wire()
    machine = answered(wire)
    machine.send_text("grüß dich", now=wire.now)
    (sent,) = wire.sent()
    assert isinstance(sent, Request)
    assert (sent.method, sent.uri_text, sent.body.decode()) == ("MESSAGE", "sip:bob@192.0.2.9:5070", "grüß dich")
    assert sent.content_type == "text/plain"
    assert sent.call_id != machine.call_id
    assert sent.to.tag is None
    assert sent.from_.tag not in (None, machine.local_tag)
    assert "Contact" not in sent.headers
    wire.receive(answer(sent, 481))
    assert wire.events == []
    assert wire.core.sessions == 1
    machine.send_text("x" * 5000, now=wire.now)
    (long,) = wire.sent()
    assert len(long.body) == MOST_BYTES


def test_where_proxies_stand_between_ours_goes_inside_the_dialog() -> None:
    wire = Wire()
    machine = answered(wire, record_route="Record-Route: <sip:192.0.2.9:5080;lr>\n")
    machine.send_text("hi", now=wire.now)
    (sent,) = wire.sent()
    assert isinstance(sent, Request)
    assert sent.call_id == machine.call_id
    assert sent.headers.get("Route") == "<sip:192.0.2.9:5080;lr>"
    assert sent.to.tag == "their-tag"


def test_before_the_call_is_answered_nothing_can_be_sent() -> None:
    wire = Wire()
    machine = wire.invited(request())
    with pytest.raises(LocalProtocolError):
        machine.send_text("hi", now=wire.now)


def proven(
    wire: Wire, *, user: str = "bob", cseq: int = 1, extra: str = "", kind: str = PLAIN
) -> list[Request | Response]:
    """A text outside of dialogs with the right password of a user."""
    (challenge,) = wire.receive(message(cseq=cseq, kind=kind, branch=f"c{cseq}"))
    assert isinstance(challenge, Response)
    assert challenge.code == 401
    params = parse_digest(challenge.headers.all("WWW-Authenticate")[0])
    assert params is not None
    proof = answer_challenge(params, Credentials(user, PASSWORDS[user]), method="MESSAGE", uri="sip:alice@192.0.2.1")
    return wire.receive(message(cseq=cseq + 1, extra=f"Authorization: {proof}\n{extra}", kind=kind))


def test_outside_of_calls_only_users_write_and_only_as_themselves() -> None:
    wire = Wire(trunk=False)
    assert proven(wire) == []
    (told,) = wire.changed
    assert told.text == "hello"  # type: ignore[attr-defined]
    assert told.authenticated_user == "bob"  # type: ignore[attr-defined]
    assert code(proven(wire, user="alice", cseq=11)) == 403
    assert code(proven(wire, cseq=21, kind="Content-Type: text/html\n")) == 415


def test_outside_of_calls_texts_are_bounded_by_source_with_a_password_too() -> None:
    wire = Wire(trunk=False)
    for number in range(50):
        wire.receive(message(cseq=number + 1, extra="Authorization: Digest nonsense\n"))
    assert wire.counts.table["sip.dropped.source_rate"] >= 10


async def test_the_owner_says_what_a_text_is_answered_with(make_endpoint: MakeEndpoint) -> None:
    house, caller = await make_endpoint(), await make_endpoint()
    heard: list[IncomingText] = []
    codes = iter((200, 480))

    def take(text: IncomingText) -> int:
        heard.append(text)
        return next(codes)

    async def say() -> int:
        done = await caller.agent.request(
            OutsideRequest(
                "MESSAGE",
                house.uri("alice"),
                from_=party("bob"),
                to=NameAddr(house.uri("alice")),
                headers=(("Content-Type", "text/plain"),),
                credentials=Credentials("bob", PASSWORDS["bob"]),
                body=b"hello",
            ),
            targets=[house.target("udp")],
        )
        return done.code

    assert await say() == 404
    house.agent.on_text = take
    assert [await say(), await say()] == [200, 480]
    assert heard == [IncomingText("hello", "bob", None)] * 2
