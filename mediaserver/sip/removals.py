"""REFER with method=BYE outside of a call: whoever is in a conference asks its focus to let somebody go (RFC 4579 §5.11)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mediaserver.errors import LimitExceeded, RemoteProtocolError
from mediaserver.sip.attempt import Attempt
from mediaserver.sip.dialog import Dialog, dialog_of_request
from mediaserver.sip.flow import Flow
from mediaserver.sip.incoming import IncomingRemoval
from mediaserver.sip.referrals import is_silent, method_of, refer_to, sipfrag
from mediaserver.sip.server_transaction import ServerTransaction
from mediaserver.sip.standalone import Standalone

if TYPE_CHECKING:
    from mediaserver.sip.core import Core


@dataclass(frozen=True, slots=True)
class NewRemoval:
    """It waits for its answer."""

    transaction: ServerTransaction
    dialog: Dialog
    asked: IncomingRemoval


def removal(transaction: ServerTransaction, flow: Flow, conference: str, user: str) -> NewRemoval:
    """What such a REFER asks for. Raises SipParseError, and RemoteProtocolError (603) for one that wants anything else."""
    request = transaction.request
    target = refer_to(request).sip_uri
    if method_of(target) != "BYE":
        raise RemoteProtocolError("who is in a conference invites in his call", status=603)
    asked = IncomingRemoval(conference, target.without_headers(), user)
    return NewRemoval(transaction, dialog_of_request(request, flow, to_tag=transaction.to_tag), asked)


def answer(core: Core, event: NewRemoval, code: int, now: float) -> None:
    """It came to `code`, and nothing will follow: 202 and the one NOTIFY that says so (RFC 3515 §2.4.4), or a refusal."""
    request = event.transaction.request
    if code >= 300:
        core.respond(event.transaction, code, now=now)
        return
    silent = is_silent(request)
    core.respond(event.transaction, 202, headers=(("Refer-Sub", "false"),) if silent else (), now=now)
    if silent:
        return
    notify = event.dialog.make_request("NOTIFY")
    for name, value in (("Event", "refer"), ("Subscription-State", "terminated;reason=noresource")):
        notify.headers.add(name, value)
    sipfrag(notify, code)
    destinations = event.dialog.destinations()
    try:
        core.send(Attempt(Standalone(request.call_id), notify, destinations, credentials=None, cseq=event.dialog), now)
    except LimitExceeded:
        return  # counted by the layer; who was asked for is gone all the same
