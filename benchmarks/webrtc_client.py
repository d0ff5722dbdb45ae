"""Connects a WebRTC peer by hand: SDP, ICE checks, DTLS; then it hands socket and keys on.

One SRTP profile is offered alone, so that all of a run is protected by it.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import socket
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from aioice import stun
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID
from OpenSSL import SSL

from benchmarks.peer_media import PeerMedia

SUITE = "AEAD_AES_128_GCM"
DEADLINE_S = 10.0


@dataclass(frozen=True, slots=True)
class Profile:
    """An SRTP profile: its name in OpenSSL, and the lengths of master key and salt in bytes."""

    openssl: bytes
    key: int
    salt: int


PROFILES = {
    "AEAD_AES_128_GCM": Profile(b"SRTP_AEAD_AES_128_GCM", 16, 12),
    "AEAD_AES_256_GCM": Profile(b"SRTP_AEAD_AES_256_GCM", 32, 12),
    "AES_CM_128_HMAC_SHA1_80": Profile(b"SRTP_AES128_CM_SHA1_80", 16, 14),
}
"""By suite, as RFC 4568 and RFC 7714 name them."""


class ConnectError(Exception):
    """A peer could not be connected; the text says at which step."""


class Identity:
    """One certificate and one SRTP suite for all peers of a run."""

    def __init__(self, suite: str = SUITE) -> None:
        self.suite = suite
        self.profile = PROFILES[suite]
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "load")])
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=30))
        self.certificate = builder.sign(key, SHA256())
        der = self.certificate.public_bytes(serialization.Encoding.DER)
        self.fingerprint = _colons(hashlib.sha256(der).digest())
        self.context = SSL.Context(SSL.DTLS_METHOD)
        self.context.use_certificate(self.certificate)
        self.context.use_privatekey(key)
        self.context.set_verify(SSL.VERIFY_PEER, lambda *_: True)
        self.context.set_tlsext_use_srtp(self.profile.openssl)


def _colons(digest: bytes) -> str:
    return digest.hex(":").upper()


@dataclass(frozen=True, slots=True)
class Answer:
    """What a peer needs of the server's SDP."""

    address: tuple[str, int]
    ufrag: str
    password: str
    fingerprint: str
    media_ssrc: int


def read_answer(sdp: str) -> Answer:
    """Raises ConnectError when something is missing."""

    def first(pattern: str) -> re.Match[str]:
        match = re.search(pattern, sdp, re.MULTILINE)
        if match is None:
            raise ConnectError(f"the answer lacks {pattern!r}:\n{sdp}")
        return match

    candidate = first(r"^a=candidate:\S+ 1 [uU][dD][pP] \d+ ([0-9.]+) (\d+) typ host")
    ssrc = re.search(r"^a=ssrc:(\d+) ", sdp, re.MULTILINE)
    return Answer(
        address=(candidate[1], int(candidate[2])),
        ufrag=first(r"^a=ice-ufrag:(\S+)")[1],
        password=first(r"^a=ice-pwd:(\S+)")[1],
        fingerprint=first(r"^a=fingerprint:sha-256 (\S+)")[1].upper(),
        media_ssrc=int(ssrc[1]) if ssrc else 0,
    )


class Peer:
    """One connection on its way: ``offer`` or ``answer``, then ``connect``, then ``plan_entry``."""

    def __init__(
        self,
        identity: Identity,
        *,
        sends: bool,
        receives: bool | None = None,
        kinds: Sequence[str] = ("video",),
        simulcast: bool = False,
        feedback: bool = True,
        repair: bool = False,
        local_ip: str = "127.0.0.1",
    ) -> None:
        """It receives what it does not send, or as stated; the rest is said of :class:`PeerMedia`."""
        self.identity = identity
        receives = not sends if receives is None else receives
        self.media = PeerMedia(kinds, sends, receives, simulcast and sends, feedback, repair and feedback)
        self.ufrag = secrets.token_hex(4)
        self.password = secrets.token_hex(16)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((local_ip, 0))
        self.socket.settimeout(0.05)
        self._answer: Answer | None = None
        self._keys: tuple[bytes, bytes] | None = None
        self._nominated = False
        self._hello = b""
        """The first DTLS datagram, until the server said anything."""
        self._heard = False

    def close(self) -> None:
        self.socket.close()

    def offer(self) -> str:
        """A description with an Opus and a VP8 section, as far as its kinds go."""
        lines = [*self._head(str(index) for index in range(len(self.media.kinds))), *self.media.offer(self._transport)]
        return "\r\n".join(lines) + "\r\n"

    def answer(self, offer: str) -> str:
        """Takes every section of an offer with everything in it, and sends where it was asked and may."""
        lines = [*self._head(self.media.mids(offer)), *self.media.answer(offer, self._transport)]
        return "\r\n".join(lines) + "\r\n"

    def _head(self, mids: Iterable[str]) -> list[str]:
        return [
            "v=0",
            f"o=- {secrets.randbelow(1 << 62)} 1 IN IP4 127.0.0.1",
            "s=-",
            "t=0 0",
            f"a=group:BUNDLE {' '.join(mids)}",
        ]

    def _transport(self, mid: str) -> list[str]:
        host, port = self.socket.getsockname()
        return [
            "c=IN IP4 0.0.0.0",
            f"a=mid:{mid}",
            "a=rtcp-mux",
            "a=rtcp-rsize",
            f"a=ice-ufrag:{self.ufrag}",
            f"a=ice-pwd:{self.password}",
            f"a=fingerprint:sha-256 {self.identity.fingerprint}",
            "a=setup:active",
            f"a=candidate:1 1 udp 2130706431 {host} {port} typ host",
            "a=end-of-candidates",
        ]

    def connect(self, answer_sdp: str) -> None:
        """Checks, handshake, keys. Blocking; raises ConnectError."""
        self._answer = answer = read_answer(answer_sdp)
        self.media.learn(answer_sdp)
        deadline = time.monotonic() + DEADLINE_S
        dtls = SSL.Connection(self.identity.context, None)
        dtls.set_connect_state()
        dtls.set_ciphertext_mtu(1200)
        next_check = 0.0
        while time.monotonic() < deadline:
            if not self._nominated and time.monotonic() >= next_check:
                self.socket.sendto(self._check(answer), answer.address)
                next_check = time.monotonic() + 0.1
            if self._nominated and self._handshake(dtls, answer):
                return
            self._receive(dtls, answer)
        raise ConnectError("no DTLS connection in time" if self._nominated else "no answer to ICE checks in time")

    def plan_entry(self) -> dict[str, Any]:
        """What the load program needs to go on with this connection."""
        if self._answer is None or self._keys is None:
            raise ConnectError("not connected")
        host, port = self._answer.address
        return {
            "fd": self.socket.fileno(),
            "remote": f"{host}:{port}",
            "username": f"{self._answer.ufrag}:{self.ufrag}",
            "local_password": self.password,
            "remote_password": self._answer.password,
            "suite": self.identity.suite,
            "local_key": self._keys[0],
            "remote_key": self._keys[1],
            "media_ssrc": self._answer.media_ssrc,
        }

    def _check(self, answer: Answer) -> bytes:
        message = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
        message.attributes["USERNAME"] = f"{answer.ufrag}:{self.ufrag}"
        message.attributes["PRIORITY"] = 2130706431
        message.attributes["ICE-CONTROLLING"] = secrets.randbits(64)
        message.attributes["USE-CANDIDATE"] = None
        message.add_message_integrity(answer.password.encode())
        message.add_fingerprint()
        return bytes(message)

    def _receive(self, dtls: SSL.Connection, answer: Answer) -> None:
        try:
            data, source = self.socket.recvfrom(2048)
        except TimeoutError:
            if self._nominated:
                # A server that is not ready when its check is answered drops the first flight: repeated before the
                # second that OpenSSL waits (RFC 6347 section 4.2.4.1), hundreds join in a reasonable time.
                if self._hello:
                    self.socket.sendto(self._hello, answer.address)
                dtls.DTLSv1_handle_timeout()
                self._flush(dtls, answer)
            return
        if source != answer.address or not data:
            return
        if data[0] < 4:
            self._handle_stun(data, answer)
        elif 20 <= data[0] <= 63:
            self._hello = b""
            self._heard = True
            dtls.bio_write(data)

    def _handle_stun(self, data: bytes, answer: Answer) -> None:
        message = stun.parse_message(data)
        if message.message_class == stun.Class.RESPONSE:
            self._nominated = True
        elif message.message_class == stun.Class.REQUEST:
            if not message.check_message_integrity(self.password.encode()):
                raise ConnectError("a check of the server is not signed with our password")
            reply = stun.Message(
                message_method=stun.Method.BINDING,
                message_class=stun.Class.RESPONSE,
                transaction_id=message.transaction_id,
            )
            reply.attributes["XOR-MAPPED-ADDRESS"] = answer.address
            reply.add_message_integrity(self.password.encode())
            reply.add_fingerprint()
            self.socket.sendto(bytes(reply), answer.address)

    def _handshake(self, dtls: SSL.Connection, answer: Answer) -> bool:
        try:
            dtls.do_handshake()
        except SSL.WantReadError:
            return False
        except SSL.Error as error:
            raise ConnectError(f"DTLS: {error}") from error
        finally:
            self._flush(dtls, answer)
        certificate = dtls.get_peer_certificate(as_cryptography=True)
        if certificate is None:
            raise ConnectError("the server showed no certificate")
        if _colons(certificate.fingerprint(SHA256())) != answer.fingerprint:
            raise ConnectError("the server's certificate is not the one in its SDP")
        profile = self.identity.profile
        if dtls.get_selected_srtp_profile() != profile.openssl:
            raise ConnectError(f"the server chose {dtls.get_selected_srtp_profile()!r}")
        # RFC 5764 section 4.2: client key, server key, client salt, server salt.
        key, salt = profile.key, profile.salt
        material = dtls.export_keying_material(b"EXTRACTOR-dtls_srtp", 2 * (key + salt))
        ours, theirs = material[:key], material[key : 2 * key]
        our_salt, their_salt = material[2 * key : 2 * key + salt], material[2 * key + salt :]
        self._keys = (ours + our_salt, theirs + their_salt)
        return True

    def _flush(self, dtls: SSL.Connection, answer: Answer) -> None:
        try:
            while True:
                flight = dtls.bio_read(4096)
                if not self._heard and not self._hello:
                    self._hello = flight
                self.socket.sendto(flight, answer.address)
        except SSL.WantReadError:
            return
