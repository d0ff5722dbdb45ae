"""Makes SIP legs by the configuration: what a phone or a trunk is offered, and where its media go."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from functools import lru_cache

from mediaserver.call.booking import BROWSER_PACKETS, SRTP_PACKETS, Party
from mediaserver.call.edge_ports import PortsBeyond
from mediaserver.call.events import Party as Role
from mediaserver.call.media_addresses import MediaAddresses
from mediaserver.call.sip_leg import SipLeg
from mediaserver.call.sip_media import SipMediaSettings
from mediaserver.call.sip_policy import SipPolicy
from mediaserver.call.sip_webrtc import SipWebRtcSettings
from mediaserver.config.sections import Media, Trunk, User
from mediaserver.engine.engine import Engine
from mediaserver.runtime.ids import new_id
from mediaserver.sdp.bandwidth import PLAIN
from mediaserver.sdp.codecs import PHONE_VIDEO_CODECS
from mediaserver.sdp.description import Fingerprint


class SipLegs:
    """`media` is the configuration in force; who reloads it sets it anew."""

    def __init__(self, *, engine: Engine, addresses: MediaAddresses, fingerprint: Fingerprint, media: Media) -> None:
        self._engine = engine
        self._addresses = addresses
        self._fingerprint = fingerprint
        self.media = media
        self.beyond: PortsBeyond | None = None
        """Opens ports at Edges; without it there are none."""

    def make(
        self,
        contact_id: str,
        name: str,
        party: Role,
        policy: SipPolicy,
        peer: str,
        *,
        browser: bool = False,
        edge: str | None = None,
    ) -> SipLeg:
        """A leg towards `peer`, an address or the name of a trunk's host; `browser` is a phone in a web page. Its media go
        by the Edge of the name `edge`, by any for an empty one, by none for None."""
        return SipLeg(
            leg_id=new_id(),
            contact_id=contact_id,
            name=name,
            party=party,
            engine=self._engine,
            policy=policy,
            settings=SipWebRtcSettings(self._fingerprint, policy.audio_codecs, policy.video_codecs)
            if browser
            else self._media_settings(policy, _ip_or_any(peer), edge),
        )

    def user_policy(self, user: User | None, *, browser: bool = False) -> SipPolicy:
        """What a user's phone may speak, or that of somebody who is none."""
        media = self.media
        picture = tuple(codec for codec in media.video_codecs if browser or codec in PHONE_VIDEO_CODECS)
        srtp, keys = (user.srtp, user.srtp_keys) if user else ("prefer", "sdes")
        return SipPolicy(media.audio_codecs, picture, srtp, srtp_keys=keys, offers_text=media.offer_text)

    def trunk_policy(self, trunk: Trunk) -> SipPolicy:
        """What a trunk may speak."""
        media = self.media
        return SipPolicy(
            media.accepted_audio(trunk.audio_codecs),
            media.accepted_video(trunk.video_codecs),
            trunk.srtp,
            trunk.audio_transcode,
            trunk.hold_signalled,
            srtp_keys=trunk.srtp_keys,
            offers_text=trunk.offer_text,
        )

    def _media_settings(self, policy: SipPolicy, peer_ip: str, edge: str | None) -> SipMediaSettings:
        bind, announced = self._addresses.towards(peer_ip)
        at_edge = self.beyond.by(edge, peer_ip) if self.beyond is not None and edge is not None else None
        if at_edge is not None:
            announced = at_edge.announced_ip
        media = self.media
        return SipMediaSettings(
            bind_ip=bind,
            announced_ip=announced,
            latching_ms=int(media.latching_window * 1000),
            timeout_ms=int(media.rtp_timeout * 1000),
            srtp_keys=policy.srtp_keys,
            at_edge=at_edge,
            fingerprint=self._fingerprint,
        )


def beyond_edge(policy: SipPolicy, trunk: Trunk | None = None) -> SipPolicy:
    """The same where media go by an Edge: encrypted, unless the trunk's line of the file lets the Edge hear them."""
    return policy if trunk is not None and trunk.allow_plain else replace(policy, srtp="require")


def party_of(
    policy: SipPolicy, address: str, *, trunk: str | None = None, user: str | None = None, browser: bool = False
) -> Party:
    """Whose media they are, for admission control."""
    packets = BROWSER_PACKETS if browser else PLAIN if policy.srtp == "never" else SRTP_PACKETS
    return Party(address=address, trunk=trunk, user=user, packets=packets)


@lru_cache(maxsize=1024)
def _ip_or_any(host: str) -> str:
    """The address of a peer given as a literal; a name is looked up later, so any route serves until then."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return "0.0.0.0"
