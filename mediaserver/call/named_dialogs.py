"""The dialogs that an INVITE names to come into a call (Join) or to take a place in one (Replaces), and who may do that.

Whoever names a dialog has been told its tags by somebody who is in it, or has read them on the way; that alone opens
nothing. He must be the one whose dialog it is, on another device (RFC 3891 §3, RFC 3911 §4), or a colleague of a group
of the house whose members may do that to each other; a trunk has its own dialogs. What an INVITE says of itself in a
Referred-By counts for nothing: without a signature (RFC 3892 §4) anybody can write it, and the REFERs that our phones and
trunks send are carried out here, so that nobody has to come back with one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Literal, get_args

from mediaserver.call.call import Call
from mediaserver.call.leg import Leg
from mediaserver.call.sip_leg import SipLeg
from mediaserver.call.unanswered import Unanswered
from mediaserver.config.routes import Group
from mediaserver.errors import MediaServerError
from mediaserver.sip.dialog_name import DialogName
from mediaserver.sip.session import InviteSession
from mediaserver.sip.session_states import SessionState

Right = Literal["join", "pickup"]
"""The key of a group that lets its members do it."""

_OVER: Final = frozenset({SessionState.CANCELLING, SessionState.ENDING, SessionState.ENDED})


class DialogRefused(MediaServerError):
    """An INVITE that names a dialog comes to nothing; `code` is what it is answered with."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


@dataclass(frozen=True, slots=True)
class Named:
    """A dialog that whoever named it has a right to."""

    leg: SipLeg
    call: Call | None
    """None while nobody has answered."""


class NamedDialogs:
    """`find` knows the session of a dialog, `calls` are those that stand, `groups` those of the house."""

    def __init__(
        self,
        *,
        find: Callable[[DialogName], InviteSession | None],
        calls: Callable[[], Iterable[Call]],
        unanswered: Unanswered,
        groups: Callable[[], Iterable[Group]],
    ) -> None:
        self._find = find
        self._calls = calls
        self._unanswered = unanswered
        self._groups = groups

    def knows(self, name: DialogName) -> bool:
        """Whether a dialog is one of ours, in whatever state."""
        return self._find(name) is not None

    def own(self, name: DialogName) -> tuple[Call, SipLeg] | None:
        """The call that stands of a dialog, and its leg there, for somebody who has been let in already."""
        session = self._find(name)
        return self._in_call(session) if session is not None else None

    def look(self, name: DialogName, *, user: str | None, trunk: str | None, right: Right) -> Named:
        """The leg of a dialog, for somebody who has proven to be `user`, or comes by `trunk`.

        Raises DialogRefused: 481 for a dialog that nobody knows, 603 for one that is over (RFC 3891 §3, RFC 3911 §4), and
        for somebody else's 403 to a user of the house and 481 to everybody else: a trunk must not learn which calls of
        others go on, while a colleague, who has proven who he is, is told why his key does nothing. Whether the call
        is over, full or busy is told to those only who have a right to it.
        """
        session = self._find(name)
        if session is None:
            raise DialogRefused(481, "there is no such dialog")
        found = self._in_call(session)
        leg = found[1] if found is not None else self._unanswered.leg_of(session)
        if leg is None:
            raise DialogRefused(481, "the dialog belongs to no call")
        if not self._may(leg, user, trunk, right):
            raise DialogRefused(481 if trunk is not None or user is None else 403, "the call belongs to somebody else")
        if session.state in _OVER or leg.ended:
            raise DialogRefused(603, "the call is over")
        return Named(leg, found[0] if found is not None else None)

    def _in_call(self, session: InviteSession) -> tuple[Call, SipLeg] | None:
        for call in self._calls():
            for leg in call.members:
                if isinstance(leg, SipLeg) and leg.holds(session):
                    return call, leg
        return None

    def _may(self, leg: Leg, user: str | None, trunk: str | None, right: Right) -> bool:
        party = leg.booking.party if leg.booking is not None else None
        if party is None:
            return False
        if trunk is not None or user is None:
            return trunk is not None and party.trunk == trunk
        return party.user is not None and party.trunk is None and self.are_colleagues(user, party.user, right)

    def may_name(self, user: str, owner: str) -> bool:
        """Whether a user is told how the calls of another one are named: who may do anything with them must say that."""
        return any(self.are_colleagues(user, owner, right) for right in get_args(Right))

    def are_colleagues(self, user: str, owner: str, right: Right) -> bool:
        """Whether a user may do that to the calls of another one, or himself."""
        return user == owner or any(
            getattr(group, right) and user in group.members and owner in group.members for group in self._groups()
        )
