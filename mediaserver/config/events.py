"""Events: how long they are kept, and to whom they are told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from mediaserver.config.base import Name, SecretRef, Section
from mediaserver.config.values import Duration

EventType = Annotated[str, Field(pattern=r"^(\*|[a-z]+\.(\*|[a-z_]+))$")]
"""`call.answered`, all of a kind as `call.*`, or all as `*`."""


class EventWebhook(Section):
    """A service of the house that is told what happens; the key of the map is its name.

    It gets a POST with `{type, timestamp, data, cursor}` as JSON, signed after Standard Webhooks, and answers with any 2xx.
    Those of one contact come in order, each after the one before was taken.
    """

    url: Annotated[str, Field(pattern=r"^https?://[^\s]+$")]
    """Where it is told."""

    secrets: Annotated[tuple[SecretRef, ...], Field(min_length=1, max_length=4)]
    """Keys of the signatures in `webhook-signature` (HMAC-SHA256). To change one, write the new one first and the old one
    behind it until the service knows the new one."""

    types: Annotated[tuple[EventType, ...], Field(min_length=1)] = ("*",)
    """What it is told: `call.answered`, all of a kind as `call.*`, or all as `*`."""

    timeout: Duration = 10.0
    """How long an answer is waited for."""

    parallel: Annotated[int, Field(ge=1, le=100)] = 8
    """Requests at a time, each about another contact."""

    give_up_after: Duration = 24 * 3600.0
    """How long one event is tried again, after 1 s at first and then after ever longer; it is counted as dead then, and
    the next of its contact follows."""

    backlog: Annotated[int, Field(ge=1, le=10_000_000)] = 100_000
    """Events that may wait for it; beyond, new ones are counted as dead at once."""

    allow_private: bool = False
    """Whether its address may be one of this machine or of a private network (RFC 6890); without, such a one is never
    asked, whatever its name resolves to."""


class Events(Section):
    """What happens to contacts and calls, for `/v1/events` and webhooks."""

    keep: Duration = 24 * 3600.0
    """How long events can be read again; who was away for longer is told so."""

    most: Annotated[int, Field(ge=1_000, le=100_000_000)] = 100_000
    """Events that can be read again."""

    webhooks: Mapping[Name, EventWebhook] = {}
    """Services that are told, by name."""
