"""What a phone or a trunk may speak by the way to it: beyond an Edge media are encrypted, and go by that Edge."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from mediaserver.call.booking import BROWSER_PACKETS, SRTP_PACKETS
from mediaserver.call.media_addresses import MediaAddresses
from mediaserver.call.sip_legs import SipLegs
from mediaserver.call.sip_peer import SipPeer
from mediaserver.config.loader import load_text
from mediaserver.sdp.bandwidth import PLAIN
from mediaserver.sdp.description import Fingerprint
from mediaserver.sip.flow import Flow, Source, Transport
from mediaserver.sip.incoming import IncomingInvite
from mediaserver.sip.location import Binding
from mediaserver.sip.uri import SipUri

CONFIG = load_text("""
users: {anna: {secret: {env: ANNA}, srtp: never}}
trunks:
  plain: {target: 'sip:192.0.2.9', srtp: never}
  beyond: {target: 'sip:192.0.2.9', transport: tls, edge: true}
  heard: {target: 'sip:192.0.2.9', transport: tls, edge: true, srtp: never, allow_plain: true}
""").config
ANNA = CONFIG.users["anna"]
LEGS = SipLegs(
    engine=cast("Any", None),
    addresses=MediaAddresses({"192.0.2.1": "192.0.2.1"}),
    fingerprint=Fingerprint("sha-256", bytes(32)),
    media=CONFIG.media,
)


def phone(edge: str = "", transport: Transport = "tls") -> SipPeer:
    flow = Flow(transport, "192.0.2.1", 5061, "192.0.2.20", 40_000, 1, edge)
    contact = SipUri("192.0.2.20", "anna")
    return LEGS.phone("anna", ANNA, Binding("anna@example.org", contact, flow, 60.0, 1.0, "c", 1))


def caller(edge: str = "", *, trunk: str | None = None, transport: Transport = "tls") -> SipPeer:
    flow = Flow(transport, "192.0.2.1", 5061, "192.0.2.20", 40_000, 1, edge)
    source = Source(flow.remote_ip, flow.remote_port, transport)

    class Session:
        first_offer = b"v=0\r\n"

    user = None if trunk else "anna"
    incoming = IncomingInvite(cast("Any", Session()), cast("Any", None), source, flow, user, trunk)
    return LEGS.caller(incoming, user=None if trunk else ANNA, trunk=CONFIG.trunks[trunk] if trunk else None)


def test_a_phone_of_the_house_has_ports_of_ours_and_what_its_user_may() -> None:
    for peer in (phone(), caller()):
        assert (peer.edge, peer.policy.srtp, peer.user) == (None, "never", "anna")
        assert (peer.party.address, peer.party.packets) == ("192.0.2.20", PLAIN)


def test_a_phone_beyond_an_edge_has_ports_there_and_is_encrypted_whatever_its_user_may() -> None:
    for peer in (phone("dmz"), caller("dmz")):
        assert (peer.edge, peer.policy.srtp) == ("dmz", "require")
        assert peer.party.packets == SRTP_PACKETS
        assert replace(peer.policy, srtp="never") == phone().policy


def test_a_phone_in_a_page_encrypts_by_itself() -> None:
    peer = phone("dmz", "wss")
    assert (peer.browser, peer.policy.srtp, peer.party.packets) == (True, "never", BROWSER_PACKETS)


@pytest.mark.parametrize(("name", "edge", "srtp"), [("plain", None, "never"), ("heard", "", "never")])
def test_a_trunk_is_in_the_clear_where_the_file_says_so(name: str, edge: str | None, srtp: str) -> None:
    peer = LEGS.trunk(name, CONFIG.trunks[name], "pbx.test")
    assert (peer.edge, peer.policy.srtp, peer.trunk, peer.address) == (edge, srtp, name, "pbx.test")
    assert caller("dmz", trunk="heard").policy.srtp == "never"


def test_a_trunk_beyond_the_edges_is_encrypted_in_both_directions() -> None:
    dialled, came = LEGS.trunk("beyond", CONFIG.trunks["beyond"], "pbx.test"), caller("dmz", trunk="beyond")
    assert (dialled.edge, came.edge) == ("", "dmz")
    assert dialled.policy == came.policy
    assert came.policy.srtp == "require"
    assert CONFIG.trunks["beyond"].srtp != "require"
    assert came.party.trunk == "beyond"
