"""The registrar: bindings, bounds of time and number, order, flows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mediaserver.errors import RemoteProtocolError
from mediaserver.sip.config import MessageLimits
from mediaserver.sip.flow import Flow
from mediaserver.sip.location import Location
from mediaserver.sip.message import Request
from mediaserver.sip.parser import parse_datagram
from mediaserver.sip.registrar import FLOW_TIMER_S, MAX_PATH, Registered, Registrar
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
        self,
        *contacts: str,
        expires: str | None = None,
        cseq: int | None = None,
        call_id: str = "c",
        aor: str = AOR,
        extra: str = "",
    ) -> Registered:
        self.cseq += 1
        text = request("REGISTER", cseq=cseq or self.cseq, call_id=call_id, body="")
        lines = [line for line in text.split("\n") if not line.startswith("Contact")]
        lines[1:1] = [f"Contact: {contact}" for contact in contacts]
        if expires is not None:
            lines.insert(1, f"Expires: {expires}")
        lines[1:1] = extra.split("\n") if extra else []
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


OUTBOUND = "Supported: path, outbound"
DEVICE = '"<urn:uuid:00000000-0000-1000-8000-000A95A0E128>"'


def flow_of(number: int) -> Flow:
    return Flow("tcp", "192.0.2.1", 5060, "192.0.2.9", 40000 + number, number)


def test_a_device_keeps_several_flows_apart_by_their_number_and_replaces_each(desk: Desk) -> None:
    for number in (1, 2):
        desk.flow = flow_of(number)
        done = desk.register(f"<sip:a@10.0.0.7>;+sip.instance={DEVICE};reg-id={number}", extra=OUTBOUND)
    assert ("Require", "outbound") in done.headers
    assert ("Flow-Timer", str(FLOW_TIMER_S)) in done.headers
    assert sorted(binding.flow.id for binding in desk.location.lookup(AOR, 0.0)) == [1, 2]
    desk.flow = flow_of(3)
    desk.register(f"<sip:a@10.0.0.7>;+sip.instance={DEVICE};reg-id=2", extra=OUTBOUND)
    assert sorted(binding.flow.id for binding in desk.location.lookup(AOR, 0.0)) == [1, 3]


def test_a_device_with_several_flows_rings_once_and_its_other_flow_is_next(desk: Desk) -> None:
    for number in (1, 2):
        desk.now, desk.flow = float(number), flow_of(number)
        desk.register(f"<sip:a@10.0.0.7>;+sip.instance={DEVICE};reg-id={number}", extra=OUTBOUND)
    desk.flow = flow_of(9)
    desk.register("<sip:b@10.0.0.8>;q=0.5")
    devices = desk.location.devices(AOR, desk.now)
    assert [(device.contact.user, device.flow.id) for device in devices] == [("a", 2), ("b", 9)]
    assert [other.flow.id for other in desk.location.other_flows(devices[0], desk.now)] == [1]
    assert desk.location.other_flows(devices[1], desk.now) == []
    desk.location.drop_flow(flow_of(2))
    assert [device.flow.id for device in desk.location.devices(AOR, desk.now)] == [1, 9]


def test_a_flow_number_without_outbound_or_instance_means_nothing(desk: Desk) -> None:
    desk.register(f"<sip:a@h>;+sip.instance={DEVICE};reg-id=1")
    done = desk.register("<sip:b@h>;reg-id=1", extra=OUTBOUND)
    assert [binding.reg_id for binding in desk.location.lookup(AOR, 0.0)] == [None, None]
    assert "Require" not in dict(done.headers)
    with pytest.raises(RemoteProtocolError):
        desk.register(f"<sip:a@h>;+sip.instance={DEVICE};reg-id=x", extra=OUTBOUND)


def test_the_path_is_kept_and_told_to_who_understands_it(desk: Desk) -> None:
    path = "Path: <sip:edge2.test;lr>, <sip:edge1.test;lr;ob>"
    done = desk.register("<sip:a@10.0.0.7>", extra=f"{path}\n{OUTBOUND}")
    assert [value for name, value in done.headers if name == "Path"] == ["<sip:edge2.test;lr>, <sip:edge1.test;lr;ob>"]
    (binding,) = desk.location.lookup(AOR, 0.0)
    assert [str(route) for route in binding.path] == ["<sip:edge2.test;lr>", "<sip:edge1.test;lr;ob>"]
    assert "Path" not in dict(desk.register("<sip:a@10.0.0.7>", extra=path).headers)


@pytest.mark.parametrize("path", ["<sip:strict.test>", ", ".join(["<sip:e.test;lr>"] * (MAX_PATH + 1)), "nonsense <"])
def test_a_path_that_cannot_be_gone_is_refused(desk: Desk, path: str) -> None:
    with pytest.raises(RemoteProtocolError):
        desk.register("<sip:a@h>", extra=f"Path: {path}")
    assert desk.contacts() == []


def test_phones_behind_a_nat_are_known_by_their_contact(desk: Desk) -> None:
    desk.register("<sip:a@192.0.2.9>")
    assert desk.location.behind_nat() == []
    desk.register("<sip:a@10.0.0.7>")
    assert desk.location.behind_nat() == [PEER]
    desk.register("*", expires="0")
    desk.flow = flow_of(1)
    desk.register("<sip:a@10.0.0.7>")
    assert desk.location.behind_nat() == []
