"""Whether a certificate holds now: what the house has revoked, lists of its authorities, and their OCSP responder."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

import structlog
from cryptography import x509

from mediaserver.errors import MediaServerError, RemoteProtocolError
from mediaserver.sip.certificates import ocsp
from mediaserver.sip.certificates.revocation_list import RevocationList, read_list
from mediaserver.sip.certificates.verdict import MOST_BYTES, Standing, fingerprint, issuer_of
from mediaserver.sip.config import Counters

Fetch = Callable[[str, bytes | None], Awaitable[bytes]]
"""Gets what is at an address, sending a body where there is one. Raises MediaServerError."""

_MOST_ANSWERS: Final = 10_000
_MOST_ASKING: Final = 100
"""Questions to the responder at a time."""
_SOON_S: Final = 30.0
"""After a list that could not be had, in place of the usual time."""
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class StandingSettings:
    """By whose word certificates hold."""

    lists: tuple[str, ...] = ()
    """Addresses of CRLs."""
    responder: str | None = None
    """Address of an OCSP responder."""
    otherwise: Literal["refuse", "accept"] = "refuse"
    """What becomes of those of whom nobody says anything."""
    refresh_s: float = 3_600.0


class CertificateStanding:
    """Asked for every certificate that a connection shows; `on_revoked` is called when some may hold no more."""

    def __init__(
        self,
        settings: StandingSettings,
        *,
        authorities: Sequence[x509.Certificate],
        revoked: Iterable[str],
        fetch: Fetch,
        counters: Counters,
        now: Callable[[], datetime],
    ) -> None:
        self._settings = settings
        self._authorities = tuple(authorities)
        self._fetch = fetch
        self._counters = counters
        self._now = now
        self._revoked = set(revoked)
        """Fingerprints that the house has revoked."""
        self._lists: dict[str, RevocationList] = {}
        """By address."""
        self._answers: OrderedDict[str, ocsp.Answer] = OrderedDict()
        self._asking = asyncio.Semaphore(_MOST_ASKING)
        self.on_revoked: Callable[[], None] | None = None

    @property
    def revoked(self) -> tuple[str, ...]:
        """What the house has revoked, by fingerprint."""
        return tuple(sorted(self._revoked))

    def revoke(self, name: str) -> None:
        """The certificate with this fingerprint holds no more, whatever others say."""
        self._revoked.add(name)
        self._tell()

    def reinstate(self, name: str) -> bool:
        """It is for others to say again. False where it was not revoked."""
        known = name in self._revoked
        self._revoked.discard(name)
        return known

    async def holds(self, der: bytes) -> bool:
        """Whether a connection that shows this certificate may stay; whoever must be asked is asked."""
        standing = self.known(der)
        if standing == "unknown" and self._settings.responder is not None and len(der) <= MOST_BYTES:
            standing = await self._ask(self._settings.responder, der)
        return self._judge(standing)

    def is_revoked(self, der: bytes) -> bool:
        """Whether it is known to be revoked; nobody is asked."""
        return self.known(der) == "revoked"

    def known(self, der: bytes) -> Standing:
        """What is known without asking anybody."""
        name, now = fingerprint(der), self._now()
        if name in self._revoked:
            return "revoked"
        if not self._settings.lists and self._settings.responder is None:
            return "good"
        try:
            certificate = x509.load_der_x509_certificate(der)
        except ValueError:
            return "revoked"
        said = {each.standing(certificate, now) for each in self._lists.values()}
        if "revoked" in said:
            return "revoked"
        answer = self._answers.get(name)
        if answer is not None and answer.good_until is not None and now < answer.good_until:
            return answer.standing
        return "good" if "good" in said else "unknown"

    async def run(self) -> None:
        """Fetches the lists again and again, until it is cancelled."""
        while self._settings.lists:
            everything = [await self.refresh(address) for address in self._settings.lists]
            await asyncio.sleep(self._settings.refresh_s if all(everything) else _SOON_S)

    async def refresh(self, address: str) -> bool:
        """Fetches one list; what was there before stays where it could not be had."""
        try:
            found = read_list(await self._fetch(address, None), self._authorities)
            if self._now() >= found.next_update:
                raise RemoteProtocolError("the list of revoked certificates is too old")
        except MediaServerError as error:
            self._counters.inc("sip.certificate_lists", result="failed")
            _log.warning("certificate_list_not_had", address=address, reason=str(error))
            return False
        before = self._lists.get(address)
        if before is not None and found.this_update < before.this_update:
            # An older one, played again, would take back what was revoked since.
            self._counters.inc("sip.certificate_lists", result="older")
            return True
        self._lists[address] = found
        self._counters.inc("sip.certificate_lists", result="ok")
        if before is None or found.serials - before.serials:
            self._tell()
        return True

    async def _ask(self, responder: str, der: bytes) -> Standing:
        certificate = x509.load_der_x509_certificate(der)
        issuer = issuer_of(certificate, self._authorities)
        if issuer is None:
            return "unknown"
        if self._asking.locked():
            self._counters.inc("sip.certificate_questions", result="too_many")
            return "unknown"
        question = ocsp.ask(certificate, issuer)
        try:
            async with self._asking:
                answer = ocsp.read_answer(await self._fetch(responder, question.body), question, self._now())
        except MediaServerError as error:
            self._counters.inc("sip.certificate_questions", result="failed")
            _log.warning("certificate_not_asked", address=responder, reason=str(error))
            return "unknown"
        self._counters.inc("sip.certificate_questions", result=answer.standing)
        self._remember(fingerprint(der), answer)
        return answer.standing

    def _remember(self, name: str, answer: ocsp.Answer) -> None:
        latest = self._now() + timedelta(seconds=self._settings.refresh_s)
        if answer.good_until is not None:
            until = min(answer.good_until, latest)
            self._answers[name] = ocsp.Answer(answer.standing, until)
            self._answers.move_to_end(name)
            if len(self._answers) > _MOST_ANSWERS:
                self._answers.popitem(last=False)

    def _judge(self, standing: Standing) -> bool:
        holds = standing == "good" or (standing == "unknown" and self._settings.otherwise == "accept")
        self._counters.inc("sip.certificates", result=standing if holds or standing == "revoked" else "refused_unknown")
        return holds

    def _tell(self) -> None:
        if self.on_revoked is not None:
            self.on_revoked()
