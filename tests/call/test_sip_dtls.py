"""SIP media whose keys come by DTLS: who begins, which certificates count, and when an association goes on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mediaserver.call.sip_media import SipMedia
from mediaserver.engine.commands import DtlsTerms, SetRtpRemote
from mediaserver.errors import NegotiationError
from mediaserver.sdp.codecs import KNOWN
from mediaserver.sdp.description import Fingerprint, SessionDescription
from mediaserver.sdp.parser import parse
from mediaserver.sdp.serializer import serialize
from tests.call.fakes import FakeEngine
from tests.call.test_sip_media import BROWSER, SETTINGS

HOUSE = Fingerprint("sha-256", bytes(range(32)))
PHONE = Fingerprint("sha-256", bytes(range(100, 132)))
SOUND = {"audio": (KNOWN["PCMU"],)}


def media(engine: FakeEngine, fingerprint: Fingerprint = HOUSE) -> SipMedia:
    settings = replace(SETTINGS, srtp_keys="dtls", fingerprint=fingerprint)
    return SipMedia(engine=engine, settings=settings, cname="c", on_event=lambda kind, event: None)  # type: ignore[arg-type]


def offered(
    *,
    protocol: str = "UDP/TLS/RTP/SAVP",
    setup: str = "actpass",
    fingerprint: Fingerprint | None = PHONE,
    tls_id: str = "",
    port: int = 40000,
    more: str = "",
) -> SessionDescription:
    """What a phone writes."""
    lines = [
        "v=0\r\no=phone 7 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n",
        f"m=audio {port} {protocol} 0\r\na=rtpmap:0 PCMU/8000\r\na=setup:{setup}\r\n{more}",
        f"a=fingerprint:{fingerprint.algorithm} {fingerprint.value.hex(':')}\r\n" if fingerprint else "",
        f"a=tls-id:{tls_id}\r\n" if tls_id else "",
    ]
    return parse("".join(lines))


async def answered(callee: SipMedia, offer: SessionDescription, *, required: bool = False) -> SessionDescription:
    answer = await callee.answer(offer, SOUND, srtp_required=required, srtp_allowed=True)
    callee.commit()
    return parse(answer.decode())


def terms(engine: FakeEngine) -> list[DtlsTerms]:
    found = [command.dtls for command in engine.of(SetRtpRemote)]
    assert all(each is not None for each in found)
    return found


async def test_two_sides_agree_who_begins_and_each_promises_its_certificate() -> None:
    first, second = FakeEngine(), FakeEngine()
    caller, callee = media(first, HOUSE), media(second, PHONE)
    offer = await caller.offer(BROWSER, srtp=True)
    said = parse(offer.decode())
    assert {section.protocol for section in said.media} == {"UDP/TLS/RTP/SAVP"}
    assert {section.setup for section in said.media} == {"actpass"}
    assert not any(section.cryptos for section in said.media)
    assert len({section.attribute("tls-id") for section in said.media}) == 2, "each line is an association of its own"
    caller.accept_answer(serialize(await answered(callee, said)).encode())
    assert [each.role for each in terms(first)] == ["client"]
    assert [each.role for each in terms(second)] == ["server"]
    assert terms(first)[0].fingerprints[0].value == PHONE.value
    assert terms(second)[0].fingerprints[0].value == HOUSE.value
    assert first.of(SetRtpRemote)[0].srtp is None
    assert first.of(SetRtpRemote)[0].rtcp_mux
    assert caller.secure
    assert callee.secure


@pytest.mark.parametrize("protocol", ["UDP/TLS/RTP/SAVP", "UDP/TLS/RTP/SAVPF", "RTP/SAVPF"])
@pytest.mark.parametrize(
    ("setup", "answer", "role"),
    [("actpass", "passive", "server"), ("active", "passive", "server"), ("passive", "active", "client")],
)
async def test_a_phones_offer_is_taken_in_either_role(protocol: str, setup: str, answer: str, role: str) -> None:
    engine = FakeEngine()
    section = (await answered(media(engine), offered(protocol=protocol, setup=setup), required=True)).media[0]
    assert (section.protocol, section.setup, section.fingerprints) == (protocol, answer, (HOUSE,))
    assert section.attribute("tls-id") is None, "the phone knows none"
    assert terms(engine)[0].role == role


@pytest.mark.parametrize(
    ("offer", "allowed"),
    [
        (offered(), False),
        (offered(setup="holdconn"), True),
        (offered(fingerprint=None), True),
        (offered(fingerprint=Fingerprint("sha-1", bytes(20))), True),
    ],
)
async def test_what_cannot_be_taken_is_refused(offer: SessionDescription, allowed: bool) -> None:
    with pytest.raises(NegotiationError) as failure:
        await media(FakeEngine()).answer(offer, SOUND, srtp_required=False, srtp_allowed=allowed)
    assert failure.value.warning_code == 306


async def test_an_answer_without_a_certificate_is_of_no_use() -> None:
    caller = media(FakeEngine())
    said = parse((await caller.offer(SOUND, srtp=True)).decode())
    answer = await answered(media(FakeEngine(), PHONE), said)
    bare = replace(answer, media=(replace(answer.media[0], fingerprints=()),))
    with pytest.raises(NegotiationError):
        caller.accept_answer(serialize(bare).encode())


async def test_an_association_goes_on_through_holds_and_with_the_same_role() -> None:
    engine = FakeEngine()
    callee = media(engine)
    await answered(callee, offered(setup="passive", tls_id="a" * 20))
    for more in ("a=sendonly\r\n", "a=inactive\r\n", ""):
        answer = await answered(callee, offered(setup="actpass", tls_id="a" * 20, more=more))
        assert answer.media[0].setup == "active"
    assert {each.association for each in terms(engine)} == {1}
    callee.expect()
    assert terms(engine)[-1].association == 1


@pytest.mark.parametrize(
    ("first", "then", "anew"),
    [
        (offered(), offered(fingerprint=HOUSE), True),
        (offered(setup="active"), offered(setup="passive"), True),
        (offered(tls_id="a" * 20), offered(tls_id="b" * 20), True),
        (offered(), offered(port=50000), True),
        (offered(tls_id="a" * 20), offered(tls_id="a" * 20, port=50000), False),
        (offered(), offered(more="a=sendonly\r\n"), False),
    ],
    ids=["certificate", "role", "tls-id", "moved", "moved with its tls-id", "hold"],
)
async def test_an_association_begins_anew_when_the_phone_says_so(
    first: SessionDescription, then: SessionDescription, anew: bool
) -> None:
    engine = FakeEngine()
    callee = media(engine)
    before, after = await answered(callee, first), await answered(callee, then)
    assert (terms(engine)[1].association != terms(engine)[0].association) is anew
    if then.media[0].attribute("tls-id"):
        assert (before.media[0].attribute("tls-id") != after.media[0].attribute("tls-id")) is (
            first.media[0].attribute("tls-id") != then.media[0].attribute("tls-id")
        )


async def test_our_own_later_offers_are_about_the_same_association() -> None:
    engine, other = FakeEngine(), FakeEngine()
    house, phone = media(engine), media(other, PHONE)
    said = parse((await house.offer(SOUND, srtp=True)).decode())
    house.accept_answer(serialize(await answered(phone, said)).encode())
    again = parse((await house.offer(BROWSER, srtp=house.secure)).decode())
    assert again.media[0].attribute("tls-id") == said.media[0].attribute("tls-id")
    house.accept_answer(serialize(await answered(phone, again)).encode())
    for write in (house.turn, house.repeat):
        house.accept_answer(serialize(await answered(phone, parse(write().decode()))).encode())
    assert {each.association for each in terms(engine)} == {each.association for each in terms(other)} == {1}
    assert {each.role for each in terms(engine)} == {"client"}


async def test_a_call_with_keys_in_its_descriptions_stays_with_them() -> None:
    engine = FakeEngine()
    callee = media(engine)
    key = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" + "A" * 40 + "\r\n"
    await answered(callee, offered(protocol="RTP/SAVP", fingerprint=None, more=key))
    again = parse((await callee.offer(SOUND, srtp=callee.secure)).decode())
    assert (again.media[0].protocol, bool(again.media[0].cryptos)) == ("RTP/SAVP", True)


async def test_sound_that_is_offered_encrypted_and_plain_is_taken_encrypted_where_that_is_required() -> None:
    both = offered()
    plain = replace(both.media[0], protocol="RTP/AVP", fingerprints=(), setup=None)
    answer = await answered(media(FakeEngine()), replace(both, media=(plain, *both.media)), required=True)
    assert [section.port != 0 for section in answer.media] == [False, True]
