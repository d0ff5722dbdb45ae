"""Data channels of one party, and the topics in which parties meet: a channel's label names its topic.

Messages go from channel to channel inside the engine; here it is only decided who is in which topic and who may send.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog

from mediaserver.engine.commands import AcceptData, CloseChannel, JoinTopic, LeaveTopic, SendMessage
from mediaserver.engine.engine import Engine
from mediaserver.engine.events import AnyEvent, ChannelClosed, ChannelMessage, ChannelOpened

MOST_TOPICS: Final = 16
"""Labels of one room or call; a channel with one more is closed."""

T140: Final = "t140"
"""Label and protocol of channels for real-time text (RFC 8865 §3.2); a channel of the protocol may have any label."""

NAMED: Final = "mediaserver.named"
"""Protocol of channels on which every message has its sender's name in a line before it (see `JoinTopic`)."""

_log = structlog.get_logger(__name__)


class Topics:
    """The topics of one room or call, by label."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._ids: dict[str, int] = {}

    def get(self, label: str) -> int | None:
        """The engine's number of a topic, made when it is new; None beyond `MOST_TOPICS`."""
        if label not in self._ids:
            if len(self._ids) >= MOST_TOPICS:
                return None
            self._ids[label] = self._engine.new_id()
        return self._ids[label]


class DataChannels:
    """The data channels of one transport. What they send before `use` is held by the engine, within bounds."""

    def __init__(self, engine: Engine, transport: int) -> None:
        self._engine = engine
        self._transport = transport
        self._labels: dict[int, str] = {}
        self._named: set[int] = set()
        self._topics: Topics | None = None
        self._may_send = True
        self._sender = ""
        self._hears: tuple[str, Callable[[str], None]] | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the channels that are open."""
        return tuple(self._labels.values())

    @property
    def topics(self) -> Topics | None:
        """Those that the channels are in."""
        return self._topics

    def new_topics(self) -> Topics:
        """Topics for this party and those whom it will meet."""
        return Topics(self._engine)

    def accept(self, *, remote_port: int, remote_message_bytes: int, local_port: int) -> None:
        """The descriptions agree on data channels. Further calls change nothing: the association stays."""
        self._engine.submit(
            AcceptData(
                id=self._transport,
                local_port=local_port,
                remote_port=remote_port,
                remote_message_bytes=remote_message_bytes,
            )
        )

    def use(self, topics: Topics | None, *, may_send: bool = True, sender: str = "") -> None:
        """Puts every channel, now and later, into the topic of its label; None takes them out of all.

        `sender` is what others are told of who says something, where they ask for names."""
        self._topics, self._may_send, self._sender = topics, may_send, sender
        for stream, label in self._labels.items():
            if topics is None:
                self._engine.submit(LeaveTopic(id=self._transport, stream=stream))
            else:
                self._join(stream, label)

    def listen(self, label: str, hear: Callable[[str], None] | None) -> None:
        """`hear(text)` gets what comes as text on channels of this label once they are in a topic; None ends it."""
        self._hears = (label, hear) if hear is not None else None

    def say(self, label: str, text: str, *, sender: str) -> None:
        """Sends a text on every open channel of this label, with the sender's name where the page asks for names."""
        for stream, known in self._labels.items():
            if known == label:
                said = f"{sender}\n{text}" if stream in self._named else text
                self._engine.submit(SendMessage(id=self._transport, stream=stream, payload=said.encode()))

    def handle(self, event: AnyEvent) -> None:
        """Takes the engine's events about the transport."""
        match event:
            case ChannelOpened(stream=stream, label=label, protocol=protocol):
                label = T140 if protocol == T140 else label
                self._labels[stream] = label
                if protocol == NAMED:
                    self._named.add(stream)
                self._join(stream, label)
            case ChannelClosed(stream=stream, reason=reason):
                label = self._labels.pop(stream, "")
                self._named.discard(stream)
                if reason not in ("peer", "commanded", "association"):
                    _log.info("data_channel_closed", transport=self._transport, label=label[:64], reason=reason)
            case ChannelMessage(stream=stream, text=True, payload=payload):
                if self._hears is not None and self._labels.get(stream) == self._hears[0]:
                    self._hears[1](payload.decode())
            case _:
                pass

    def _join(self, stream: int, label: str) -> None:
        if self._topics is None:
            return
        topic = self._topics.get(label)
        if topic is None:
            self._engine.submit(CloseChannel(id=self._transport, stream=stream))
            return
        report = self._hears is not None and self._hears[0] == label
        self._engine.submit(
            JoinTopic(
                id=self._transport,
                stream=stream,
                topic=topic,
                may_send=self._may_send,
                report=report,
                sender=self._sender,
            )
        )
