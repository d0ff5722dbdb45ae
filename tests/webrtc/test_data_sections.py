"""m=application in a negotiation: taken once where the policy allows it, else refused in its place."""

from __future__ import annotations

import pytest

from mediaserver.errors import NegotiationError
from mediaserver.sdp.data import DataParameters
from mediaserver.sdp.description import Fingerprint
from mediaserver.sdp.parser import parse
from mediaserver.webrtc.negotiation import LocalIceParams, MediaPolicy, Negotiation

TRANSPORT = """a=ice-ufrag:abcd
a=ice-pwd:aaaaaaaaaaaaaaaaaaaaaaaa
a=fingerprint:sha-256 {fingerprint}
a=setup:actpass
""".format(fingerprint=":".join(["AB"] * 32))

AUDIO = f"""m=audio 9 UDP/TLS/RTP/SAVPF 111
c=IN IP4 0.0.0.0
a=mid:0
a=rtcp-mux
a=rtpmap:111 opus/48000/2
{TRANSPORT}"""

DATA = f"""m=application 9 UDP/DTLS/SCTP webrtc-datachannel
c=IN IP4 0.0.0.0
a=mid:%s
a=sctp-port:5000
a=max-message-size:262144
{TRANSPORT}"""


def offer(*sections: str, mids: str) -> str:
    text = f"v=0\no=- 1 1 IN IP4 127.0.0.1\ns=-\nt=0 0\na=group:BUNDLE {mids}\n" + "".join(sections)
    return text.replace("\n", "\r\n")


def server(*, data: bool) -> Negotiation:
    local = LocalIceParams("ours", "p" * 24, (("127.0.0.1", 9),), Fingerprint("sha-256", bytes(range(32))))
    return Negotiation(local, MediaPolicy(data=data), cname="server")


def test_data_beside_sound_is_answered_in_the_bundle() -> None:
    negotiation = server(data=True)
    changes = negotiation.handle_offer(offer(AUDIO, DATA % "1", mids="0 1"))
    assert changes.added == ("0", "1")
    assert negotiation.section("1").data == DataParameters(5000, 262144)
    answer = parse(negotiation.create_answer())
    assert answer.bundled == ("0", "1")
    section = answer.media[1]
    assert (section.kind, section.protocol, section.formats) == (
        "application",
        "UDP/DTLS/SCTP",
        ("webrtc-datachannel",),
    )
    assert (section.attribute("sctp-port"), section.attribute("max-message-size")) == ("5000", "65536")
    assert section.port != 0
    assert not section.rtcp_mux
    assert not section.ssrcs


def test_data_alone_is_enough() -> None:
    negotiation = server(data=True)
    negotiation.handle_offer(offer(DATA % "0", mids="0"))
    answer = parse(negotiation.create_answer())
    assert answer.media[0].candidates
    assert answer.media[0].setup == "passive"


def test_a_second_data_section_is_refused() -> None:
    negotiation = server(data=True)
    negotiation.handle_offer(offer(DATA % "0", DATA % "1", mids="0 1"))
    assert [media.port == 0 for media in parse(negotiation.create_answer()).media] == [False, True]


def test_without_permission_it_is_refused_in_its_place() -> None:
    negotiation = server(data=False)
    negotiation.handle_offer(offer(AUDIO, DATA % "1", mids="0 1"))
    answer = parse(negotiation.create_answer())
    assert [media.port == 0 for media in answer.media] == [False, True]
    assert answer.bundled == ("0",)
    with pytest.raises(NegotiationError):
        server(data=False).handle_offer(offer(DATA % "0", mids="0"))


def test_data_stays_through_our_own_offer() -> None:
    negotiation = server(data=True)
    negotiation.handle_offer(offer(AUDIO, DATA % "1", mids="0 1"))
    negotiation.create_answer()
    ours = parse(negotiation.create_offer())
    assert ours.media[1].attribute("sctp-port") == "5000"
    answer = offer(AUDIO, DATA % "1", mids="0 1").replace("actpass", "active")
    changes = negotiation.handle_answer(answer)
    assert (changes.removed, changes.codecs) == ((), ())
    assert negotiation.section("1").data == DataParameters(5000, 262144)
