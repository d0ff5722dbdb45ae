"""SIP legs whose keys come by DTLS (RFC 5764): two of the engine's own, and OpenSSL, which begins or waits."""

from __future__ import annotations

import asyncio
import datetime
import socket
from typing import Final, Literal

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL
from pylibsrtp import Policy, Session

from mediaserver.engine import commands, events
from mediaserver.engine.certificate import DtlsCertificate
from mediaserver.engine.engine import Engine
from tests.engine.phones import LOOPBACK, PCMU, until

RTP: Final = bytes([0x80, 0, 0, 1, 0, 0, 0, 160, 0, 0, 0, 9]) + bytes(160)


class OpenSslPhone:
    """Speaks DTLS on one UDP port, which RTCP shares."""

    def __init__(self, role: Literal["server", "client"]) -> None:
        self._role = role
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "phone")])
        now = datetime.datetime.now(datetime.UTC)
        day = datetime.timedelta(days=1)
        self.certificate = (
            x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - day, now + day)
        ).sign(key, hashes.SHA256())
        context = SSL.Context(SSL.DTLS_METHOD)
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)
        context.use_certificate(self.certificate)
        context.use_privatekey(key)
        context.set_tlsext_use_srtp(b"SRTP_AES128_CM_SHA1_80")
        self._ssl = SSL.Connection(context)
        if role == "server":
            self._ssl.set_accept_state()
        else:
            self._ssl.set_connect_state()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((LOOPBACK, 0))
        self._socket.setblocking(False)

    @property
    def address(self) -> tuple[str, int]:
        host, port = self._socket.getsockname()
        return host, port

    @property
    def fingerprint(self) -> commands.Fingerprint:
        return commands.Fingerprint(algorithm="sha-256", value=self.certificate.fingerprint(hashes.SHA256()))

    async def handshake(self, target: tuple[str, int]) -> None:
        """Until both have finished; the last flight may be ours."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(20):
            done = False
            while not done:
                try:
                    self._ssl.do_handshake()
                    done = True
                except SSL.WantReadError:
                    pass
                self._flush(target)
                if not done:
                    self._ssl.bio_write(await loop.sock_recv(self._socket, 2048))

    def _flush(self, target: tuple[str, int]) -> None:
        try:
            while True:
                self._socket.sendto(self._ssl.bio_read(2048), target)
        except SSL.WantReadError:
            pass

    def send_rtp(self, target: tuple[str, int]) -> None:
        """Sends one packet under the keys that OpenSSL exports (RFC 5764 §4.2)."""
        material = self._ssl.export_keying_material(b"EXTRACTOR-dtls_srtp", 60)
        client, server = (material[:16] + material[32:46], material[16:32] + material[46:])
        key = client if self._role == "client" else server
        policy = Policy(key=key, ssrc_type=Policy.SSRC_ANY_OUTBOUND)
        self._socket.sendto(Session(policy).protect(RTP), target)

    def close(self) -> None:
        self._socket.close()


def terms(
    role: Literal["server", "client"], fingerprint: commands.Fingerprint, association: int = 1
) -> commands.DtlsTerms:
    return commands.DtlsTerms(association=association, role=role, fingerprints=(fingerprint,))


async def test_two_legs_of_dtls_agree_on_keys(engine: Engine, dtls_certificate: DtlsCertificate) -> None:
    fingerprint = commands.Fingerprint(algorithm="sha-256", value=dtls_certificate.fingerprint_sha256)
    legs = [await engine.open_rtp_transport(LOOPBACK, latching_ms=1000) for _ in range(2)]
    seen: list[list[events.AnyEvent]] = [[], []]
    for leg, into in zip(legs, seen, strict=True):
        engine.subscribe_events(leg.id, into.append)
    first, second = legs
    for leg, peer, ours in (
        (first, second, terms("server", fingerprint)),
        (second, first, terms("client", fingerprint)),
    ):
        rtp, rtcp = (peer.ip, peer.rtp_port), (peer.ip, peer.rtcp_port)
        engine.submit(commands.SetRtpRemote(id=leg.id, rtp=rtp, rtcp=rtcp, dtls=ours))
    await until(lambda: all(seen), what="both handshakes", timeout_s=20)
    profiles = [event.srtp_profile for into in seen for event in into if isinstance(event, events.TransportConnected)]
    assert profiles == ["AEAD_AES_256_GCM"] * 2


@pytest.mark.parametrize(("theirs", "ours"), [("client", "server"), ("server", "client")])
async def test_openssl_and_we_agree_on_keys(
    engine: Engine, theirs: Literal["server", "client"], ours: Literal["server", "client"]
) -> None:
    phone = OpenSslPhone(theirs)
    leg = await engine.open_rtp_transport(LOOPBACK, latching_ms=1000)
    up = engine.new_track_id(leg.id)
    seen: list[events.AnyEvent] = []
    for object_id in (leg.id, up):
        engine.subscribe_events(object_id, seen.append)
    engine.submit(
        commands.SetRtpRemote(id=leg.id, rtp=phone.address, rtcp_mux=True, dtls=terms(ours, phone.fingerprint)),
        commands.AddUpTrack(id=up, transport=leg.id, kind="audio", payloads=(PCMU,)),
    )
    target = (leg.ip, leg.rtp_port)
    await phone.handshake(target)
    await until(lambda: bool(seen), what="our end of the handshake", timeout_s=20)
    assert isinstance(seen[0], events.TransportConnected)
    assert seen[0].srtp_profile == "AES_CM_128_HMAC_SHA1_80"
    phone.send_rtp(target)
    await until(lambda: any(isinstance(event, events.UpTrackStarted) for event in seen), what="its sound", timeout_s=20)
    phone.close()


async def test_a_certificate_that_was_not_promised_closes_the_transport(engine: Engine) -> None:
    phone, stranger = OpenSslPhone("client"), OpenSslPhone("client")
    leg = await engine.open_rtp_transport(LOOPBACK, latching_ms=1000)
    seen: list[events.AnyEvent] = []
    engine.subscribe_events(leg.id, seen.append)
    wrong = terms("server", stranger.fingerprint)
    engine.submit(commands.SetRtpRemote(id=leg.id, rtp=phone.address, rtcp_mux=True, dtls=wrong))
    trying = asyncio.create_task(phone.handshake((leg.ip, leg.rtp_port)))
    await until(lambda: bool(seen), what="the end", timeout_s=20)
    trying.cancel()
    await asyncio.gather(trying, return_exceptions=True)
    assert isinstance(seen[0], events.TransportClosed)
    assert seen[0].reason == "fingerprint_mismatch"
    phone.close()
    stranger.close()
