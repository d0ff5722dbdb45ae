"""Capture: copies of all SIP messages for a monitoring server."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mediaserver.config.base import SecretRef, Section
from mediaserver.config.values import Bind


class Capture(Section):
    """See `Config.capture`."""

    to: Bind | None = None
    """Address and port of the server, like 192.0.2.60:9060; null sends none."""

    agent: Annotated[int, Field(ge=0, le=4_294_967_295)] = 2001
    """The number by which the server knows this daemon (capture agent id)."""

    key: SecretRef | None = None
    """What the server asks for before it takes copies; null sends none."""
