"""Join (RFC 3911): which dialog it names, and the requests in which it must not be."""

from __future__ import annotations

import pytest

from mediaserver.sip.dialog_name import DialogName
from mediaserver.sip.errors import SipParseError
from mediaserver.sip.headers import Headers
from mediaserver.sip.join import join_of
from mediaserver.sip.message import Response
from tests.sip.test_referrals import established
from tests.sip.wire import Wire, request

NAME = "abc@host;to-tag=ours;from-tag=theirs"


def headers(*fields: tuple[str, str]) -> Headers:
    found = Headers()
    for name, value in fields:
        found.add(name, value)
    return found


def test_a_join_names_a_dialog_by_three_parts() -> None:
    assert join_of(headers(("Join", NAME))) == DialogName("abc@host", "ours", "theirs")
    assert join_of(headers(("join", "abc@host ;from-tag=theirs;x=y;to-tag=ours"))) == DialogName(
        "abc@host", "ours", "theirs"
    )
    assert join_of(headers(("Subject", NAME))) is None


@pytest.mark.parametrize(
    "fields",
    [
        [("Join", NAME), ("Join", NAME)],
        [("Join", f"{NAME}, {NAME}")],
        [("Join", NAME), ("Replaces", NAME)],
        [("Join", "abc@host;to-tag=ours")],
        [("Join", ";to-tag=ours;from-tag=theirs")],
        [("Join", "a b;to-tag=ours;from-tag=theirs")],
        [("Join", "abc@host;to-tag=;from-tag=theirs")],
    ],
)
def test_a_join_that_says_nothing_or_too_much_is_refused(fields: list[tuple[str, str]]) -> None:
    with pytest.raises(SipParseError) as refused:
        join_of(headers(*fields))
    assert refused.value.status == 400


def test_a_dialog_is_found_by_all_three_parts() -> None:
    wire = Wire()
    machine, _ = established(wire)
    name = DialogName(machine.call_id, machine.local_tag, "their-tag")
    assert wire.core.find_named(name) is machine
    for wrong in (
        DialogName("other", name.to_tag, name.from_tag),
        DialogName(name.call_id, "guessed", name.from_tag),
        DialogName(name.call_id, name.to_tag, "guessed"),
    ):
        assert wire.core.find_named(wrong) is None


@pytest.mark.parametrize("method", ["OPTIONS", "MESSAGE", "REGISTER", "SUBSCRIBE"])
def test_a_join_is_for_invites_alone(method: str) -> None:
    (response,) = Wire().receive(request(method, extra=f"Join: {NAME}\n"))
    assert isinstance(response, Response)
    assert response.code == 400


def test_an_invite_may_require_that_join_is_known() -> None:
    wire = Wire()
    wire.receive(request("INVITE", extra=f"Require: join\nJoin: {NAME}\n"))
    (new,) = wire.new
    assert join_of(new.request.headers) == DialogName("abc@host", "ours", "theirs")
    (options,) = wire.receive(request("OPTIONS", branch="z9hG4bKo", call_id="o"))
    assert "join" in (options.headers.get("Supported") or "").split(", ")
