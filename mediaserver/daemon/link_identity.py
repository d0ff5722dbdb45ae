"""Who this machine is on the link, and whom it accepts at the other end."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from mediaserver.config.model import Config
from mediaserver.engine import certificate
from mediaserver.engine.commands import LinkCredentials
from mediaserver.errors import ConfigError

_PEM = serialization.Encoding.PEM


@dataclass(frozen=True, slots=True)
class Accepted:
    """One certificate of the other end, and who may have signed it."""

    fingerprint: bytes
    issuers_pem: bytes


def own_certificate(config: Config) -> tuple[bytes, bytes]:
    """Chain and key, PEM; made where none is configured and none is there. Raises ConfigError, OSError."""
    given = config.link.certificate
    if given.chain_file is not None and given.key_file is not None:
        return config.path(given.chain_file).read_bytes(), config.path(given.key_file).read_bytes()
    made = certificate.load_or_create(config.path(Path("link.pem")), dns_name=config.link.name)
    found = x509.load_der_x509_certificate(made.certificate_der)
    if config.link.name not in _names(found):
        raise ConfigError(
            f"{config.path(Path('link.pem'))} is not for link.name {config.link.name}: delete it to have a new one made, "
            f"and give the other end `mediaserver link-certificate` anew"
        )
    key = serialization.load_der_private_key(made.private_key_der, password=None)
    return found.public_bytes(_PEM), key.private_bytes(
        _PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def accepted(config: Config, file: Path, *, key: str) -> Accepted:
    """The certificate that the configuration key `key` names. Raises ConfigError where it cannot be read."""
    path = config.path(file)
    try:
        pem = path.read_bytes()
        chain = x509.load_pem_x509_certificates(pem)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{key}: {path} does not hold a certificate (PEM), as `mediaserver link-certificate` prints it at the other "
            f"end: {error}"
        ) from None
    return Accepted(hashlib.sha256(chain[0].public_bytes(serialization.Encoding.DER)).digest(), pem)


def credentials(config: Config, others: tuple[Accepted, ...]) -> LinkCredentials:
    """What the engine shows, and whom it believes."""
    chain, key = own_certificate(config)
    return LinkCredentials(
        certificate_chain_pem=chain, private_key_pem=key, issuers_pem=b"\n".join(each.issuers_pem for each in others)
    )


def _names(found: x509.Certificate) -> list[str]:
    try:
        extension = found.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return extension.value.get_values_for_type(x509.DNSName)
