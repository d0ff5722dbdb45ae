"""The media of a SIP client in a browser: offers and answers over one transport, and what is in force when."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mediaserver.call.leg import Codecs
from mediaserver.call.sip_webrtc import SipWebRtc, SipWebRtcSettings, is_webrtc
from mediaserver.engine.commands import AddDownTrack, AddUpTrack, Kind, SetIceRemote, UpdateDownTrack
from mediaserver.engine.events import AnyEvent, TransportClosed
from mediaserver.errors import NegotiationError
from mediaserver.sdp.codecs import KNOWN, is_media
from mediaserver.sdp.description import Direction, Fingerprint, SdpError, SessionDescription
from mediaserver.sdp.parser import parse
from mediaserver.sdp.serializer import serialize
from mediaserver.webrtc.negotiation import Negotiation
from mediaserver.webrtc.section import LocalIceParams, MediaPolicy
from tests.call.fakes import FakeEngine

FINGERPRINT = Fingerprint("sha-256", b"\xab" * 32)
SETTINGS = SipWebRtcSettings(FINGERPRINT, ("opus", "G722", "PCMU", "PCMA"), ("H264", "VP8"))
CHROMIUM = (Path(__file__).parents[1] / "data" / "sdp" / "chromium_sendrecv.sdp").read_text()
PHONE: Codecs = {"audio": (KNOWN["PCMU"],)}
BOTH: Codecs = {"audio": (KNOWN["opus"], KNOWN["PCMU"]), "video": (KNOWN["VP8"],)}


class Client:
    """The media of one leg, and the browser at its other end."""

    def __init__(self) -> None:
        self.engine = FakeEngine()
        self.events: list[tuple[Kind, AnyEvent]] = []
        self.media = SipWebRtc(
            engine=self.engine,  # type: ignore[arg-type]
            settings=SETTINGS,
            cname="c",
            on_event=lambda kind, event: self.events.append((kind, event)),
        )
        self.browser = Negotiation(
            LocalIceParams("theirs", "t" * 24, (("127.0.0.1", 9),), Fingerprint("sha-256", b"\xcd" * 32)),
            MediaPolicy(audio=("opus", "PCMU"), video=("VP8",)),
            cname="b",
        )

    async def answer(self, offer: str | SessionDescription, wanted: Codecs) -> SessionDescription:
        offer = parse(offer) if isinstance(offer, str) else offer
        return parse((await self.media.answer(offer, wanted, srtp_required=False, srtp_allowed=True)).decode())

    async def offered(self, wanted: Codecs) -> SessionDescription:
        """Our offer, answered by the browser."""
        offer = await self.media.offer(wanted, srtp=False)
        self.browser.handle_offer(offer.decode())
        # A browser is no lite agent, and takes the part that we leave it.
        self.media.accept_answer(self.browser.create_answer().replace("a=ice-lite\r\n", "").encode())
        return parse(offer.decode())


def names(description: SessionDescription, index: int = 0) -> list[str]:
    return [codec.name for codec in description.media[index].codecs if is_media(codec)]


async def test_an_answer_puts_the_phones_codec_first_and_counts_it_alone() -> None:
    client = Client()
    answer = await client.answer(CHROMIUM, PHONE)
    assert client.media.agreed == {}
    assert client.engine.of(SetIceRemote) == []
    client.media.commit()
    audio, video = answer.media[:2]
    assert names(answer)[0] == "PCMU"
    assert "opus" in names(answer)
    assert (audio.protocol, audio.setup, video.port) == ("UDP/TLS/RTP/SAVPF", "passive", 0)
    assert [codec.name for codec in client.media.agreed["audio"].send] == ["PCMU"]
    assert set(client.media.media) == {"audio"}
    assert client.engine.of(SetIceRemote)[0].dtls_role == "server"
    assert client.engine.of(AddUpTrack)[0].payloads[0].codec == "PCMU"


async def test_an_answer_that_came_to_nothing_leaves_all_as_it_was() -> None:
    client = Client()
    await client.answer(CHROMIUM, PHONE)
    client.media.commit()
    before, sent = client.media.agreed, len(client.engine.sent)
    held = CHROMIUM.replace("a=sendrecv", "a=inactive")
    assert (await client.answer(held, PHONE)).media[0].direction is Direction.INACTIVE
    client.media.drop()
    assert client.media.agreed == before
    assert len(client.engine.sent) == sent
    with pytest.raises(NegotiationError):
        client.media.commit()


async def test_a_hold_stops_what_we_send_and_resume_starts_it_again() -> None:
    client = Client()
    for direction in ("sendrecv", "inactive", "sendrecv"):
        await client.answer(CHROMIUM.replace("a=sendrecv", f"a={direction}"), PHONE)
        client.media.commit()
    assert [command.active for command in client.engine.of(UpdateDownTrack)] == [False, True]
    assert len(client.engine.of(AddDownTrack)) == 1
    assert client.media.agreed["audio"].direction is Direction.SENDRECV


async def test_a_first_offer_is_ours_and_names_what_is_wanted_before_the_rest() -> None:
    client = Client()
    offer = await client.offered(PHONE)
    assert offer.ice_lite
    assert [media.kind for media in offer.media] == ["audio"]
    assert names(offer)[:2] == ["PCMU", "opus"]
    assert (offer.media[0].setup, offer.media[0].fingerprints) == ("actpass", (FINGERPRINT,))
    assert [codec.name for codec in client.media.agreed["audio"].send] == ["PCMU"]
    assert client.engine.of(SetIceRemote)[0].ufrag == "theirs"


async def test_a_later_offer_adds_a_picture_and_takes_it_away_again() -> None:
    client = Client()
    await client.offered(PHONE)
    offer = await client.offered(BOTH)
    assert [media.kind for media in offer.media] == ["audio", "video"]
    assert names(offer)[0] == "opus"
    assert {codec.name for codec in client.media.agreed["audio"].send} == {"PCMU", "opus"}
    assert client.media.agreed["video"].direction is Direction.SENDRECV
    offer = await client.offered(PHONE)
    assert offer.media[1].direction is Direction.INACTIVE
    assert set(client.media.agreed) == {"audio"}
    assert len(client.engine.of(SetIceRemote)) == 3
    assert {command.ufrag for command in client.engine.of(SetIceRemote)} == {"theirs"}


async def test_an_early_answer_makes_way_for_the_next() -> None:
    client = Client()
    offer = (await client.media.offer(PHONE, srtp=False)).decode()
    client.browser.handle_offer(offer)
    answer = client.browser.create_answer().replace("a=ice-lite\r\n", "")
    client.media.accept_answer(answer.encode(), final=False)
    assert set(client.media.agreed) == {"audio"}
    client.media.accept_answer(answer.replace("ufrag:theirs", "ufrag:others").encode(), final=False)
    client.media.drop()  # the call is answered with what is in force
    client.media.expect()
    assert set(client.media.agreed) == {"audio"}
    assert client.engine.of(SetIceRemote)[-1].ufrag == "others"
    client.browser.handle_offer(client.media.repeat().decode())


async def test_nothing_in_common_or_plain_rtp_is_refused() -> None:
    client = Client()
    only = replace(parse(CHROMIUM), media=parse(CHROMIUM).media[:1])
    with pytest.raises(NegotiationError) as refused:
        await client.answer(only, {"video": (KNOWN["VP8"],)})
    assert refused.value.warning_code == 305
    plain = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
    with pytest.raises(SdpError):
        await client.answer(plain, PHONE)


async def test_a_restart_of_ice_is_answered_with_new_credentials() -> None:
    client = Client()
    first = await client.answer(CHROMIUM, PHONE)
    client.media.commit()
    ufrag = next(line for line in CHROMIUM.splitlines() if line.startswith("a=ice-ufrag:"))
    again = await client.answer(CHROMIUM.replace(ufrag, "a=ice-ufrag:NEWU"), PHONE)
    client.media.commit()
    assert again.media[0].ice_ufrag != first.media[0].ice_ufrag
    assert client.engine.of(SetIceRemote)[-1].ufrag == "NEWU"


async def test_events_of_the_transport_reach_the_leg_until_it_closes() -> None:
    client = Client()
    await client.answer(CHROMIUM, PHONE)
    client.media.commit()
    (transport,) = client.media.transports
    event = TransportClosed(id=transport, reason="peer_closed")
    client.engine.deliver(event)
    assert client.events == [("audio", event)]
    client.media.close()
    client.media.close()
    assert client.engine.closed == [transport]


def test_what_comes_by_websocket_or_from_a_browser_behind_a_proxy_is_told_from_phones() -> None:
    chromium = serialize(parse(CHROMIUM)).encode()
    assert is_webrtc(chromium, "ws")
    assert is_webrtc(chromium, "udp")
    assert is_webrtc(None, "wss")
    assert not is_webrtc(None, "tls")
    assert not is_webrtc(b"v=0\r\nm=audio 4000 RTP/AVP 0\r\n", "ws")
    assert not is_webrtc(chromium.replace(b"a=group:BUNDLE", b"a=group:LS"), "udp")
