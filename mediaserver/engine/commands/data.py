"""Commands about data channels, their topics, and phones' real-time text."""

from __future__ import annotations

import msgspec

from mediaserver.engine.commands.command import Command


class AcceptData(Command, frozen=True, kw_only=True, tag="accept_data"):
    """A WebRTC transport has agreed on data channels (RFC 8831). Only the first one counts: the association stays.

    A channel takes messages of 64 KiB; beyond 16 channels, and with more than 256 KiB waiting on one of them or
    512 KiB on all, an unreliable channel loses messages and a reliable one is closed."""

    local_port: int = 5000
    remote_port: int = 5000
    remote_message_bytes: int = 65_536
    """The peer's `a=max-message-size`; 0 means any."""
    messages_per_second: int = 100
    """What the peer may send over all its channels; twice as many may come at once. The rest is dropped and counted."""
    bytes_per_second: int = 524_288


class OpenChannel(Command, frozen=True, kw_only=True, tag="open_channel"):
    """Open a data channel from our side; `ChannelOpened` follows when the peer has it."""

    label: str
    protocol: str = ""
    ordered: bool = True
    max_retransmits: int | None = None
    max_lifetime_ms: int | None = None
    """Not together with `max_retransmits`; with neither the channel is reliable."""
    negotiated: int | None = None
    """The stream that both sides agreed on elsewhere; None opens the channel in band (RFC 8832)."""


class CloseChannel(Command, frozen=True, kw_only=True, tag="close_channel"):
    """Close a data channel of the transport `id`; `ChannelClosed` follows."""

    stream: int


class JoinTopic(Command, frozen=True, kw_only=True, tag="join_topic"):
    """Put a data channel of the transport `id` into a topic, in place of the one it was in.

    What it sends goes to every other channel of the topic, on whichever shard. What it sent before it was in any
    topic follows now, in order. Where nobody else is in the topic yet, the messages of a reliable channel wait for the
    first who comes. 256 messages and 256 KiB of a channel are held, 512 KiB of a transport, for 20 s."""

    stream: int
    topic: int
    """Any id (`Engine.new_id`) that names no other topic; it is there as long as somebody is in it."""
    may_send: bool = True
    may_receive: bool = True
    report: bool = False
    """Its messages come as `ChannelMessage`, too."""
    sender: str = ""
    """Whom its messages are from, at most 128 bytes of one line. A channel that was opened with the protocol
    `mediaserver.named` gets each message as `SENDER\\nMESSAGE`; others get the message alone."""


class LeaveTopic(Command, frozen=True, kw_only=True, tag="leave_topic"):
    """Take a data channel of the transport `id` out of its topic."""

    stream: int


class TextFormat(msgspec.Struct, frozen=True, kw_only=True):
    """Payload types of one direction of real-time text: `t140/1000`, and `red/1000` of it where it is agreed on."""

    t140: int
    red: int | None = None


class OpenText(Command, frozen=True, kw_only=True, tag="open_text"):
    """Carry real-time text (RFC 4103) on an RTP transport without tracks, or under other formats from now on.

    It is one data channel on stream 0, open at once and without `ChannelOpened`, which `JoinTopic` puts into a topic.
    Lost text comes as U+FFFD; 8 KiB wait for the phone, and what is written beyond them is lost, counted and marked."""

    ssrc: int
    cname: str
    receive: TextFormat
    send: TextFormat | None
    """The phone's formats; None while nothing may be sent, and then it waits."""
    characters_per_second: int = 30
    """The phone's `cps`: a mean over ten seconds (RFC 4103 §6)."""


class SendMessage(Command, frozen=True, kw_only=True, tag="send_message"):
    """Send on one data channel of the transport `id`; text is UTF-8."""

    stream: int
    text: bool = True
    payload: bytes


class Publish(Command, frozen=True, kw_only=True, tag="publish"):
    """Send to every channel of the topic `id`; text is UTF-8."""

    text: bool = True
    payload: bytes
