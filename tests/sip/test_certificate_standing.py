"""Whether a certificate holds: lists of its authority, its responder, and the house's own word."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Literal

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from mediaserver.errors import RemoteProtocolError
from mediaserver.sip.certificates.standing import CertificateStanding, StandingSettings
from mediaserver.sip.certificates.verdict import fingerprint
from tests.sip.certificate_authority import START, Authority, Issued
from tests.sip.conftest import Counts

LIST, RESPONDER = "http://ca.test/devices.crl", "http://ca.test/ocsp"
Answers = dict[str, Callable[[bytes | None], bytes]]


class World:
    """A standing with a clock, and what is at each address."""

    def __init__(
        self,
        authority: Authority,
        *,
        lists: tuple[str, ...] = (),
        responder: str | None = None,
        otherwise: Literal["refuse", "accept"] = "refuse",
        revoked: tuple[str, ...] = (),
    ) -> None:
        self.now: datetime = START
        self.there: Answers = {}
        self.asked: list[str] = []
        self.told = 0
        self.counts = Counts()
        self.standing = CertificateStanding(
            StandingSettings(lists, responder, otherwise),
            authorities=[authority.certificate],
            revoked=revoked,
            fetch=self._fetch,
            counters=self.counts,
            now=lambda: self.now,
        )
        self.standing.on_revoked = self._tell

    def _tell(self) -> None:
        self.told += 1

    async def _fetch(self, address: str, body: bytes | None) -> bytes:
        self.asked.append(address)
        if address not in self.there:
            raise RemoteProtocolError("nobody is there")
        return self.there[address](body)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def device(authority: Authority) -> Issued:
    return authority.issue(x509.DNSName("desk-17.example.org"))


@pytest.fixture(scope="module")
def other(authority: Authority) -> Issued:
    return authority.issue(x509.DNSName("desk-18.example.org"))


async def test_where_nobody_says_anything_only_the_house_revokes(authority: Authority, device: Issued) -> None:
    world = World(authority)
    assert await world.standing.holds(device.der)
    world.standing.revoke(fingerprint(device.der))
    assert world.told == 1
    assert not await world.standing.holds(device.der)
    assert world.standing.reinstate(fingerprint(device.der))
    assert not world.standing.reinstate(fingerprint(device.der))
    assert await world.standing.holds(device.der)


async def test_what_the_house_has_revoked_is_refused_after_a_restart(authority: Authority, device: Issued) -> None:
    world = World(authority, revoked=(fingerprint(device.der),), otherwise="accept")
    assert not await world.standing.holds(device.der)


async def test_a_list_refuses_who_is_on_it(authority: Authority, device: Issued, other: Issued) -> None:
    world = World(authority, lists=(LIST,))
    world.there[LIST] = lambda _: authority.revocation_list(other)
    assert await world.standing.refresh(LIST)
    assert world.told == 1
    assert await world.standing.holds(device.der)
    assert not await world.standing.holds(other.der)
    assert world.standing.is_revoked(other.der)
    world.there[LIST] = lambda _: authority.revocation_list(other, device, at=START + timedelta(seconds=1))
    assert await world.standing.refresh(LIST)
    assert (world.told, world.standing.is_revoked(device.der)) == (2, False)
    world.now += timedelta(seconds=1)
    assert world.standing.is_revoked(device.der)


@pytest.mark.parametrize(("otherwise", "admitted"), [("refuse", False), ("accept", True)])
async def test_without_a_list_or_with_an_old_one_the_file_decides(
    authority: Authority, device: Issued, otherwise: Literal["refuse", "accept"], admitted: bool
) -> None:
    world = World(authority, lists=(LIST,), otherwise=otherwise)
    assert not await world.standing.refresh(LIST)
    assert await world.standing.holds(device.der) is admitted
    world.there[LIST] = lambda _: authority.revocation_list()
    assert await world.standing.refresh(LIST)
    assert await world.standing.holds(device.der)
    world.now += timedelta(hours=2)
    assert not await world.standing.refresh(LIST)
    assert await world.standing.holds(device.der) is admitted
    # Who is on it stays refused only as long as it counts; then nothing is known, as of all others.
    assert world.counts.table["sip.certificate_lists.failed"] == 2


async def test_an_older_list_takes_nothing_back(authority: Authority, device: Issued) -> None:
    world = World(authority, lists=(LIST,))
    world.now = START + timedelta(minutes=10)
    world.there[LIST] = lambda _: authority.revocation_list(device, at=START + timedelta(minutes=5))
    assert await world.standing.refresh(LIST)
    world.there[LIST] = lambda _: authority.revocation_list(at=START)
    assert await world.standing.refresh(LIST)
    assert world.standing.is_revoked(device.der)


async def test_lists_of_strangers_and_partial_ones_are_none(authority: Authority, device: Issued) -> None:
    world = World(authority, lists=(LIST,))
    stranger = Authority()
    partial = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.name)
        .last_update(START)
        .next_update(START + timedelta(hours=1))
        .add_extension(x509.DeltaCRLIndicator(1), critical=True)
        .sign(authority.key, hashes.SHA256())
    )
    for data in (b"", b"junk", stranger.revocation_list(device), partial.public_bytes(Encoding.DER)):
        world.there[LIST] = lambda _, data=data: data  # type: ignore[misc]
        assert not await world.standing.refresh(LIST)
    assert not await world.standing.holds(device.der)


async def test_a_responder_is_asked_once_while_its_answer_counts(
    authority: Authority, device: Issued, other: Issued
) -> None:
    world = World(authority, responder=RESPONDER)
    world.there[RESPONDER] = lambda body: authority.answer(body or b"", (device, other), revoked=(other,))
    assert await world.standing.holds(device.der)
    assert await world.standing.holds(device.der)
    assert world.asked == [RESPONDER]
    assert not await world.standing.holds(other.der)
    assert world.standing.is_revoked(other.der)
    world.now += timedelta(hours=1, minutes=6)
    assert not await world.standing.holds(device.der), "that answer is too old now, and this one, too"


async def test_a_responder_may_be_one_whom_the_authority_made_one(authority: Authority, device: Issued) -> None:
    world = World(authority, responder=RESPONDER)
    good, mere = authority.responder(), authority.issue(x509.DNSName("ca.test"))
    world.there[RESPONDER] = lambda body: authority.answer(body or b"", (device,), signer=mere)
    assert not await world.standing.holds(device.der)
    world.there[RESPONDER] = lambda body: authority.answer(body or b"", (device,), signer=good)
    assert await world.standing.holds(device.der)


async def test_answers_that_prove_nothing_let_nobody_in(authority: Authority, device: Issued) -> None:
    world = World(authority, responder=RESPONDER)
    stranger = Authority()
    answers: list[Callable[[bytes], bytes]] = [
        lambda _: b"junk",
        lambda body: authority.answer(body, (device,), nonce=b"another question's"),
        lambda body: authority.answer(body, (device,), at=START - timedelta(hours=2)),
        lambda body: authority.answer(body, (device,), at=START + timedelta(hours=2)),
        lambda body: authority.answer(body, (device,), signer=stranger.responder()),
    ]
    for answer in answers:
        world.there[RESPONDER] = lambda body, answer=answer: answer(body or b"")  # type: ignore[misc]
        assert not await world.standing.holds(device.der)
    assert world.counts.table["sip.certificate_questions.failed"] == len(answers)


async def test_of_certificates_of_others_nobody_is_asked(authority: Authority) -> None:
    world = World(authority, responder=RESPONDER)
    assert not await world.standing.holds(Authority("Other").issue(x509.DNSName("x.test")).der)
    assert world.asked == []
