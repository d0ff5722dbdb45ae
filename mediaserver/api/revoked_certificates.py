"""`/v1/revoked-certificates` on the administration's listener: devices and trunks whose certificate holds no more."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Protocol

import structlog
from aiohttp import web
from pydantic import BaseModel, ConfigDict, StringConstraints

from mediaserver.api.auth import AdminAuth
from mediaserver.api.body import read_json
from mediaserver.api.operation import Operation, json_answer, routes
from mediaserver.api.problem import Problem

log = structlog.get_logger()


class Certificates(Protocol):
    """Who asks of every certificate whether it holds."""

    @property
    def revoked(self) -> tuple[str, ...]:
        """What the house has revoked, by fingerprint."""
        ...

    def revoke(self, name: str) -> None:
        """This one holds no more."""
        ...

    def reinstate(self, name: str) -> bool:
        """It is for others to say again; False where it was not revoked."""
        ...


class Kept(Protocol):
    """Remembers them over a restart."""

    async def add(self, fingerprint: str, now: float) -> None:
        """Raises `StoreError`."""
        ...

    async def remove(self, fingerprint: str) -> None:
        """Raises `StoreError`."""
        ...


class RevokedCertificate(BaseModel):
    """One certificate."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", use_attribute_docstrings=True)
    fingerprint: Annotated[str, StringConstraints(pattern=r"^([0-9A-Fa-f]{2}:?){31}[0-9A-Fa-f]{2}$")]
    """SHA-256 of the certificate (DER) in hex, with or without colons, as `openssl x509 -fingerprint -sha256` and
    `/v1/registrations` say it."""


class RevokedCertificateList(BaseModel):
    """All of them."""

    model_config = ConfigDict(use_attribute_docstrings=True)
    items: list[RevokedCertificate]


class RevokedCertificatesResource:
    """Revokes, lists and takes back. What is revoked has its connections closed and its calls ended at once."""

    def __init__(
        self,
        *,
        certificates: Certificates,
        kept: Kept,
        admin: AdminAuth,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._certificates = certificates
        self._kept = kept
        self._admin = admin
        self._wall_clock = wall_clock

    def operations(self) -> list[Operation]:
        """Everything about them."""
        return [
            Operation(
                method="GET",
                path="/v1/revoked-certificates",
                handler=self.read_all,
                summary="Client certificates that the house has revoked.",
                scope="certificates:read",
                answer=RevokedCertificateList,
            ),
            Operation(
                method="POST",
                path="/v1/revoked-certificates",
                handler=self.create,
                summary="Revoke a client certificate: its connections are closed, its calls end.",
                scope="certificates:write",
                status=201,
                answer=RevokedCertificate,
                body=RevokedCertificate,
                problems={503: "It cannot be kept, and would be forgotten by a restart."},
            ),
            Operation(
                method="DELETE",
                path="/v1/revoked-certificates/{fingerprint}",
                handler=self.delete,
                summary="Let a certificate in again, as far as its authority does.",
                scope="certificates:write",
                status=204,
                problems={404: "It was not revoked here.", 503: "It cannot be forgotten."},
            ),
        ]

    def routes(self) -> list[web.AbstractRouteDef]:
        """What to add to the admin application."""
        return routes(self.operations())

    async def read_all(self, request: web.Request) -> web.Response:
        """`{items}`."""
        self._admin.require(request, "certificates:read")
        items = [RevokedCertificate(fingerprint=each) for each in self._certificates.revoked]
        return json_answer(RevokedCertificateList, RevokedCertificateList(items=items))

    async def create(self, request: web.Request) -> web.Response:
        """201; the same again changes nothing."""
        self._admin.require(request, "certificates:write")
        wanted = await read_json(request, RevokedCertificate)
        fingerprint = wanted.fingerprint.replace(":", "").lower()
        # In force at once, also where it cannot be kept: that is told.
        self._certificates.revoke(fingerprint)
        log.warning("certificate_revoked_by_house", fingerprint=fingerprint)
        await self._kept.add(fingerprint, self._wall_clock())
        return json_answer(RevokedCertificate, RevokedCertificate(fingerprint=fingerprint), status=201)

    async def delete(self, request: web.Request) -> web.Response:
        """204."""
        self._admin.require(request, "certificates:write")
        fingerprint = request.match_info["fingerprint"].replace(":", "").lower()
        if fingerprint not in self._certificates.revoked:
            raise Problem(404, "not-found", "This certificate was not revoked here.")
        await self._kept.remove(fingerprint)
        self._certificates.reinstate(fingerprint)
        log.info("certificate_reinstated", fingerprint=fingerprint)
        return web.Response(status=204)
