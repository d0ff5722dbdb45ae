"""The section of bounds."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from mediaserver.config.base import Section
from mediaserver.config.values import Duration, DurationOrNone, Rate, Size

MAX_ATTRIBUTES: Final = 1000
"""Most attributes that `limits.attributes` may allow; the session's message model has no room for more."""

MAX_ATTRIBUTE_BYTES: Final = 16 * 1024
"""Longest attribute that `limits.attribute_size` may allow."""


class Limits(Section):
    """Bounds of everything that can grow; what goes over one is refused and counted by its name."""

    contacts: Annotated[int, Field(ge=1)] = 500
    """Contacts at a time."""

    contacts_per_source: Annotated[int, Field(ge=1)] = 10
    """Contacts at a time from one address (IPv6: one /64)."""

    calls: Annotated[int, Field(ge=1)] = 500
    """Calls at a time, SIP to SIP included."""

    call_duration: Duration = 4 * 3600.0
    """Longest call."""

    ring_duration: Duration = 60.0
    """How long a phone rings before the call counts as not answered."""

    sessions: Annotated[int, Field(ge=1)] = 2000
    """WebSocket sessions at a time."""

    sessions_per_source: Annotated[int, Field(ge=1)] = 20
    """WebSocket sessions at a time from one address (IPv6: one /64)."""

    session_resume: DurationOrNone = 30.0
    """How long a session that lost its connection can be resumed."""

    session_message: Size = 64 * 1024
    """Longest message on a WebSocket session."""

    session_messages: Rate = 50.0
    """Messages on one WebSocket session; a burst of twice as many is allowed."""

    attributes: Annotated[int, Field(ge=0, le=MAX_ATTRIBUTES)] = 32
    """Attributes that a caller's page may give a contact, and as many that a token of the house's site may."""

    attribute_size: Annotated[Size, Field(le=MAX_ATTRIBUTE_BYTES)] = 1024
    """Longest attribute in UTF-8, name and value together; at most 16 KiB."""

    http_body: Size = 256 * 1024
    """Longest body of an HTTP request."""

    http_requests_per_source: Rate = 50.0
    """HTTP requests from one address; a burst of twice as many is allowed."""

    sign_in_failures_per_source: Rate = 10 / 60
    """Failed sign-ins from one address, and failed SIP authentications; ten at once are forgiven, then it is put off."""

    line_tests: Annotated[int, Field(ge=0, le=1000)] = 20
    """Pages at a time that test their line before a call; each may take 2.6 Mbit/s both ways for some seconds. 0 switches
    the tests off."""

    turn_allocations: Annotated[int, Field(ge=1, le=60_000)] = 2000
    """TURN allocations at a time, ports that are kept for one included."""

    turn_allocations_per_session: Annotated[int, Field(ge=1)] = 16
    """The same of one session, or of one user of an open relay: a page makes one for each of its addresses, and new ones
    when it finds a new way."""

    turn_answers_per_source: Annotated[Rate, Field(ge=1)] = 500.0
    """TURN answers to one network (IPv4 /24, IPv6 /56) whose senders have proven nothing: each client's first ones."""

    edge_paths: Annotated[int, Field(ge=1, le=65_536)] = 65_536
    """Addresses of visitors that one thread of an Edge (`link.workers`) knows at a time."""

    edge_paths_per_source: Annotated[int, Field(ge=1, le=65_535)] = 64
    """Of those that have not answered yet, from one network (IPv4 /24, IPv6 /56)."""

    stream_connections: Annotated[int, Field(ge=1, le=1_000_000)] = 8192
    """TCP connections at a time of media (ICE-TCP), TURN and the shared TLS port; of an Edge those of phones, too."""

    stream_connections_per_source: Annotated[int, Field(ge=1, le=65_535)] = 64
    """Of those that have not proven to belong here yet, from one network (IPv4 /24, IPv6 /56)."""

    rooms: Annotated[int, Field(ge=1)] = 200
    """Rooms at a time."""

    publishers_per_room: Annotated[int, Field(ge=1)] = 50
    """Publishers in one room."""

    viewers_per_room: Annotated[int, Field(ge=1)] = 500
    """Viewers of one room."""

    participants_per_room: Annotated[int, Field(ge=1)] = 100
    """Participants of one room: those who joined by a WebSocket session, to see and to be seen, and phones."""

    phones_per_room: Annotated[int, Field(ge=0, le=40)] = 20
    """Phones in one room, which hear it as one sound; `mixed_legs` bounds those of all rooms and conferences."""

    room_sessions_per_source: Rate = 5.0
    """WHIP and WHEP sessions that one address may open; a burst of ten times as many is allowed."""

    sip_message: Size = 64 * 1024
    """Longest SIP message."""

    sip_connections: Annotated[int, Field(ge=1)] = 2000
    """SIP connections over TCP and TLS at a time."""

    sip_connections_per_source: Annotated[int, Field(ge=1)] = 100
    """SIP connections at a time from one address."""

    sip_connection_idle: Duration = 300.0
    """Silence after which a SIP connection without a registration is closed."""

    sip_transactions: Annotated[int, Field(ge=1)] = 20000
    """SIP transactions at a time."""

    sip_bindings_per_user: Annotated[int, Field(ge=1)] = 10
    """Phones that one user can register at a time."""

    handshake: Duration = 10.0
    """Longest TLS handshake of HTTPS and SIP, and longest time for one SIP message over TCP or TLS to arrive whole."""

    transports: Annotated[int, Field(ge=1)] = 5000
    """Media transports at a time on one shard."""

    tracks_per_transport: Annotated[int, Field(ge=1, le=256)] = 32
    """Tracks of one media transport, each direction."""

    transcodes: Annotated[int, Field(ge=0)] = 100
    """Directions of sound that are decoded and encoded at a time; a call between two codecs takes two."""

    mixed_legs: Annotated[int, Field(ge=0)] = 100
    """Legs that hear several others mixed at a time; a call of three parties takes three."""

    unknown_ssrcs: Annotated[int, Field(ge=0, le=256)] = 16
    """SSRCs that one transport may send before signalling has named them."""

    records_waiting: Annotated[int, Field(ge=1)] = 1000
    """Finished contacts that wait to be written."""
