"""TLS as the daemon speaks it: with its own certificates to whoever comes, and towards phones and trunks it calls."""

from __future__ import annotations

import ssl
from pathlib import Path

from mediaserver.config.model import Config
from mediaserver.config.sections import Certificate
from mediaserver.config.state import tls_files


def server_tls(config: Config, certificate: Certificate, *, client_ca: Path | None = None) -> ssl.SSLContext:
    """For a listener. Raises OSError and ssl.SSLError for files that are no certificate and key.

    With `client_ca` peers may prove themselves by a certificate; one that is not signed by these ends the handshake.
    """
    files = tls_files(config, certificate)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(files.chain, files.key)
    if client_ca is not None:
        context.load_verify_locations(config.path(client_ca))
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


def client_tls(config: Config) -> ssl.SSLContext:
    """For calling phones and trunks over TLS; certificates are verified against the system's authorities.

    A peer that asks for ours sees the SIP listener's, where one is configured: a self-signed one proves nothing.
    Raises OSError and ssl.SSLError for files that are no certificate and key.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    certificate = config.listeners.sip.certificate
    if certificate.chain_file is not None:
        files = tls_files(config, certificate)
        context.load_cert_chain(files.chain, files.key)
    return context
