"""An authority for tests, with what it says of its certificates: lists, and a responder."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

START = datetime(2026, 11, 23, tzinfo=UTC)
_HASH = hashes.SHA256()


@dataclass(frozen=True)
class Issued:
    """A certificate with its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    def both(self) -> bytes:
        """Key and certificate, PEM."""
        key = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return key + self.certificate.public_bytes(Encoding.PEM)

    def context(self, directory: Path, authority: Authority) -> ssl.SSLContext:
        """What a client shows that trusts the same authority."""
        file = directory / f"{self.certificate.serial_number}.pem"
        file.write_bytes(self.both())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=authority.pem().decode())
        context.load_cert_chain(file)
        return context


class Authority:
    """Signs certificates, lists and answers."""

    def __init__(self, name: str = "Device authority", now: datetime = START) -> None:
        self.now = now
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = (
            self._builder(self.name, self.key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self.key, _HASH)
        )

    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    def issue(self, *names: x509.GeneralName, usage: x509.ObjectIdentifier | None = None) -> Issued:
        """A certificate for these names."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(x509.Name([]), key)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=True)
        if usage is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        return Issued(builder.sign(self.key, _HASH), key)

    def revocation_list(
        self, *revoked: Issued, at: datetime | None = None, life: timedelta = timedelta(hours=1)
    ) -> bytes:
        """A list (DER)."""
        at = at or self.now
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.name).last_update(at).next_update(at + life)
        for each in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(each.certificate.serial_number).revocation_date(at)
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(self.key, _HASH).public_bytes(Encoding.DER)

    def responder(self) -> Issued:
        """Whom the authority lets answer for it."""
        return self.issue(usage=ExtendedKeyUsageOID.OCSP_SIGNING)

    def answer(
        self,
        question: bytes,
        known: Iterable[Issued],
        *,
        revoked: Iterable[Issued] = (),
        signer: Issued | None = None,
        at: datetime | None = None,
        nonce: bytes | None = None,
    ) -> bytes:
        """A responder's answer to a question (DER)."""
        request = ocsp.load_der_ocsp_request(question)
        at = at or self.now
        about = next(each for each in known if each.certificate.serial_number == request.serial_number)
        is_revoked = about in list(revoked)
        by = signer or Issued(self.certificate, self.key)
        asked = request.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce
        builder = (
            ocsp.OCSPResponseBuilder()
            .add_response(
                cert=about.certificate,
                issuer=self.certificate,
                algorithm=hashes.SHA1(),  # noqa: S303 - what everybody asks with
                cert_status=ocsp.OCSPCertStatus.REVOKED if is_revoked else ocsp.OCSPCertStatus.GOOD,
                this_update=at,
                next_update=at + timedelta(hours=1),
                revocation_time=at if is_revoked else None,
                revocation_reason=None,
            )
            .responder_id(ocsp.OCSPResponderEncoding.HASH, by.certificate)
            .add_extension(x509.OCSPNonce(asked if nonce is None else nonce), critical=False)
        )
        if signer is not None:
            builder = builder.certificates([signer.certificate])
        return builder.sign(by.key, _HASH).public_bytes(Encoding.DER)

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self.now - timedelta(days=1))
            .not_valid_after(self.now + timedelta(days=365))
        )
