"""The state folder: made on first start with secrets and a self-signed certificate, refused where others can read."""

from __future__ import annotations

import socket
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mediaserver.config.model import Config
from mediaserver.config.secrets import SecretStore, write_private
from mediaserver.config.sections import Certificate
from mediaserver.errors import ConfigError
from mediaserver.runtime.interfaces import local_addresses

_VALID = timedelta(days=825)
_RENEW_BEFORE = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files as `ssl.SSLContext.load_cert_chain` takes them."""

    chain: Path
    key: Path


@dataclass(frozen=True, slots=True)
class State:
    """What the first start has made, or found again."""

    folder: Path
    secrets: SecretStore
    made: tuple[str, ...]
    """Names of what this start made; empty on every later one."""


def open_state(config: Config) -> State:
    """Make what is missing in the state folder. Raises `ConfigError` where it cannot, or where others can read it."""
    folder = config.state_dir.absolute()
    made: list[str] = []
    try:
        if not folder.exists():
            folder.mkdir(mode=0o700, parents=True)
            made.append(str(folder))
        mode = stat.S_IMODE(folder.stat().st_mode)
        if mode & 0o077:
            raise ConfigError(f"the state folder {folder} is open to others (mode {mode:04o}): chmod 700 it")
        store = SecretStore(config)
        made += [f"secret {name}" for name in store.make_missing()]
        if _make_certificate(_own_files(config)):
            made.append("self-signed certificate")
    except OSError as error:
        raise ConfigError(f"the state folder {folder} cannot be used: {error.strerror} ({error.filename})") from None
    return State(folder, store, tuple(made))


def tls_files(config: Config, certificate: Certificate) -> TlsFiles:
    """The files of a listener's certificate: those configured, else the self-signed ones of the state folder."""
    if certificate.chain_file is not None and certificate.key_file is not None:
        return TlsFiles(config.path(certificate.chain_file), config.path(certificate.key_file))
    return _own_files(config)


def bind_addresses(
    config: Config, networks: Iterable[str]
) -> tuple[tuple[IPv4Address | IPv6Address, IPv4Address | IPv6Address], ...]:
    """(bind, announced) of every address of these networks; `auto` is looked up now. Each bind address once."""
    found: dict[IPv4Address | IPv6Address, IPv4Address | IPv6Address] = {}
    for name in networks:
        for address in config.networks[name].addresses:
            for bind in (address.bind,) if address.bind is not None else local_addresses():
                found.setdefault(bind, address.announced or bind)
    return tuple(found.items())


def _own_files(config: Config) -> TlsFiles:
    return TlsFiles(config.path(Path("tls/certificate.pem")), config.path(Path("tls/key.pem")))


def _make_certificate(files: TlsFiles) -> bool:
    """Make a self-signed certificate for this machine's names, unless a good one is there; says whether it did."""
    now = datetime.now(UTC)
    if files.chain.exists() and files.key.exists():
        present = x509.load_pem_x509_certificate(files.chain.read_bytes())
        if present.not_valid_after_utc - _RENEW_BEFORE > now:
            return False
    key = ec.generate_private_key(ec.SECP256R1())
    host = socket.gethostname()
    names: list[x509.GeneralName] = [x509.DNSName("localhost")]
    # A host name outside of ASCII or of DNS's length has no place in a certificate.
    if host.isascii() and host != "localhost" and len(host) <= 63:
        names.append(x509.DNSName(host))
    names += [x509.IPAddress(address) for address in local_addresses()]
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mediaserver self-signed")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + _VALID)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    write_private(
        files.key,
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )
    write_private(files.chain, certificate.public_bytes(serialization.Encoding.PEM))
    return True
