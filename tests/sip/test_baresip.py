"""baresip registers and is called over the flow it registered on, with digest, over UDP, TCP and TLS."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest

from mediaserver.sip.config import Bind
from mediaserver.sip.events import Answered, Ended
from mediaserver.sip.flow import Transport
from tests.peers.baresip import Phone, baresip
from tests.peers.certificates import write_certificates
from tests.sip.conftest import PASSWORDS, MakeEndpoint, Reader, party
from tests.sip.test_sipp import SDP

pytestmark = [pytest.mark.smoke, pytest.mark.timeout(240)]


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
async def test_phone_registers_calls_and_is_called(
    make_endpoint: MakeEndpoint, tmp_path: Path, transport: Transport
) -> None:
    certificates = write_certificates(tmp_path, "127.0.0.1")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificates.both)
    endpoint = await make_endpoint(binds=(Bind(transport, "127.0.0.1", 0),), tls_server=server)
    port = endpoint.target(transport).port
    phone = Phone(
        "bob",
        domain=f"127.0.0.1:{port}",
        password=PASSWORDS["bob"],
        transport=transport,
        register=True,
        certificate=certificates.both,
        ca_file=certificates.ca,
        answer_after_s=0.1,
    )
    async with baresip(phone, tmp_path) as running:
        await running.wait_registered()
        (binding,) = endpoint.agent.bindings("bob@example.org")
        assert binding.flow.transport == transport
        session = await endpoint.agent.invite(binding.contact, via_flow=binding.flow, from_=party("alice"), body=SDP)
        reader = Reader(session)
        while not isinstance(event := await reader.next(), Answered):
            assert not isinstance(event, Ended)
        assert event.body is not None
        assert b"m=audio" in event.body
        await running.wait_established()
        await running.hangup()
        ended = (await reader.rest())[-1]
        assert isinstance(ended, Ended)
        assert ended.by == "remote"
        await running.dial(f"sip:alice@127.0.0.1:{port};transport={transport}")
        async with asyncio.timeout(40):
            incoming = await endpoint.incoming.get()
        assert incoming.authenticated_user == "bob"
        incoming.session.ring()
        incoming.session.answer(SDP)
        await running.wait_established()
        incoming.session.hangup()
        await running.wait_closed()
