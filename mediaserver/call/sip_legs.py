"""Makes SIP legs by the configuration: what a phone or a trunk is offered, and where its media go."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from functools import lru_cache

from mediaserver.call.edge_ports import PortsBeyond
from mediaserver.call.events import Party as Role
from mediaserver.call.media_addresses import MediaAddresses
from mediaserver.call.sip_leg import SipLeg
from mediaserver.call.sip_media import SipMediaSettings
from mediaserver.call.sip_peer import SipPeer
from mediaserver.call.sip_policy import SipPolicy
from mediaserver.call.sip_webrtc import SipWebRtcSettings, is_webrtc
from mediaserver.config.sections import Media, Trunk, User
from mediaserver.engine.engine import Engine
from mediaserver.runtime.ids import new_id
from mediaserver.sdp.codecs import PHONE_VIDEO_CODECS
from mediaserver.sdp.description import Fingerprint
from mediaserver.sip.flow import WEBSOCKET
from mediaserver.sip.incoming import IncomingInvite
from mediaserver.sip.location import Binding


class SipLegs:
    """`media` is the configuration in force; who reloads it sets it anew."""

    def __init__(self, *, engine: Engine, addresses: MediaAddresses, fingerprint: Fingerprint, media: Media) -> None:
        self._engine = engine
        self._addresses = addresses
        self._fingerprint = fingerprint
        self.media = media
        self.beyond: PortsBeyond | None = None
        """Opens ports at Edges; without it there are none."""

    def make(self, contact_id: str, name: str, role: Role, peer: SipPeer) -> SipLeg:
        """A leg towards `peer`."""
        policy = peer.policy
        return SipLeg(
            leg_id=new_id(),
            contact_id=contact_id,
            name=name,
            party=role,
            engine=self._engine,
            policy=policy,
            settings=SipWebRtcSettings(self._fingerprint, policy.audio_codecs, policy.video_codecs)
            if peer.browser
            else self._media_settings(policy, _ip_or_any(peer.address), peer.edge),
        )

    def caller(self, incoming: IncomingInvite, *, user: User | None, trunk: Trunk | None) -> SipPeer:
        """Who sent an INVITE: a trunk, a user's phone, or that of somebody who is none."""
        browser = is_webrtc(incoming.body, incoming.source.transport)
        peer = SipPeer(
            policy=self._trunk_policy(trunk) if trunk else self._user_policy(user, browser=browser),
            address=incoming.source.ip,
            user=incoming.authenticated_user,
            trunk=incoming.trunk,
            browser=browser,
            edge=incoming.flow.edge or None,
        )
        return _encrypted_beyond(peer, trunk)

    def phone(self, name: str, user: User, binding: Binding) -> SipPeer:
        """A phone of the user of this name."""
        flow = binding.flow
        # A proxy may stand between a browser and us: then only the Contact tells (RFC 7118 §5.2).
        browser = flow.is_websocket or binding.contact.transport in WEBSOCKET
        peer = SipPeer(
            policy=self._user_policy(user, browser=browser),
            address=flow.remote_ip,
            user=name,
            browser=browser,
            edge=flow.edge or None,
        )
        return _encrypted_beyond(peer)

    def trunk(self, name: str, trunk: Trunk, host: str) -> SipPeer:
        """The trunk of this name, by one of its hosts."""
        peer = SipPeer(policy=self._trunk_policy(trunk), address=host, trunk=name, edge="" if trunk.edge else None)
        return _encrypted_beyond(peer, trunk)

    def _user_policy(self, user: User | None, *, browser: bool) -> SipPolicy:
        media = self.media
        picture = tuple(codec for codec in media.video_codecs if browser or codec in PHONE_VIDEO_CODECS)
        srtp, keys = (user.srtp, user.srtp_keys) if user else ("prefer", "sdes")
        return SipPolicy(media.audio_codecs, picture, srtp, srtp_keys=keys, offers_text=media.offer_text)

    def _trunk_policy(self, trunk: Trunk) -> SipPolicy:
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


def _encrypted_beyond(peer: SipPeer, trunk: Trunk | None = None) -> SipPeer:
    """The same; where media go by an Edge they are encrypted, unless the trunk's line of the file lets the Edge hear them.

    A browser encrypts anyway, and none of its media go by these ports.
    """
    if peer.edge is None or peer.browser or (trunk is not None and trunk.allow_plain):
        return peer
    return replace(peer, policy=replace(peer.policy, srtp="require"))


@lru_cache(maxsize=1024)
def _ip_or_any(host: str) -> str:
    """The address of a peer given as a literal; a name is looked up later, so any route serves until then."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return "0.0.0.0"
