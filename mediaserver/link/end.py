"""What both ends of a link do with control messages."""

from __future__ import annotations

from abc import ABC, abstractmethod

import structlog

from mediaserver.errors import RemoteProtocolError
from mediaserver.link.messages import AnyMessage, dump, parse
from mediaserver.link.wire import Wire

_log = structlog.get_logger(__name__)


class End(ABC):
    """One end; `other` is whom it speaks to, for logs."""

    def __init__(self, wire: Wire, *, other: str) -> None:
        self._wire = wire
        self._other = other
        self.reason = "not connected yet"
        """Why the other end cannot be used, in words for an operator; empty while it can."""
        self.unreadable = 0
        """Messages that could not be read or came at the wrong time."""

    def handle_message(self, payload: bytes) -> None:
        """A control message of the other end. What cannot be read is counted, and changes nothing."""
        try:
            self._handle(parse(payload))
        except RemoteProtocolError as error:
            self.unreadable += 1
            if self.unreadable == 1:
                _log.warning("link_message_refused", other=self._other, reason=str(error))

    @abstractmethod
    def _handle(self, message: AnyMessage) -> None:
        """Raises RemoteProtocolError for one that must not come now."""

    def _send(self, message: AnyMessage) -> None:
        self._wire.send(dump(message))
