"""Lists of revoked certificates (CRL, RFC 5280 §5): read, verified by their authority, and good until they say."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from mediaserver.errors import RemoteProtocolError
from mediaserver.sip.certificates.verdict import Standing


@dataclass(frozen=True, slots=True)
class RevocationList:
    """One list in force."""

    issuer: x509.Name
    next_update: datetime
    """From then on it says nothing any more."""
    this_update: datetime
    serials: frozenset[int]

    def standing(self, certificate: x509.Certificate, now: datetime) -> Standing:
        """What the list says of a certificate; `unknown` for those of others, and when it is too old."""
        if certificate.issuer != self.issuer or not self.this_update <= now < self.next_update:
            return "unknown"
        return "revoked" if certificate.serial_number in self.serials else "good"


def read_list(data: bytes, authorities: Iterable[x509.Certificate]) -> RevocationList:
    """DER or PEM, signed by one of the authorities. Raises RemoteProtocolError with what is wrong."""
    try:
        pem = data.lstrip().startswith(b"-----BEGIN")
        found = x509.load_pem_x509_crl(data) if pem else x509.load_der_x509_crl(data)
    except ValueError as error:
        raise RemoteProtocolError(f"this is no list of revoked certificates: {error}") from None
    if not any(_signed_by(found, authority) for authority in authorities):
        raise RemoteProtocolError("the list of revoked certificates is signed by nobody who may")
    if found.next_update_utc is None:
        # RFC 5280 §5.1.2.5: conforming authorities always say it; without it nobody knows how old is too old.
        raise RemoteProtocolError("the list of revoked certificates does not say until when it holds")
    for extension in found.extensions:
        # RFC 5280 §5.2.4, §5.2.5: a list of changes, or of some certificates only, is not the whole.
        if extension.critical:
            raise RemoteProtocolError(
                f"the list of revoked certificates is a partial one ({extension.oid.dotted_string})"
            )
    serials = frozenset(entry.serial_number for entry in found)
    return RevocationList(found.issuer, found.next_update_utc, found.last_update_utc, serials)


def _signed_by(found: x509.CertificateRevocationList, authority: x509.Certificate) -> bool:
    if found.issuer != authority.subject:
        return False
    try:
        usage = authority.extensions.get_extension_for_class(x509.KeyUsage).value
        if not usage.crl_sign:
            return False
    except x509.ExtensionNotFound:
        pass
    key = authority.public_key()
    try:
        return found.is_signature_valid(key)  # type: ignore[arg-type]  # a key of another kind raises TypeError
    except TypeError:
        return False
