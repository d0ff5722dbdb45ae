"""Calls that somebody comes into by himself: an INVITE whose Join names one makes it a conference (RFC 3911).

Whoever names a dialog has been told its tags by somebody who is in it; that alone does not let him in. He must be the one
whose dialog it is, on another device, or a colleague of a group whose members may join each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from mediaserver.call.call import Call
from mediaserver.call.events import EndCause
from mediaserver.call.leg import Leg
from mediaserver.call.linking import mixes
from mediaserver.call.sip_leg import SipLeg
from mediaserver.call.stand_in import beside
from mediaserver.call.transfers import leg_of
from mediaserver.config.routes import Group
from mediaserver.engine.engine import Engine
from mediaserver.errors import MediaServerError
from mediaserver.sip.dialog_name import DialogName
from mediaserver.sip.session import InviteSession
from mediaserver.sip.session_states import SessionState

MAX_MEMBERS: Final = 16
"""Parties and supervisors of one call; more of them meet in a room."""

_OVER: Final = frozenset({SessionState.CANCELLING, SessionState.ENDING, SessionState.ENDED})


class JoinRefused(MediaServerError):
    """Nobody comes in; `code` is what the INVITE is answered with."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


@dataclass(frozen=True, slots=True)
class Joined:
    """A call that may be joined, and the leg whose dialog was named."""

    call: Call
    leg: SipLeg


class Joining:
    """`find` knows the session of a dialog, `calls` are those that stand, `groups` those of the house."""

    def __init__(
        self,
        *,
        find: Callable[[DialogName], InviteSession | None],
        calls: Callable[[], Iterable[Call]],
        groups: Callable[[], Iterable[Group]],
        engine: Engine,
    ) -> None:
        self._find = find
        self._calls = calls
        self._groups = groups
        self._engine = engine

    def look(self, name: DialogName, *, user: str | None, trunk: str | None) -> Joined:
        """The call of a dialog, for somebody who has proven to be `user`, or comes by `trunk`.

        Raises JoinRefused: 481 for a dialog that nobody knows, 603 for one that is over (RFC 3911 §4), 403 for somebody
        else's, 486 where the call is not up yet or has no place left, 488 where its sound cannot be mixed.
        """
        session = self._find(name)
        if session is None:
            raise JoinRefused(481, "there is no such dialog")
        found = leg_of(session, self._calls())
        if found is not None and not self._may_join(found[1], user, trunk):
            raise JoinRefused(403, "the call belongs to somebody else")
        if session.state in _OVER or (found is not None and found[1].ended):
            raise JoinRefused(603, "the call is over")
        if found is None or found[1].answered_at is None:
            raise JoinRefused(486, "the call is not up yet")
        call, leg = found
        if len(call.members) >= MAX_MEMBERS:
            raise JoinRefused(486, f"there are {MAX_MEMBERS} in this call already")
        if not all(mixes(each) for each in call.members):
            raise JoinRefused(488, "the sound of this call cannot be mixed")
        return Joined(call, leg)

    async def join(self, leg: SipLeg, joined: Joined) -> None:
        """Answers the caller `leg` with what the call speaks, and brings it in. Raises MediaServerError."""
        leg.admit()
        stand_in = beside(joined.call.members, contact_id=leg.contact_id, engine=self._engine)
        await leg.meet(stand_in)
        leg.settle_with(stand_in)
        try:
            await joined.call.add(leg)
        except MediaServerError as error:  # the last of the others has hung up meanwhile
            leg.listen(None)
            await leg.end(EndCause("system", "not_added", 488, str(error)))
            raise

    def _may_join(self, leg: Leg, user: str | None, trunk: str | None) -> bool:
        party = leg.booking.party if leg.booking is not None else None
        if party is None:
            return False
        if trunk is not None or user is None:
            return trunk is not None and party.trunk == trunk
        if party.user is None:
            return False
        return party.user == user or any(
            group.join and user in group.members and party.user in group.members for group in self._groups()
        )
