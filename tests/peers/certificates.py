"""Certificates for tests: an authority of their own and a server certificate it signed, as PEM files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True, slots=True)
class Certificates:
    ca: Path
    """What peers must trust."""
    key: Path
    chain: Path
    both: Path
    """Key and chain in one file, as baresip wants its own."""


def write_certificates(directory: Path, *names: str) -> Certificates:
    """Make an authority and an ECDSA certificate for host names or addresses; files are the owner's only."""
    authority = trustme.CA()
    issued = authority.issue_cert(*names)
    folder = directory / "certificates"
    folder.mkdir(parents=True, exist_ok=True)
    files = Certificates(folder / "ca.pem", folder / "key.pem", folder / "chain.pem", folder / "both.pem")
    chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
    for path, content in (
        (files.ca, authority.cert_pem.bytes()),
        (files.key, issued.private_key_pem.bytes()),
        (files.chain, chain),
        (files.both, issued.private_key_pem.bytes() + chain),
    ):
        path.touch(mode=0o600)
        path.write_bytes(content)
    return files
