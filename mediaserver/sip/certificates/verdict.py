"""What is known of a certificate, and by whose word."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final, Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding

Standing = Literal["good", "revoked", "unknown"]

MOST_BYTES: Final = 64 * 1024
"""Of one certificate that is looked at."""


def fingerprint(der: bytes) -> str:
    """SHA-256 of a certificate (DER), lower-case hex: how it is named in the API and in logs."""
    return hashlib.sha256(der).hexdigest()


def issuer_of(certificate: x509.Certificate, authorities: Iterable[x509.Certificate]) -> x509.Certificate | None:
    """The authority that signed a certificate; None where none of these did."""
    for authority in authorities:
        try:
            certificate.verify_directly_issued_by(authority)
        except (InvalidSignature, ValueError, TypeError):
            continue
        return authority
    return None


def same(one: x509.Certificate, other: x509.Certificate) -> bool:
    """Whether two are one and the same."""
    return one.public_bytes(Encoding.DER) == other.public_bytes(Encoding.DER)
