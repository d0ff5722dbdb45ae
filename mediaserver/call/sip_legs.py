"""Makes SIP legs by the configuration: what a phone or a trunk is offered, and where its media go."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

from mediaserver.call.booking import BROWSER_PACKETS, SRTP_PACKETS, Party
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

    def make(
        self, contact_id: str, name: str, party: Role, policy: SipPolicy, peer: str, *, browser: bool = False
    ) -> SipLeg:
        """A leg towards `peer`, an address or the name of a trunk's host; `browser` is a phone in a web page."""
        return SipLeg(
            leg_id=new_id(),
            contact_id=contact_id,
            name=name,
            party=party,
            engine=self._engine,
            policy=policy,
            settings=SipWebRtcSettings(self._fingerprint, policy.audio_codecs, policy.video_codecs)
            if browser
            else self._media_settings(policy, _ip_or_any(peer)),
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

    def _media_settings(self, policy: SipPolicy, peer_ip: str) -> SipMediaSettings:
        bind, announced = self._addresses.towards(peer_ip)
        media = self.media
        return SipMediaSettings(
            bind_ip=bind,
            announced_ip=announced,
            latching_ms=int(media.latching_window * 1000),
            timeout_ms=int(media.rtp_timeout * 1000),
            srtp_keys=policy.srtp_keys,
            fingerprint=self._fingerprint,
        )


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
