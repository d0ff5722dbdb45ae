"""Descriptions that come before a call of ours is answered: which of several branches is heard, and which one counts."""

from __future__ import annotations

from typing import Any

from mediaserver.call.session_media import SessionMedia
from mediaserver.errors import MediaServerError, NegotiationError


class EarlyAnswers:
    """Forked calls have several branches (RFC 3261 §13.2.2.4) and one line of ours: the first keeps it until the answer."""

    def __init__(self, media: SessionMedia, log: Any) -> None:
        self._media = media
        self._log = log
        self.branch: str | None = None
        """The branch whose description is in force."""
        self._final = False
        """It came reliably: it is the answer, whatever the 200 may say (RFC 3261 §13.2.1, RFC 3262 §5)."""
        self._known: dict[str, bytes] = {}
        """By branch; the session bounds how many there are."""

    def take(self, body: bytes, branch: str, *, reliable: bool) -> bool:
        """A description in a provisional response; whether it is in force now."""
        known = self._known.get(branch)
        if self.branch == branch and (self._final or known == body):
            self._final = self._final or reliable
            return True
        self._known[branch] = body
        if self.branch not in (None, branch):
            return False
        try:
            self._media.accept_answer(body, final=False)
        except MediaServerError as error:
            self._log.info("early_media_not_taken", error=str(error))
            return False
        self.branch, self._final = branch, reliable
        return True

    def settle(self, body: bytes | None, branch: str) -> None:
        """The call is answered, with or without a description. Raises SdpError and NegotiationError."""
        early = self._known.get(branch)
        if branch == self.branch and (self._final or body in (None, early)):
            self._media.drop()
            self._media.expect()
            return
        answer = body or early
        if answer is None:
            raise NegotiationError("the phone answered without a session description")
        self._media.accept_answer(answer)
