"""A TURN server is tried over every transport, and what is in the way is named."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator

import pytest

from mediaserver.daemon.finding import Unanswered, Way
from mediaserver.daemon.turn_probe import challenge, take_and_give_back
from mediaserver.edge.credentials import CredentialMint
from mediaserver.edge.turn_request import TurnAnswer, allocate, proof, read
from mediaserver.engine import certificate
from tests.engine.edge_pair import LOOPBACK, SECRET, TURN_NAME, Pair, edge_and_core
from tests.engine.phones import until
from tests.peers.namespace import LOOPBACK as HOST

# RFC 5769 §2.4: a long-term key over this name, realm and password; here over a message of ours.
MINT = CredentialMint(secret=SECRET, lifetime_s=600.0, clock=time.time)


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    async with edge_and_core(certificate.generate(), workers=1) as made:
        yield made


def ways(pair: Pair) -> list[Way]:
    return [
        Way("udp", LOOPBACK, pair.port),
        Way("tcp", LOOPBACK, pair.port),
        Way("tls", LOOPBACK, pair.tls_port, TURN_NAME),
        Way("tls", LOOPBACK, pair.tls_port),
    ]


async def test_an_edge_asks_who_has_no_credentials_for_them_on_every_transport(pair: Pair) -> None:
    answers = [await challenge(way) for way in ways(pair)]
    assert [(answer.code, answer.realm, bool(answer.nonce)) for answer in answers] == [(401, b"house", True)] * 4


async def test_with_credentials_an_address_is_given_and_given_back(pair: Pair) -> None:
    for way in ways(pair):
        answer = await take_and_give_back(way, MINT.mint())
        assert (answer.code, answer.relayed.rpartition(":")[0]) == (0, LOOPBACK), way
    await until(lambda: pair.edge.counters().get("turn.allocations") == 0, what="no allocation", timeout_s=5)


async def test_credentials_of_another_secret_are_refused(pair: Pair) -> None:
    mint = CredentialMint(secret=b"another secret", lifetime_s=600.0, clock=time.time)
    for way in ways(pair):
        answer = await take_and_give_back(way, mint.mint())
        assert (answer.code, answer.relayed) == (401, ""), way


@pytest.mark.parametrize("protocol", ["udp", "tcp", "tls"])
async def test_a_port_of_nobody_refuses(protocol: str) -> None:
    with pytest.raises(Unanswered) as error:
        await challenge(Way(protocol, LOOPBACK, HOST.free_port()))  # type: ignore[arg-type]
    assert error.value.how == "refused"


async def test_who_listens_and_says_nothing_is_silent() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
        deaf.bind((LOOPBACK, 0))
        with pytest.raises(Unanswered) as error:
            await challenge(Way("udp", LOOPBACK, deaf.getsockname()[1]))
    assert error.value.how == "silent"


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", bytes(20)])
async def test_who_is_no_turn_server_is_told_from_one(said: bytes) -> None:
    async def talk(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        writer.close()

    server = await asyncio.start_server(talk, LOOPBACK, 0)
    async with server:
        with pytest.raises(Unanswered) as error:
            await challenge(Way("tcp", LOOPBACK, server.sockets[0].getsockname()[1]))
    assert error.value.how in ("closed", "other")


def test_an_answer_is_read_and_what_is_none_is_not() -> None:
    header = bytes.fromhex("0113 0030 2112a442") + bytes(12)
    error = bytes.fromhex("0009 0010 00000401") + b"Unauthorized"
    realm = bytes.fromhex("0014 0005") + b"house" + bytes(3)
    nonce = bytes.fromhex("0015 000a") + b"obMatJos2A" + bytes(2)
    whole = header + error + realm + nonce
    assert read(whole) == TurnAnswer(bytes(12), 401, b"house", b"obMatJos2A")
    assert read(whole[:-1]) is None
    assert read(allocate(bytes(12))) is None, "a request is no answer"
    assert read(whole[:4] + bytes(4) + whole[8:]) is None, "no cookie"
    assert read(whole[:1] + b"\x01" + whole[2:]) == TurnAnswer(bytes(12), 0, b"house", b"obMatJos2A")


def test_the_key_is_that_of_the_long_term_mechanism() -> None:
    """The MD5 of `user:realm:pass`, as RFC 8489 §9.2.2 gives it."""
    from mediaserver.edge.credentials import TurnCredentials

    asked = TurnAnswer(bytes(12), 401, b"realm", b"nonce")
    assert proof(TurnCredentials("user", "pass"), asked).key.hex() == "8493fbc53ba582fb4c044c456bdc40eb"
