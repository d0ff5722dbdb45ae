"""Who is at the other end of a SIP leg, as far as its media depend on that."""

from __future__ import annotations

from dataclasses import dataclass

from mediaserver.call.booking import BROWSER_PACKETS, SRTP_PACKETS, Party
from mediaserver.call.sip_policy import SipPolicy
from mediaserver.sdp.bandwidth import PLAIN


@dataclass(frozen=True, slots=True, kw_only=True)
class SipPeer:
    """A phone or a trunk, and the way to it."""

    policy: SipPolicy
    """What it may speak."""
    address: str
    """Its own, or the name of a trunk's host."""
    user: str | None = None
    trunk: str | None = None
    browser: bool = False
    """A phone in a web page."""
    edge: str | None = None
    """Media go by the Edge of this name, by any for an empty one, by none for None."""

    @property
    def party(self) -> Party:
        """Whose media they are, for admission control."""
        packets = BROWSER_PACKETS if self.browser else PLAIN if self.policy.srtp == "never" else SRTP_PACKETS
        return Party(address=self.address, trunk=self.trunk, user=self.user, packets=packets)
