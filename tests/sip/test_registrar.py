"""The registrar: bindings, bounds of time and number, order, flows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mediaserver.errors import RemoteProtocolError
from mediaserver.sip.config import MessageLimits
from mediaserver.sip.location import Location
from mediaserver.sip.message import Request
from mediaserver.sip.parser import parse_datagram
from mediaserver.sip.registrar import Registered, Registrar
from tests.sip.wire import PEER, Wire, request

AOR = "bob@example.org"


class Desk:
    """A registrar with its table; `register` takes Contact values as text."""

    def __init__(self) -> None:
        wire = Wire()
        self.location = Location(bindings_per_aor=3, aors=2)
        self.registrar = Registrar(config=wire.config, location=self.location)
        self.now = 0.0
        self.cseq = 0
        self.flow = PEER

    def register(
        self, *contacts: str, expires: str | None = None, cseq: int | None = None, call_id: str = "c", aor: str = AOR
    ) -> Registered:
        self.cseq += 1
        text = request("REGISTER", cseq=cseq or self.cseq, call_id=call_id, body="")
        lines = [line for line in text.split("\n") if not line.startswith("Contact")]
        lines[1:1] = [f"Contact: {contact}" for contact in contacts]
        if expires is not None:
            lines.insert(1, f"Expires: {expires}")
        message = parse_datagram("\r\n".join(lines).encode(), MessageLimits())
        assert isinstance(message, Request)
        return self.registrar.register(message, aor, self.flow, self.now)

    def contacts(self) -> list[str]:
        return [str(binding.contact) for binding in self.location.lookup(AOR, self.now)]


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_several_bindings_come_back_in_q_order(desk: Desk) -> None:
    done = desk.register("<sip:a@h>;q=0.2", "<sip:b@h>;q=0.9;expires=600")
    assert desk.contacts() == ["sip:b@h", "sip:a@h"]
    assert [value for _, value in done.headers] == ["<sip:b@h>;q=0.9;expires=600", "<sip:a@h>;q=0.2;expires=3600"]
    assert done.changed


def test_refresh_keeps_one_binding_and_is_no_change(desk: Desk) -> None:
    desk.register("<sip:a@h;x=1>")
    assert not desk.register("<sip:a@h;x=1>").changed
    desk.register("<sip:%61@h;x=1>")
    assert len(desk.contacts()) == 1


def test_binding_runs_out(desk: Desk) -> None:
    desk.register("<sip:a@h>;expires=60")
    desk.now = 60.5
    assert desk.contacts() == []
    assert desk.location.expire(desk.now) == [AOR]
    assert len(desk.location) == 0


@pytest.mark.parametrize(("asked", "granted"), [("60", 60), ("99999999999", 3600), ("7201", 7200), ("soon", 3600)])
def test_expiry_is_bounded(desk: Desk, asked: str, granted: int) -> None:
    done = desk.register("<sip:a@h>", expires=asked)
    assert done.headers == (("Contact", f"<sip:a@h>;expires={granted}"),)


def test_too_brief_is_423_and_changes_nothing(desk: Desk) -> None:
    desk.register("<sip:a@h>")
    with pytest.raises(RemoteProtocolError) as caught:
        desk.register("<sip:b@h>", "<sip:a@h>;expires=5")
    assert caught.value.status == 423
    assert desk.contacts() == ["sip:a@h"]


def test_star_removes_all_and_needs_expires_0(desk: Desk) -> None:
    desk.register("<sip:a@h>", "<sip:b@h>")
    with pytest.raises(RemoteProtocolError):
        desk.register("*", expires="10")
    with pytest.raises(RemoteProtocolError):
        desk.register("*", "<sip:a@h>", expires="0")
    assert desk.register("*", expires="0").changed
    assert desk.contacts() == []


def test_expires_0_removes_one(desk: Desk) -> None:
    desk.register("<sip:a@h>", "<sip:b@h>")
    desk.register("<sip:a@h>;expires=0")
    assert desk.contacts() == ["sip:b@h"]


def test_older_cseq_of_the_same_call_is_refused_and_of_another_is_not(desk: Desk) -> None:
    desk.register("<sip:a@h>", cseq=5)
    with pytest.raises(RemoteProtocolError) as caught:
        desk.register("<sip:a@h>;expires=0", cseq=5)
    assert caught.value.status == 500
    desk.register("<sip:a@h>;expires=0", cseq=1, call_id="other")
    assert desk.contacts() == []


def test_bindings_and_addresses_are_bounded(desk: Desk) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        desk.register(*(f"<sip:a{n}@h>" for n in range(4)))
    assert caught.value.status == 403
    desk.register("<sip:a@h>", aor="one@example.org")
    desk.register("<sip:a@h>", aor="two@example.org")
    with pytest.raises(RemoteProtocolError) as caught:
        desk.register("<sip:a@h>", aor="three@example.org")
    assert caught.value.status == 503


def test_device_that_moves_replaces_itself(desk: Desk) -> None:
    desk.register('<sip:a@h1>;+sip.instance="<urn:uuid:1>"')
    desk.register('<sip:a@h2>;+sip.instance="<urn:uuid:1>"')
    assert desk.contacts() == ["sip:a@h2"]


def test_bindings_go_with_their_connection(desk: Desk) -> None:
    desk.register("<sip:a@h>")
    desk.flow = replace(PEER, transport="tls", id=5)
    desk.register("<sip:b@h>")
    assert desk.location.uses(desk.flow)
    assert desk.location.drop_flow(desk.flow) == [AOR]
    assert desk.contacts() == ["sip:a@h"]
    assert not desk.location.uses(desk.flow)


@pytest.mark.parametrize("q", ["2", "-1", "x", "0.12345", "."])
def test_broken_q_is_refused(desk: Desk, q: str) -> None:
    with pytest.raises(RemoteProtocolError):
        desk.register(f"<sip:a@h>;q={q}")
