"""Devices that prove themselves by a certificate in place of a password, for as long as it holds."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509

from mediaserver.sip.certificates.standing import CertificateStanding, StandingSettings
from mediaserver.sip.certificates.verdict import fingerprint
from mediaserver.sip.config import Bind, SipConfig, Timers
from mediaserver.sip.events import Answered, Confirmed, Ended, Rejected
from mediaserver.sip.standalone import OutsideRequest
from mediaserver.sip.uri import SipUri
from mediaserver.sip.user_agent import IncomingInvite, UserAgent
from tests.sip.certificate_authority import Authority, Issued
from tests.sip.conftest import Counts, Endpoint, MakeEndpoint, Reader, Users, party
from tests.sip.test_sipp import SDP

NAME = "desk-17.phones.test"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority(now=datetime.now(UTC))


@pytest.fixture
def server(authority: Authority, tmp_path: Path) -> ssl.SSLContext:
    issued = authority.issue(x509.DNSName("sip.example.org"))
    file = tmp_path / "server.pem"
    file.write_bytes(issued.both())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    context.load_verify_locations(cadata=authority.pem().decode())
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


@pytest.fixture
async def house(make_endpoint: MakeEndpoint, server: ssl.SSLContext, authority: Authority) -> Endpoint:
    endpoint = await make_endpoint(tls_server=server, certificate_users={NAME: "bob"})
    endpoint.agent.use_certificates(standing(endpoint, authority))
    return endpoint


def standing(endpoint: Endpoint, authority: Authority) -> CertificateStanding:
    async def fetch(_: str, __: bytes | None) -> bytes:
        raise AssertionError("nobody is to be asked")

    return CertificateStanding(
        StandingSettings(),
        authorities=[authority.certificate],
        revoked=(),
        fetch=fetch,
        counters=endpoint.counts,
        now=lambda: datetime.now(UTC),
    )


@asynccontextmanager
async def device(shown: Issued, directory: Path, authority: Authority) -> AsyncIterator[UserAgent]:
    agent = UserAgent(
        config=SipConfig(
            binds=(Bind("tls", "127.0.0.1", 0),),
            domains=frozenset({"phones.test"}),
            realm="phones.test",
            timers=Timers(t1=0.05, t2=0.4, t4=0.5),
        ),
        users=Users(),
        counters=Counts(),
        tls_server=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER),
        tls_client=shown.context(directory, authority),
    )
    await agent.start()
    try:
        yield agent
    finally:
        await agent.stop(0.5)


async def call(agent: UserAgent, house: Endpoint) -> Reader:
    target = house.target("tls")
    return Reader(await agent.invite(house.uri("alice", "tls"), route_to=target, from_=party("bob"), body=SDP))


async def incoming(house: Endpoint) -> IncomingInvite:
    return await asyncio.wait_for(house.incoming.get(), 10)


@pytest.mark.parametrize(
    ("names", "user"),
    [
        ((x509.DNSName(NAME),), "bob"),
        ((x509.UniformResourceIdentifier("sip:bob@example.org"),), "bob"),
    ],
)
async def test_a_device_is_its_user_by_a_name_in_its_certificate(
    house: Endpoint, authority: Authority, tmp_path: Path, names: tuple[x509.GeneralName, ...], user: str
) -> None:
    async with device(authority.issue(*names), tmp_path, authority) as agent:
        reader = await call(agent, house)
        came = await incoming(house)
        assert came.authenticated_user == user
        came.session.reject(486)
        assert isinstance(await reader.next(), Rejected)


async def test_a_certificate_of_another_name_is_asked_for_a_password(
    house: Endpoint, authority: Authority, tmp_path: Path
) -> None:
    async with device(authority.issue(x509.DNSName("desk-99.phones.test")), tmp_path, authority) as agent:
        event = await (await call(agent, house)).next()
        assert isinstance(event, Rejected)
        assert event.code == 401


async def test_a_device_whose_certificate_is_revoked_is_registered_no_more(
    house: Endpoint, authority: Authority, tmp_path: Path
) -> None:
    shown = authority.issue(x509.DNSName(NAME))
    certificates = standing(house, authority)
    house.agent.use_certificates(certificates)
    async with device(shown, tmp_path, authority) as agent:
        request = OutsideRequest(
            "REGISTER",
            SipUri("example.org"),
            from_=party("bob"),
            to=party("bob"),
            headers=(("Contact", "<sip:bob@phones.test;transport=tls>"), ("Expires", "300")),
        )
        assert (await agent.request(request, targets=[house.target("tls")])).code == 200
        assert len(house.agent.bindings("bob@example.org")) == 1
        certificates.revoke(fingerprint(shown.der))
        assert house.agent.bindings("bob@example.org") == []


async def test_a_certificate_that_is_revoked_ends_calls_and_connection_and_lets_nobody_in_again(
    house: Endpoint, authority: Authority, tmp_path: Path
) -> None:
    shown = authority.issue(x509.DNSName(NAME))
    certificates = standing(house, authority)
    house.agent.use_certificates(certificates)
    async with device(shown, tmp_path, authority) as agent:
        reader = await call(agent, house)
        came = await incoming(house)
        came.session.answer(SDP)
        ours = Reader(came.session)
        assert isinstance(await reader.next(), Answered)
        assert isinstance(await ours.next(), Confirmed)
        assert house.agent.certificate_of(came.flow) == fingerprint(shown.der)
        certificates.revoke(fingerprint(shown.der))
        assert isinstance((await reader.rest())[-1], Ended)
        assert isinstance((await ours.rest())[-1], Ended)
        assert house.counts.table["sip.connections_closed.certificate"] == 1
    async with device(shown, tmp_path, authority) as again:
        event = await (await call(again, house)).next()
        assert isinstance(event, Rejected)
        assert event.code == 503
        assert house.counts.table["sip.certificates.revoked"] == 1
