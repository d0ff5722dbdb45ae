"""What the resources of the public side share: where a request comes from, whether the daemon takes new work."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Literal

from aiohttp import web

from mediaserver.api.origins import Origins
from mediaserver.api.problem import Problem


@dataclass(frozen=True, slots=True)
class EntryAccess:
    """An entry as the web side sees it: who may come in by it, and what the page shows."""

    name: str
    title: str
    origins: Origins = field(default_factory=Origins)
    """Origins of pages that may use it."""
    video: Literal["two-way", "agent-only", "none"] = "two-way"
    identity_required: bool = False
    """Whether callers must bring a token of the house's site."""
    consent_version: str = "1"
    """Version of the text a caller agrees to before the camera is shown."""
    consent_text: str = ""
    """That text; empty takes the page's own."""


class SourceResolver:
    """Finds a request's source address; believes `X-Forwarded-For` only from proxies that are ours."""

    def __init__(self, trusted_proxies: Iterable[str] = ()) -> None:
        """`trusted_proxies` are CIDRs."""
        self._trusted = tuple(ip_network(network) for network in trusted_proxies)

    def __call__(self, request: web.BaseRequest) -> str:
        """An IP address as text; the last hop that is not one of our proxies."""
        source = request.remote or "0.0.0.0"
        if not self._trusted:
            return source
        hops = [hop.strip() for hop in ",".join(request.headers.getall("X-Forwarded-For", [])).split(",")]
        while self._is_trusted(source) and hops:
            hop = hops.pop()
            try:
                source = str(ip_address(hop))
            except ValueError:
                break
        return source

    def _is_trusted(self, address: str) -> bool:
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        return any(parsed.version == network.version and parsed in network for network in self._trusted)


class Admission:
    """Whether new sessions are taken: the switch that draining turns."""

    def __init__(self, *, retry_after_s: float = 30.0) -> None:
        self.draining = False
        self.retry_after_s = retry_after_s

    def drain(self) -> None:
        """Take no new sessions from now on; those that exist go on."""
        self.draining = True

    def require_open(self) -> None:
        """Raises 503 with Retry-After while draining."""
        if self.draining:
            raise Problem(
                503,
                "draining",
                "The server is being stopped or upgraded and takes no new sessions; please try again shortly.",
                headers={"Retry-After": str(max(1, round(self.retry_after_s)))},
            )
