"""What one end of a link shows the other."""

from __future__ import annotations

import hashlib
import ssl
from dataclasses import dataclass

import trustme

from mediaserver.engine import commands


@dataclass(frozen=True)
class Shown:
    """A certificate with its key, and its fingerprint."""

    credentials: commands.LinkCredentials
    fingerprint: bytes


def issue(authority: trustme.CA, name: str) -> Shown:
    leaf = authority.issue_cert(name)
    chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
    der = ssl.PEM_cert_to_DER_cert(leaf.cert_chain_pems[0].bytes().decode())
    credentials = commands.LinkCredentials(
        certificate_chain_pem=chain,
        private_key_pem=leaf.private_key_pem.bytes(),
        issuers_pem=authority.cert_pem.bytes(),
    )
    return Shown(credentials, hashlib.sha256(der).digest())
