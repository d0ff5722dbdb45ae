"""The basic call flows of RFC 3665 by section: this server as registrar, as the one who calls and as the one called.

Proxies are other people's: what a flow through them means for an end of it is that end's part here.
"""

from __future__ import annotations

import pytest

from mediaserver.sip.credentials import Credentials
from mediaserver.sip.digest import answer_challenge, choose_challenge
from mediaserver.sip.events import Answered, Cancelled, Confirmed, Ended, Progress, Rejected, Reoffered
from mediaserver.sip.flow import Target
from mediaserver.sip.headers import NameAddr
from mediaserver.sip.invite_session import InviteMachine, SessionState
from mediaserver.sip.message import Request, Response
from mediaserver.sip.redirect import redirect_targets
from mediaserver.sip.uri import parse_sip_uri
from tests.sip.conftest import PASSWORDS
from tests.sip.test_invite_session import act
from tests.sip.wire import Wire, answer, request

BOB = "bob@example.org"


def one(messages: list[Request | Response], kind: type) -> Request | Response:
    """The only message there is, of this kind."""
    (message,) = messages
    assert isinstance(message, kind)
    return message


def codes(messages: list[Request | Response]) -> list[int | str]:
    """Responses by their code, requests by their method."""
    return [message.code if isinstance(message, Response) else message.method for message in messages]


# -- §2 registration -----------------------------------------------------------------------------------------------


class Phone:
    """Bob's phone at a registrar that does not know it by its address."""

    def __init__(self, password: str = PASSWORDS["bob"]) -> None:
        self.wire = Wire(trunk=False)
        self.cseq = 0
        self.password = password

    def send(self, contact: str | None, *, expires: int | None = None, authorization: str = "") -> Response:
        self.cseq += 1
        text = request(
            "REGISTER",
            cseq=self.cseq,
            uri="sip:example.org",
            branch=f"z9hG4bKreg{self.cseq}",
            call_id="registration",
            body="",
            extra=("" if expires is None else f"Expires: {expires}\n") + authorization,
        ).replace("To: <sip:alice@example.org>", "To: <sip:bob@example.org>")
        text = text.replace("Contact: <sip:bob@192.0.2.9:5070>\n", f"Contact: {contact}\n" if contact else "")
        response = one(self.wire.receive(text), Response)
        assert isinstance(response, Response)
        return response

    def register(self, contact: str | None, *, expires: int | None = None) -> Response:
        """The same, with the answer to the challenge that comes first."""
        challenged = self.send(contact, expires=expires)
        assert challenged.code == 401
        challenge = choose_challenge(challenged.headers.all("WWW-Authenticate"))
        assert challenge is not None
        value = answer_challenge(challenge, Credentials("bob", self.password), method="REGISTER", uri="sip:example.org")
        return self.send(contact, expires=expires, authorization=f"Authorization: {value}\n")

    def contacts(self) -> set[str]:
        return {str(binding.contact) for binding in self.wire.core.bindings(BOB, self.wire.now)}


def test_2_1_successful_new_registration() -> None:
    phone = Phone()
    ok = phone.register("<sip:bob@192.0.2.9:5070>", expires=600)
    assert ok.code == 200
    assert [contact.param("expires") for contact in ok.contacts] == ["600"]
    assert phone.contacts() == {"sip:bob@192.0.2.9:5070"}


def test_2_2_update_of_contact_list() -> None:
    phone = Phone()
    phone.register("<sip:bob@192.0.2.9:5070>")
    ok = phone.register("<sip:bob@192.0.2.10:5080>")
    assert len(ok.contacts) == 2
    assert phone.contacts() == {"sip:bob@192.0.2.9:5070", "sip:bob@192.0.2.10:5080"}


def test_2_3_request_for_current_contact_list() -> None:
    phone = Phone()
    phone.register("<sip:bob@192.0.2.9:5070>")
    ok = phone.register(None)
    assert [str(contact.uri) for contact in ok.contacts] == ["sip:bob@192.0.2.9:5070"]


def test_2_4_cancellation_of_registration() -> None:
    phone = Phone()
    phone.register("<sip:bob@192.0.2.9:5070>")
    ok = phone.register("*", expires=0)
    assert (ok.code, ok.contacts) == (200, ())
    assert phone.contacts() == set()


def test_2_5_unsuccessful_registration() -> None:
    phone = Phone(password="wrong")
    assert phone.register("<sip:bob@192.0.2.9:5070>").code == 401
    assert phone.contacts() == set()


# -- §3 sessions: we are Alice, who calls --------------------------------------------------------------------------


def answered(wire: Wire, invite: Request, *, extra: str = "") -> Request:
    """Bob rings and answers; our ACK."""
    assert wire.receive(answer(invite, 180, extra=extra)) == []
    ack = one(wire.receive(answer(invite, 200, body="sdp", extra=extra)), Request)
    assert isinstance(ack, Request)
    assert ack.method == "ACK"
    return ack


def test_3_1_successful_session_establishment_of_the_caller() -> None:
    wire = Wire()
    machine, invite = wire.call()
    ack = answered(wire, invite)
    assert (ack.uri_text, ack.cseq[0]) == ("sip:bob@192.0.2.9:5070", 1)
    machine.hangup(None, now=wire.now)
    bye = act(wire, machine)
    assert isinstance(bye, Request)
    assert (bye.method, bye.cseq[0], bye.to.tag) == ("BYE", 2, "their-tag")
    wire.receive(answer(bye, 200))
    assert wire.events == [
        Progress(180, "Something", None, branch="their-tag"),
        Answered(b"sdp"),
        Ended("local"),
    ]
    assert not wire.core.busy


def test_3_1_successful_session_establishment_of_the_callee() -> None:
    wire = Wire()
    machine = wire.invited(request())
    machine.ring(180, None, (), now=wire.now)
    ringing = act(wire, machine)
    machine.answer(b"sdp", (), now=wire.now)
    ok = act(wire, machine)
    assert codes([ringing, ok]) == [180, 200]
    assert ringing.to.tag == ok.to.tag == machine.local_tag
    wire.receive(request("ACK", to_tag=machine.local_tag, branch="z9hG4bKack", body=""))
    assert codes(wire.receive(request("BYE", cseq=2, to_tag=machine.local_tag, branch="z9hG4bKbye", body=""))) == [200]
    assert wire.events == [Confirmed(None), Ended("remote", reason="BYE")]
    assert not wire.core.busy


ROUTES = "Record-Route: <sip:ss2.example.net;lr>, <sip:ss1.example.net;lr>\n"


def test_3_2_session_establishment_through_two_proxies() -> None:
    wire = Wire()
    machine, invite = wire.call()
    ack = answered(wire, invite, extra=ROUTES)
    machine.hangup(None, now=wire.now)
    bye = act(wire, machine)
    assert isinstance(bye, Request)
    for later in (ack, bye):
        assert [route.sip_uri.host for route in later.routes] == ["ss1.example.net", "ss2.example.net"]
        assert later.uri_text == "sip:bob@192.0.2.9:5070"


def challenged(invite: Request, realm: str, nonce: str) -> str:
    value = f'Digest realm="{realm}", nonce="{nonce}", algorithm=MD5, qop="auth"'
    return answer(invite, 407, extra=f"Proxy-Authenticate: {value}\n")


def test_3_3_session_establishment_with_proxy_authentication() -> None:
    wire = Wire()
    machine = wire.core.invite(
        parse_sip_uri("sip:bob@192.0.2.9"),
        destinations=[Target("udp", "192.0.2.9", 5060)],
        from_=NameAddr(parse_sip_uri("sip:alice@example.org")),
        to=NameAddr(parse_sip_uri("sip:bob@192.0.2.9")),
        body=b"offer",
        headers=(),
        credentials=Credentials("alice", "secret"),
        max_forwards=70,
        now=wire.now,
    )
    invite = one(wire.sent(), Request)
    assert isinstance(invite, Request)
    ack, again = wire.receive(challenged(invite, "a.example.net", "n1"))
    assert isinstance(again, Request)
    assert codes([ack, again]) == ["ACK", "INVITE"]
    assert again.cseq[0] == invite.cseq[0] + 1
    assert (again.call_id, again.from_.tag) == (invite.call_id, invite.from_.tag)
    assert 'realm="a.example.net"' in (again.headers.get("Proxy-Authorization") or "")
    confirmed = answered(wire, again)
    # RFC 3261 §22.1: the ACK cannot be challenged, so it carries what the INVITE did.
    assert confirmed.headers.get("Proxy-Authorization") == again.headers.get("Proxy-Authorization")
    assert machine.state is SessionState.CONFIRMED


def test_3_4_session_with_proxy_failure() -> None:
    wire = Wire()
    wire.core.invite(
        parse_sip_uri("sip:bob@b.example.net"),
        destinations=[Target("udp", "192.0.2.8", 5060), Target("udp", "192.0.2.9", 5060)],
        from_=NameAddr(parse_sip_uri("sip:alice@example.org")),
        to=NameAddr(parse_sip_uri("sip:bob@b.example.net")),
        body=b"offer",
        headers=(),
        credentials=None,
        max_forwards=70,
        now=wire.now,
    )
    first = one(wire.sent(), Request)
    sent = [message for _, message in wire.wait(5)]
    second = sent[-1]
    assert isinstance(second, Request)
    assert second.via.branch != first.via.branch
    assert (second.call_id, second.cseq) == (first.call_id, first.cseq)
    answered(wire, second)
    assert wire.events[-1] == Answered(b"sdp")


def test_3_5_session_through_a_sip_alg() -> None:
    """The gateway is the next hop of the whole dialog: it stands in Record-Route, and Via does not show our peer."""
    wire = Wire()
    machine = wire.invited(request(extra="Record-Route: <sip:alg1.example.net;lr>\n"))
    machine.answer(b"sdp", (), now=wire.now)
    ok = act(wire, machine)
    assert [route.sip_uri.host for route in ok.record_routes] == ["alg1.example.net"]
    wire.receive(request("ACK", to_tag=machine.local_tag, branch="z9hG4bKack", body=""))
    machine.hangup(None, now=wire.now)
    bye = act(wire, machine)
    assert isinstance(bye, Request)
    assert [route.sip_uri.host for route in bye.routes] == ["alg1.example.net"]


def test_3_6_session_via_a_redirect_server_with_sdp_in_the_ack() -> None:
    wire = Wire()
    _, invite = wire.call(body=None)
    moved = answer(invite, 302).replace("<sip:bob@192.0.2.9:5070>", "<sip:bob@chicago.example.com>;q=0.7")
    ack = one(wire.receive(moved), Request)
    assert isinstance(ack, Request)
    assert ack.method == "ACK"
    (rejected,) = wire.events
    assert isinstance(rejected, Rejected)
    assert [str(uri) for uri in redirect_targets(rejected.headers)] == ["sip:bob@chicago.example.com"]
    machine, again = wire.call(body=None)  # the call layer follows it
    wire.receive(answer(again, 180))
    assert wire.receive(answer(again, 200, body="their offer")) == []
    machine.acknowledge(b"our answer", now=wire.now)
    with_answer = act(wire, machine)
    assert (codes([with_answer]), with_answer.body) == (["ACK"], b"our answer")


def test_3_7_session_with_reinvite_and_a_new_address() -> None:
    wire = Wire()
    machine, invite = wire.call()
    answered(wire, invite)
    wire.events.clear()
    moved = request(
        "INVITE", cseq=14, to_tag=machine.local_tag, call_id=machine.call_id, branch="z9hG4bKre", body="v=0\n"
    ).replace("192.0.2.9:5070", "192.0.2.55:5071")
    assert codes(wire.receive(moved)) == [100]
    assert wire.events == [Reoffered(b"v=0\r\n")]
    machine.answer_reoffer(b"ours", now=wire.now)
    assert codes([act(wire, machine)]) == [200]
    wire.receive(request("ACK", cseq=14, to_tag=machine.local_tag, call_id=machine.call_id, branch="z9hG4bKa", body=""))
    machine.hangup(None, now=wire.now)
    bye = act(wire, machine)
    assert isinstance(bye, Request)
    assert bye.uri_text == "sip:bob@192.0.2.55:5071"


def test_3_8_unsuccessful_no_answer() -> None:
    wire = Wire()
    machine, invite = wire.call()
    wire.receive(answer(invite, 180))
    machine.hangup(None, now=wire.now)
    cancel = act(wire, machine)
    assert codes([cancel]) == ["CANCEL"]
    assert isinstance(cancel, Request)
    assert wire.receive(answer(cancel, 200)) == []
    assert codes(wire.receive(answer(invite, 487))) == ["ACK"]
    assert not wire.core.busy


def test_3_8_unsuccessful_no_answer_of_the_callee() -> None:
    wire = Wire()
    machine = wire.invited(request())
    machine.ring(180, None, (), now=wire.now)
    act(wire, machine)
    assert sorted(codes(wire.receive(request("CANCEL", body="")))) == [200, 487]
    assert wire.events == [Cancelled(None)]


@pytest.mark.parametrize(
    ("section", "code"), [("3.9 busy", 486), ("3.11 temporarily unavailable", 480)], ids=lambda value: str(value)
)
def test_3_9_and_3_11_unsuccessful_busy_or_unavailable(section: str, code: int) -> None:
    wire = Wire()
    _, invite = wire.call()
    ack = one(wire.receive(answer(invite, code)), Request)
    assert isinstance(ack, Request)
    # RFC 3261 §17.1.1.3: the ACK of a refusal belongs to the transaction of the INVITE.
    assert (ack.method, ack.via.branch) == ("ACK", invite.via.branch)
    (rejected,) = wire.events
    assert isinstance(rejected, Rejected)
    assert rejected.code == code, section


def test_3_10_unsuccessful_no_response_from_user_agent() -> None:
    wire = Wire()
    wire.call()
    sent = wire.wait(33)
    # Timer A doubles from T1 until timer B (RFC 3261 §17.1.1.2).
    assert [at for at, _ in sent] == [0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    (rejected,) = wire.events
    assert isinstance(rejected, Rejected)
    assert rejected.code == 408


def test_every_machine_of_these_flows_is_gone_when_they_are_over() -> None:
    wire = Wire()
    machines: list[InviteMachine] = []
    for code in (486, 480, 302):
        machine, invite = wire.call()
        machines.append(machine)
        wire.receive(answer(invite, code))
    wire.wait(40)
    assert all(machine.over for machine in machines)
    assert not wire.core.busy
