"""Trunks and users that prove themselves by a client certificate over real TLS connections; others may come without."""

from __future__ import annotations

import ssl

import pytest
import trustme

from mediaserver.sip.config import Bind, SipConfig, Timers, TrunkRule
from mediaserver.sip.events import Rejected
from mediaserver.sip.flow import Target
from mediaserver.sip.headers import NameAddr
from mediaserver.sip.standalone import OutsideRequest
from mediaserver.sip.uri import SipUri
from mediaserver.sip.user_agent import IncomingInvite, UserAgent
from tests.sip.conftest import REALM, Counts, Endpoint, MakeEndpoint, Reader, Users, party
from tests.sip.test_sipp import SDP

AUTHORITY = trustme.CA()


def server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert("sip.example.org").configure_cert(context)
    AUTHORITY.configure_trust(context)
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


def client_context(name: str | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    AUTHORITY.configure_trust(context)
    if name is not None:
        AUTHORITY.issue_cert(name).configure_cert(context)
    return context


async def caller(name: str | None) -> UserAgent:
    agent = UserAgent(
        config=SipConfig(
            binds=(Bind("udp", "127.0.0.1", 0), Bind("tls", "127.0.0.1", 0)),
            domains=frozenset({"carrier.test"}),
            realm="carrier.test",
            timers=Timers(t1=0.05, t2=0.4, t4=0.5),
        ),
        users=Users(),
        counters=Counts(),
        tls_server=server_context(),
        tls_client=client_context(name),
    )
    await agent.start()
    return agent


async def trunk_of_a_call(house: Endpoint, name: str | None) -> str | int:
    """The trunk that a call over TLS with this certificate came in by, or the status that it was refused with."""
    agent = await caller(name)
    try:
        session = await agent.invite(
            house.uri("bob", "tls"), route_to=house.target("tls"), from_=party("mallory"), body=SDP
        )
        event = await Reader(session).next()
        if isinstance(event, Rejected):
            return event.code
        incoming = house.incoming.get_nowait()
        incoming.session.reject(486)
        assert incoming.authenticated_user is None
        return incoming.trunk or ""
    finally:
        await agent.stop(0.5)


@pytest.fixture
async def house(make_endpoint: MakeEndpoint) -> Endpoint:
    rule = TrunkRule("carrier", (), certificate_names=frozenset({"sbc.carrier.test"}))
    endpoint = await make_endpoint(tls_server=server_context(), trunks=(rule,))

    async def ring(incoming: object) -> None:
        endpoint.incoming.put_nowait(incoming)  # type: ignore[arg-type]
        incoming.session.ring()  # type: ignore[attr-defined]

    endpoint.agent.on_invite = ring
    return endpoint


@pytest.mark.parametrize(("name", "outcome"), [("sbc.carrier.test", "carrier"), ("other.test", 401), (None, 401)])
async def test_only_the_certificate_of_the_trunk_is_the_trunk(
    house: Endpoint, name: str | None, outcome: str | int
) -> None:
    assert await trunk_of_a_call(house, name) == outcome


async def test_a_certificate_of_a_stranger_ends_the_handshake(house: Endpoint) -> None:
    agent = await caller(None)
    stranger = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    AUTHORITY.configure_trust(stranger)
    trustme.CA().issue_cert("sbc.carrier.test").configure_cert(stranger)
    agent.set_tls(server=server_context(), client=stranger)
    try:
        request = OutsideRequest(
            "OPTIONS", house.uri("bob", "tls"), from_=NameAddr(SipUri(REALM, "mallory")), patience_s=1.0
        )
        done = await agent.request(request, targets=[house.target("tls")])
    finally:
        await agent.stop(0.5)
    assert done.code in (408, 503)
    assert house.counts.table["sip.tls_handshakes.failed"] == 1


async def asked(agent: UserAgent, port: int, name: str) -> int:
    """The outcome of an OPTIONS over TLS to this port of loopback, whose certificate must carry a name."""
    uri = SipUri("127.0.0.1", port=port, params=(("transport", "tls"),))
    request = OutsideRequest("OPTIONS", uri, from_=NameAddr(SipUri(REALM, "house")), patience_s=2.0)
    return (await agent.request(request, targets=[Target("tls", "127.0.0.1", port, name)])).code


def port_of(agent: UserAgent) -> int:
    return next(port for kind, _, port in agent.listening if kind == "tls")


async def test_who_proved_a_name_is_reached_by_the_connection_that_he_opened(house: Endpoint) -> None:
    agent = await caller("sbc.carrier.test")
    try:
        assert await asked(agent, house.target("tls").port, "sip.example.org") == 200
        # The certificate that its own port shows has another name: only the open connection leads to this one.
        assert await asked(house.agent, port_of(agent), "sbc.carrier.test") == 200
        assert house.counts.table["sip.connects.ok"] == 0
        assert await asked(house.agent, port_of(agent), "other.carrier.test") == 503
        assert house.counts.table["sip.connects.failed"] == 1
    finally:
        await agent.stop(0.5)


async def test_who_proved_nothing_is_not_reached_so(house: Endpoint) -> None:
    agent = await caller(None)
    house.agent.set_tls(server=server_context(), client=client_context(None))
    try:
        assert await asked(agent, house.target("tls").port, "sip.example.org") == 200
        assert await asked(house.agent, port_of(agent), "sip.example.org") == 200
        assert house.counts.table["sip.connects.ok"] == 1
    finally:
        await agent.stop(0.5)


async def test_after_a_reload_the_next_request_shows_the_new_certificate(house: Endpoint) -> None:
    seen: list[str | None] = []

    async def ring(incoming: IncomingInvite) -> None:
        seen.append(incoming.trunk)
        incoming.session.reject(486)

    house.agent.on_invite = ring
    agent = await caller(None)
    try:
        codes = []
        for context in (None, client_context("sbc.carrier.test"), client_context("other.test")):
            if context is not None:
                agent.set_tls(server=server_context(), client=context)
            session = await agent.invite(
                house.uri("bob", "tls"), route_to=house.target("tls"), from_=party("mallory"), body=SDP
            )
            event = await Reader(session).next()
            assert isinstance(event, Rejected)
            codes.append(event.code)
    finally:
        await agent.stop(0.5)
    assert codes == [401, 486, 401]
    assert seen == ["carrier"]
