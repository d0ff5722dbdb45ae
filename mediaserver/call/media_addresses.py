"""Which local address the media of a SIP leg uses, and what the phone is told in its place."""

from __future__ import annotations

from collections.abc import Mapping

from mediaserver.runtime.interfaces import address_towards


class MediaAddresses:
    """`announced` maps every address that media may be bound to, to the one that peers see (1:1 NAT)."""

    def __init__(self, announced: Mapping[str, str]) -> None:
        if not announced:
            raise ValueError("at least one address is needed for media")
        self._announced = dict(announced)

    def towards(self, peer_ip: str) -> tuple[str, str]:
        """(bind, announced) for a peer: the address the system routes by, else the first of the peer's family."""
        same_family = [ip for ip in self._announced if (":" in ip) == (":" in peer_ip)]
        bind = (same_family or list(self._announced))[0]
        if len(same_family) > 1:
            routed = address_towards(peer_ip)
            bind = routed if routed in same_family else bind
        return bind, self._announced[bind]
