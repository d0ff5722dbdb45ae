"""Questions to an OCSP responder about one certificate, and what its answers are worth (RFC 6960, RFC 8954)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from mediaserver.errors import RemoteProtocolError
from mediaserver.sip.certificates.verdict import Standing, issuer_of, same

_SKEW: Final = timedelta(minutes=5)
"""Clocks of others."""
_NONCE_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Question:
    """A request (DER), and what its answer must fit."""

    body: bytes
    certificate: x509.Certificate
    issuer: x509.Certificate
    nonce: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What a responder says."""

    standing: Standing
    good_until: datetime | None
    """None: for now only."""


def ask(certificate: x509.Certificate, issuer: x509.Certificate) -> Question:
    """A question about a certificate of this authority."""
    nonce = os.urandom(_NONCE_BYTES)
    builder = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, hashes.SHA1())  # noqa: S303
    request = builder.add_extension(x509.OCSPNonce(nonce), critical=False).build()
    return Question(request.public_bytes(serialization.Encoding.DER), certificate, issuer, nonce)


def read_answer(data: bytes, question: Question, now: datetime) -> Answer:
    """Raises RemoteProtocolError for an answer that proves nothing."""
    try:
        response = ocsp.load_der_ocsp_response(data)
    except ValueError as error:
        raise RemoteProtocolError(f"the OCSP responder's answer cannot be read: {error}") from None
    if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
        raise RemoteProtocolError(f"the OCSP responder says {response.response_status.name}")
    _check_signature(response, question.issuer, now)
    try:
        nonce = response.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce
    except x509.ExtensionNotFound:
        nonce = question.nonce  # many responders answer from a store: then the times alone count
    if nonce != question.nonce:
        raise RemoteProtocolError("the OCSP responder answers another question")
    for single in response.responses:
        if single.serial_number == question.certificate.serial_number and _is_of(single, question.issuer):
            return _answer(single, now)
    raise RemoteProtocolError("the OCSP responder says nothing of the certificate")


def _is_of(single: ocsp.OCSPSingleResponse, issuer: x509.Certificate) -> bool:
    """Whether it is about a certificate of this authority: another one's may have the same number."""
    digest = hashes.Hash(single.hash_algorithm)
    digest.update(issuer.subject.public_bytes())
    return digest.finalize() == single.issuer_name_hash


def _answer(single: ocsp.OCSPSingleResponse, now: datetime) -> Answer:
    if single.this_update_utc > now + _SKEW:
        raise RemoteProtocolError("the OCSP responder's answer is of a time to come")
    until = single.next_update_utc
    if until is not None and until + _SKEW < now:
        raise RemoteProtocolError("the OCSP responder's answer is too old")
    if until is None and single.this_update_utc < now - timedelta(days=1):
        raise RemoteProtocolError("the OCSP responder's answer is too old")
    status = single.certificate_status
    if status is ocsp.OCSPCertStatus.GOOD:
        return Answer("good", until)
    return Answer("revoked" if status is ocsp.OCSPCertStatus.REVOKED else "unknown", until)


def _check_signature(response: ocsp.OCSPResponse, issuer: x509.Certificate, now: datetime) -> None:
    """RFC 6960 §4.2.2.2: signed by the authority itself, or by one whom it made a responder."""
    signers = [issuer, *(each for each in response.certificates if _may_respond(each, issuer, now))]
    if not any(_signed_by(response, signer) for signer in signers):
        raise RemoteProtocolError("the OCSP responder's answer is signed by nobody who may")


def _may_respond(certificate: x509.Certificate, issuer: x509.Certificate, now: datetime) -> bool:
    if same(certificate, issuer) or issuer_of(certificate, [issuer]) is None:
        return False
    if not certificate.not_valid_before_utc <= now.astimezone(UTC) <= certificate.not_valid_after_utc:
        return False
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return False
    return ExtendedKeyUsageOID.OCSP_SIGNING in usage


def _signed_by(response: ocsp.OCSPResponse, signer: x509.Certificate) -> bool:
    key, signature, signed = signer.public_key(), response.signature, response.tbs_response_bytes
    try:
        algorithm = response.signature_hash_algorithm
        if isinstance(key, ec.EllipticCurvePublicKey) and algorithm is not None:
            key.verify(signature, signed, ec.ECDSA(algorithm))
        elif isinstance(key, rsa.RSAPublicKey) and algorithm is not None:
            key.verify(signature, signed, padding.PKCS1v15(), algorithm)
        elif isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
            key.verify(signature, signed)
        else:
            return False
    except (InvalidSignature, UnsupportedAlgorithm):
        return False
    return True
