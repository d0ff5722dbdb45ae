"""Session-ID (RFC 7989): a UUID for each end of a call that back-to-back user agents leave as it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mediaserver.sip.message import Message

NIL: Final = "0" * 32
"""§5: an end that is not known yet."""
_HEX: Final = frozenset("0123456789abcdef")


@dataclass(slots=True)
class SessionId:
    """The two ends of one dialog, as 32 hexadecimal digits each."""

    local: str = NIL
    """Whoever we speak for."""
    remote: str = NIL
    """The peer, by its own word."""

    def __str__(self) -> str:
        return f"{self.local};remote={self.remote}"

    @property
    def known(self) -> bool:
        """Whether there is anything to say."""
        return self.local != NIL or self.remote != NIL

    def learn(self, message: Message) -> None:
        """Take the peer's UUID from a message of its; what cannot be read says nothing (§9)."""
        uuid = peer_uuid(message)
        if uuid is not None and uuid != NIL:
            self.remote = uuid


def peer_uuid(message: Message) -> str | None:
    """The sender's UUID, lower case; None without one, or with one that is broken."""
    text = message.headers.get("Session-ID")
    if text is None:
        return None
    uuid = text.partition(";")[0].strip().lower()
    return uuid if len(uuid) == 32 and _HEX.issuperset(uuid) else None
