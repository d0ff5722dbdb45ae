"""Connects a WebRTC peer over WHIP or WHEP by hand: SDP, ICE checks, DTLS; then it hands socket and keys on.

The SRTP profile offered is AEAD_AES_128_GCM alone, so that all of a run is protected by it.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import socket
import time
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

TWCC_URI = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
TWCC_ID = 3
PAYLOAD_TYPE = 96
SUITE = "AEAD_AES_128_GCM"
KEY, SALT = 16, 12
DEADLINE_S = 10.0


class ConnectError(Exception):
    """A peer could not be connected; the text says at which step."""


class Identity:
    """One certificate for all peers of a run."""

    def __init__(self) -> None:
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
        self.context.set_tlsext_use_srtp(b"SRTP_AEAD_AES_128_GCM")


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

    candidate = first(r"^a=candidate:\S+ 1 [uU][dD][pP] \d+ (\S+) (\d+) typ host")
    ssrc = re.search(r"^a=ssrc:(\d+) ", sdp, re.MULTILINE)
    return Answer(
        address=(candidate[1], int(candidate[2])),
        ufrag=first(r"^a=ice-ufrag:(\S+)")[1],
        password=first(r"^a=ice-pwd:(\S+)")[1],
        fingerprint=first(r"^a=fingerprint:sha-256 (\S+)")[1].upper(),
        media_ssrc=int(ssrc[1]) if ssrc else 0,
    )


class Peer:
    """One connection on its way: ``offer``, then ``connect``, then ``plan_entry``."""

    def __init__(self, identity: Identity, *, sends: bool) -> None:
        self.identity = identity
        self.sends = sends
        self.ufrag = secrets.token_hex(4)
        self.password = secrets.token_hex(16)
        self.ssrc = secrets.randbelow(0x7FFFFFFF) + 1
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.settimeout(0.05)
        self._answer: Answer | None = None
        self._keys: tuple[bytes, bytes] | None = None
        self._nominated = False

    def close(self) -> None:
        self.socket.close()

    def offer(self) -> str:
        """A description with one VP8 section and transport-wide sequence numbers."""
        host, port = self.socket.getsockname()
        lines = [
            "v=0",
            f"o=- {secrets.randbelow(1 << 62)} 1 IN IP4 127.0.0.1",
            "s=-",
            "t=0 0",
            "a=group:BUNDLE 0",
            f"m=video 9 UDP/TLS/RTP/SAVPF {PAYLOAD_TYPE}",
            "c=IN IP4 0.0.0.0",
            "a=mid:0",
            f"a={'sendonly' if self.sends else 'recvonly'}",
            "a=rtcp-mux",
            "a=rtcp-rsize",
            f"a=ice-ufrag:{self.ufrag}",
            f"a=ice-pwd:{self.password}",
            f"a=fingerprint:sha-256 {self.identity.fingerprint}",
            "a=setup:active",
            f"a=extmap:{TWCC_ID} {TWCC_URI}",
            f"a=rtpmap:{PAYLOAD_TYPE} VP8/90000",
            *(f"a=rtcp-fb:{PAYLOAD_TYPE} {kind}" for kind in ("transport-cc", "ccm fir", "nack", "nack pli")),
            *([f"a=msid:load load{self.ssrc}", f"a=ssrc:{self.ssrc} cname:load"] if self.sends else []),
            f"a=candidate:1 1 udp 2130706431 {host} {port} typ host",
            "a=end-of-candidates",
        ]
        return "\r\n".join(lines) + "\r\n"

    def connect(self, answer_sdp: str) -> None:
        """Checks, handshake, keys. Blocking; raises ConnectError."""
        self._answer = answer = read_answer(answer_sdp)
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
            "suite": SUITE,
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
                dtls.DTLSv1_handle_timeout()
                self._flush(dtls, answer)
            return
        if source != answer.address or not data:
            return
        if data[0] < 4:
            self._handle_stun(data, answer)
        elif 20 <= data[0] <= 63:
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
        if dtls.get_selected_srtp_profile() != b"SRTP_AEAD_AES_128_GCM":
            raise ConnectError(f"the server chose {dtls.get_selected_srtp_profile()!r}")
        # RFC 5764 section 4.2: client key, server key, client salt, server salt.
        material = dtls.export_keying_material(b"EXTRACTOR-dtls_srtp", 2 * (KEY + SALT))
        ours, theirs = material[:KEY], material[KEY : 2 * KEY]
        our_salt, their_salt = material[2 * KEY : 2 * KEY + SALT], material[2 * KEY + SALT :]
        self._keys = (ours + our_salt, theirs + their_salt)
        return True

    def _flush(self, dtls: SSL.Connection, answer: Answer) -> None:
        try:
            while True:
                self.socket.sendto(dtls.bio_read(4096), answer.address)
        except SSL.WantReadError:
            return
