"""A phone's call from INVITE to record: what it is told when it cannot be connected, and who ended it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mediaserver.call.agents import Presentation
from mediaserver.call.call import Call
from mediaserver.call.call_request import CallRequest
from mediaserver.call.dial_failed import DialFailed
from mediaserver.call.events import EndCause
from mediaserver.call.routing import Destination
from mediaserver.config.sections import Target
from mediaserver.contact.connected_call import ConnectedCall
from mediaserver.contact.contact import Contact
from mediaserver.errors import LimitExceeded, NegotiationError
from tests.call.fakes import FakeLeg
from tests.passing import passed


class FakeCalls:
    """Connects with `outcome` or fails with it."""

    def __init__(self, outcome: FakeLeg | Exception) -> None:
        self.outcome = outcome

    async def connect(self, request: CallRequest, *, on_ended: Callable[[Call, EndCause], None]) -> Call:
        if isinstance(self.outcome, Exception):
            raise self.outcome
        call = Call(call_id="c", caller=request.caller, callee=self.outcome, longest_s=60, on_ended=on_ended)
        await call.join()
        return call


async def connected(outcome: FakeLeg | Exception) -> tuple[FakeLeg, Contact, list[Contact]]:
    """The caller's leg, its contact and what was reported over, after the call was tried."""
    caller, over = FakeLeg("caller"), []
    contact = Contact(id="contact", source="192.0.2.1")
    contact.add_leg(caller)
    call = ConnectedCall(
        contact=contact,
        leg=caller,
        destination=Destination(Target(user="agent"), "agent", "user agent"),
        presentation=Presentation(name="caller"),
        calls=FakeCalls(outcome),  # type: ignore[arg-type]
        server_name="ms",
        on_over=over.append,
    )
    call.begin()
    await passed(0.01)
    return caller, contact, over


@pytest.mark.parametrize(
    ("failure", "code", "warning"),
    [
        (DialFailed(486, "Busy Here"), 486, None),
        (DialFailed(488, "x", warning='305 phone "no"'), 488, '305 phone "no"'),
        (DialFailed(488, "nothing in common", warning_code=305), 488, '305 ms "nothing in common"'),
        (NegotiationError("nothing in common", warning_code=305), 488, '305 ms "nothing in common"'),
        (LimitExceeded("full", limit="limits.calls"), 503, None),
    ],
)
async def test_a_call_that_cannot_be_connected_says_why(failure: Exception, code: int, warning: str | None) -> None:
    caller, contact, over = await connected(failure)
    ((cause, told),) = caller.refused
    assert (cause.code, told) == (code, warning)
    assert over == [contact]
    assert contact.cause is not None
    assert contact.cause.code == code


async def test_both_legs_are_in_the_record_and_the_first_to_hang_up_is_named() -> None:
    callee = FakeLeg("agent")
    _, contact, over = await connected(callee)
    assert contact.answered_at is not None
    await callee.end(EndCause("agent", "hangup"))
    await passed(0.01)
    assert over == [contact]
    record = contact.record()
    assert [leg.party for leg in record.legs] == ["caller", "agent"]
    assert (record.ended_by, record.end_reason) == ("agent", "hangup")
