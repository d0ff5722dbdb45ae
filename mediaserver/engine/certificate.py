"""The DTLS certificate: ECDSA P-256, self-signed, kept in a file of the state folder (RFC 8827 §6.5)."""

from __future__ import annotations

import datetime
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mediaserver.errors import ConfigError

VALIDITY_DAYS = 3650
"""Browsers verify the fingerprint, not the dates; the file is kept until someone deletes it."""


@dataclass(frozen=True, slots=True)
class DtlsCertificate:
    """A certificate and its key, both DER; the key is PKCS #8."""

    certificate_der: bytes
    private_key_der: bytes

    @property
    def fingerprint_sha256(self) -> bytes:
        """32 bytes."""
        digest = hashes.Hash(hashes.SHA256())
        digest.update(self.certificate_der)
        return digest.finalize()

    @property
    def fingerprint(self) -> str:
        """The value of `a=fingerprint:` (RFC 8122 §5), for example `sha-256 12:AB:...`."""
        return "sha-256 " + self.fingerprint_sha256.hex(":").upper()


def generate(common_name: str = "mediaserver", dns_name: str | None = None) -> DtlsCertificate:
    """Make a new key and certificate. The name is seen by every peer, so it says nothing about the host.

    With `dns_name` it is good for TLS at both ends of a connection (RFC 9525), too."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=VALIDITY_DAYS))
    )
    if dns_name is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(dns_name)]), critical=False)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    certificate = builder.sign(key, hashes.SHA256())
    return DtlsCertificate(
        certificate.public_bytes(serialization.Encoding.DER),
        key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )


def load_or_create(path: Path, *, dns_name: str | None = None) -> DtlsCertificate:
    """Read the certificate and key from the PEM file `path`, or make them and write it with mode 0600.

    Raises ConfigError when the file can be read by others or does not hold an ECDSA P-256 pair.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        made = generate(dns_name=dns_name)
        _store(path, made)
        return made
    if mode & 0o077:
        raise ConfigError(f"{path} can be read by others: its mode is {mode & 0o777:04o}, it must be 0600")
    return _load(path)


def _load(path: Path) -> DtlsCertificate:
    pem = path.read_bytes()
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        key = serialization.load_pem_private_key(pem, password=None)
    except ValueError as error:
        raise ConfigError(f"{path} does not hold a certificate and a private key in PEM form: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ConfigError(f"{path} must hold an ECDSA P-256 key; delete the file to have one made")
    if certificate.public_key() != key.public_key():
        raise ConfigError(f"{path}: the certificate does not belong to the private key; delete the file to renew both")
    return DtlsCertificate(
        certificate.public_bytes(serialization.Encoding.DER),
        key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )


def _store(path: Path, certificate: DtlsCertificate) -> None:
    key = serialization.load_der_private_key(certificate.private_key_der, password=None)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ) + x509.load_der_x509_certificate(certificate.certificate_der).public_bytes(serialization.Encoding.PEM)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Written aside and moved into place, so that a crash leaves either no file or a whole one.
    aside = path.with_name(path.name + ".new")
    aside.unlink(missing_ok=True)
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())
    aside.rename(path)
