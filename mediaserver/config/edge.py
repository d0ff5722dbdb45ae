"""The section about an Edge: what phones and trunks find there beside the pages of `listeners`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mediaserver.config.base import Name, Section
from mediaserver.config.values import Ports


class Edge(Section):
    """Of an Edge: the way in for phones and trunks, and out to them. Signalling goes by TLS that the Core ends, never in
    the clear."""

    networks: tuple[Name, ...] = ("main",)
    """Networks on whose addresses phones and trunks come in."""

    sip_tls: Annotated[int, Field(ge=1, le=65_535)] | None = None
    """Port for SIP over TLS, mostly 5061; what comes passes through to the Core. null opens none."""

    dial_trunks: bool = False
    """Open TCP connections to trunks for the Core, which names their addresses (`trunks.NAME.edge`) and speaks TLS over
    them."""

    sip_media_ports: Ports | None = None
    """UDP ports for media of phones and trunks, like 20000-20999, opened two at a time for the calls of the Core; null
    opens none."""
