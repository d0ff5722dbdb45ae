"""The section about an Edge: who ends the TLS of its visitors, who stands before it, and what is there for phones."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from mediaserver.config.base import Name, Section
from mediaserver.config.listeners import Certificate
from mediaserver.config.values import Cidr, Ports


class Edge(Section):
    """Of an Edge: what it does with the TLS of pages, and the way in and out for phones and trunks. Their signalling goes by
    TLS that the Core ends, never in the clear."""

    tls: Literal["pass", "terminate"] = "pass"
    """pass: TLS of pages goes to the Core as it came, and this machine cannot read it. terminate: it ends here, for a house
    whose proxy or inspection in the DMZ has to see it; whoever takes this machine, or that proxy, can then change what
    visitors and Core say, so both have to be trusted like the Core. The Core agrees by `link.edges.NAME.tls`."""

    certificate: Certificate = Certificate()
    """With `tls: terminate`: what visitors of a page are shown. Of the names of `listeners.shared_tls` those that it covers
    end here; others pass through."""

    trusted_proxies: tuple[Cidr, ...] = ()
    """Proxies before this Edge, whose connections to the shared TLS port begin with a header of the PROXY protocol (version
    2): the visitor's address is believed that it names. One without the header is closed. Empty believes nobody."""

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

    @model_validator(mode="after")
    def _ends_with_a_certificate(self) -> Self:
        if self.tls == "terminate" and self.certificate.chain_file is None:
            raise ValueError("tls: terminate needs a certificate for the pages: give certificate, or tls: pass")
        if self.tls == "pass" and self.certificate.chain_file is not None:
            raise ValueError("a certificate for the pages is for tls: terminate alone: leave it out here")
        return self
