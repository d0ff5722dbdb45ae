"""RFC 5359 §2.17, automatic redial: a phone that found a user busy watches its dialogs, and calls again in time."""

from __future__ import annotations

from mediaserver.sip.credentials import Credentials
from mediaserver.sip.digest import answer_challenge, parse_digest
from mediaserver.sip.invite_session import InviteMachine
from mediaserver.sip.message import Response
from tests.sip.conftest import PASSWORDS
from tests.sip.test_subscriptions import PHONE, begun, bind_alice, dialogs, house, notified, ring_alice
from tests.sip.wire import Wire, answer, request

URI = "sip:alice@192.0.2.1"


def bob_calls(wire: Wire, name: str) -> InviteMachine:
    """The session of Bob's INVITE to Alice."""
    (challenge,) = wire.receive(request(call_id=name, branch=f"z9hG4bK1{name}"))
    assert isinstance(challenge, Response)
    params = parse_digest(challenge.headers.all("WWW-Authenticate")[0])
    assert params is not None
    proof = answer_challenge(params, Credentials("bob", PASSWORDS["bob"]), method="INVITE", uri=URI)
    wire.receive(request(call_id=name, cseq=2, branch=f"z9hG4bK2{name}", extra=f"Authorization: {proof}\n"))
    return wire.new[-1].machine


def test_2_17_automatic_redial() -> None:
    wire = house()
    bind_alice(wire)
    carols = ring_alice(wire)
    wire.receive(answer(carols, 200), PHONE)
    first = bob_calls(wire, "first")
    first.reject(486, None, (), now=wire.now)
    assert [message.code for message in wire.sent() if isinstance(message, Response)] == [486]

    _, notify = begun(wire)
    assert dialogs(notify) == [("recipient", "confirmed", "sip:carol@example.org")]
    wire.receive(
        request("BYE", to_tag=carols.from_.tag, from_tag="their-tag", call_id=carols.call_id, body="", cseq=9), PHONE
    )
    assert dialogs(notified(wire)) == [("recipient", "terminated", "sip:carol@example.org")]

    again = bob_calls(wire, "again")
    again.answer(b"answer", (), now=wire.now)
    assert [message.code for message in wire.sent() if isinstance(message, Response)] == [200]
