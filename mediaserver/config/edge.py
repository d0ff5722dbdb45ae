"""The section about an Edge: who ends the TLS of its visitors, and who stands before it."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from mediaserver.config.base import Section
from mediaserver.config.listeners import Certificate
from mediaserver.config.values import Cidr


class Edge(Section):
    """Of an Edge: what it does with the TLS of visitors."""

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

    @model_validator(mode="after")
    def _ends_with_a_certificate(self) -> Self:
        if self.tls == "terminate" and self.certificate.chain_file is None:
            raise ValueError("tls: terminate needs a certificate for the pages: give certificate, or tls: pass")
        if self.tls == "pass" and self.certificate.chain_file is not None:
            raise ValueError("a certificate for the pages is for tls: terminate alone: leave it out here")
        return self
