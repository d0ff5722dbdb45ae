"""TLS as the daemon speaks it: with its own certificates to whoever comes, and towards phones and trunks it calls."""

from __future__ import annotations

import ssl

from mediaserver.config.model import Config
from mediaserver.config.sections import Certificate
from mediaserver.config.state import tls_files


def server_tls(config: Config, certificate: Certificate) -> ssl.SSLContext:
    """For a listener. Raises OSError and ssl.SSLError for files that are no certificate and key."""
    files = tls_files(config, certificate)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(files.chain, files.key)
    return context


def client_tls() -> ssl.SSLContext:
    """For calling phones and trunks over TLS; certificates are verified against the system's authorities."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
