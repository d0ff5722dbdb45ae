"""Asks over HTTP whether certificates still hold, and knows the authorities of the configuration."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

import aiohttp
from cryptography import x509

from mediaserver.config.model import Config
from mediaserver.errors import ConfigError, RemoteProtocolError
from mediaserver.sip.certificates.standing import CertificateStanding, StandingSettings
from mediaserver.sip.config import Counters

_MOST_BYTES: Final = 16 * 1024 * 1024
_PATIENCE: Final = aiohttp.ClientTimeout(total=10.0)


class StatusFetcher:
    """Fetches lists and asks responders, at addresses of the configuration alone."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def fetch(self, address: str, body: bytes | None) -> bytes:
        """What is there, sending `body` as a question where there is one. Raises RemoteProtocolError."""
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=_PATIENCE)
        headers = {"Content-Type": "application/ocsp-request"} if body is not None else {}
        method = "GET" if body is None else "POST"
        try:
            async with self._session.request(
                method, address, data=body, headers=headers, allow_redirects=False
            ) as answer:
                if answer.status != 200:
                    raise RemoteProtocolError(f"it answers {answer.status}")
                data = await answer.content.read(_MOST_BYTES + 1)
                while len(data) <= _MOST_BYTES and (more := await answer.content.read(_MOST_BYTES + 1 - len(data))):
                    data += more
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            why = str(error) or "no answer"
            raise RemoteProtocolError(f"it cannot be reached: {why}") from None
        if len(data) > _MOST_BYTES:
            raise RemoteProtocolError("it is too long")
        return data

    async def stop(self) -> None:
        """Closes connections."""
        if self._session is not None:
            await self._session.close()


def certificate_standing(
    config: Config, *, revoked: Iterable[str], fetcher: StatusFetcher, counters: Counters
) -> CertificateStanding:
    """As the configuration has it. Raises ConfigError where the authorities cannot be read."""
    sip = config.listeners.sip
    authorities: list[x509.Certificate] = []
    if sip.client_ca_file is not None:
        try:
            authorities = x509.load_pem_x509_certificates(config.path(sip.client_ca_file).read_bytes())
        except (OSError, ValueError) as error:
            raise ConfigError(f"listeners.sip.client_ca_file cannot be read: {error}") from None
    status = sip.certificate_status
    return CertificateStanding(
        StandingSettings(
            lists=status.crls, responder=status.ocsp, otherwise=status.otherwise, refresh_s=status.refresh
        ),
        authorities=authorities,
        revoked=revoked,
        fetch=fetcher.fetch,
        counters=counters,
        now=lambda: datetime.now(UTC),
    )
