"""Digest authentication: the RFC's own examples, stale and replayed nonces, and what a stranger learns (nothing)."""

from __future__ import annotations

import pytest

from mediaserver.sip.credentials import Credentials
from mediaserver.sip.digest import (
    DigestServer,
    Verdict,
    _response,
    answer_challenge,
    choose_challenge,
    ha1,
    parse_digest,
)
from mediaserver.sip.message import Response
from tests.sip.conftest import PASSWORDS, REALM, Users
from tests.sip.wire import Wire, request

URI = "sip:example.org"
HERE = "192.0.2.9"


def make_server() -> DigestServer:
    return DigestServer(realm=REALM, lifetime_s=60, key=b"k" * 32)


def login(server: DigestServer, user: str, password: str, *, now: float = 0.0, pick: int = 0, uri: str = URI) -> str:
    challenge = parse_digest(server.challenges(now, source=HERE)[pick])
    assert challenge is not None
    return answer_challenge(challenge, Credentials(user, password), method="REGISTER", uri=uri)


def check(
    server: DigestServer, value: str, *, now: float = 1.0, method: str = "REGISTER", source: str = HERE
) -> Verdict:
    return server.check([value], method=method, uri=URI, users=Users(), source=source, now=now).verdict


@pytest.mark.parametrize(
    ("algorithm", "expected"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_example_of_rfc_7616_section_3_9_1(algorithm: str, expected: str) -> None:
    a1 = ha1("Mufasa", "http-auth@example.org", "Circle of Life", algorithm)
    got = _response(
        algorithm,
        a1,
        method="GET",
        uri="/dir/index.html",
        nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
        qop="auth",
        count="00000001",
        cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
    )
    assert got == expected


@pytest.mark.parametrize("pick", [0, 1])
def test_right_password_is_accepted_with_either_algorithm(pick: int) -> None:
    server = make_server()
    assert check(server, login(server, "alice", PASSWORDS["alice"], pick=pick)) is Verdict.OK


def test_sha_256_is_offered_first() -> None:
    first, second = make_server().challenges(0.0, source=HERE)
    assert "algorithm=SHA-256" in first
    assert "algorithm=MD5" in second


def test_wrong_password_unknown_user_and_other_method_are_wrong() -> None:
    server = make_server()
    assert check(server, login(server, "alice", "guess")) is Verdict.WRONG
    assert check(server, login(server, "nobody", "guess")) is Verdict.WRONG
    assert check(server, login(server, "alice", PASSWORDS["alice"]), method="INVITE") is Verdict.WRONG
    assert check(server, login(server, "alice", PASSWORDS["alice"], uri="sip:elsewhere")) is Verdict.WRONG


def test_old_nonce_is_stale_and_a_replay_too() -> None:
    server = make_server()
    value = login(server, "alice", PASSWORDS["alice"])
    assert check(server, value, now=61.0) is Verdict.STALE
    assert check(server, value) is Verdict.OK
    assert check(server, value) is Verdict.STALE
    assert "stale=true" in server.challenges(0.0, source=HERE, stale=True)[0]


def test_nonce_of_another_server_is_stale_not_wrong() -> None:
    value = login(DigestServer(realm=REALM, lifetime_s=60), "alice", PASSWORDS["alice"])
    assert check(make_server(), value) is Verdict.STALE


def test_nonce_serves_only_the_source_it_was_given_to() -> None:
    server = make_server()
    assert check(server, login(server, "alice", "guess"), source="192.0.2.10") is Verdict.STALE


def test_client_takes_the_first_challenge_it_can_answer() -> None:
    chosen = choose_challenge(
        [
            'Digest realm="r", nonce="n", algorithm=SHA-512-256, qop="auth"',
            'Basic realm="r"',
            'Digest realm="r", nonce="n", algorithm=SHA-256, qop="auth-int,auth"',
            'Digest realm="r", nonce="n"',
        ]
    )
    assert chosen is not None
    assert chosen["algorithm"] == "SHA-256"


def register(user: str, *, authorization: str = "", cseq: int = 1, branch: str = "r", extra: str = "") -> str:
    line = f"Authorization: {authorization}\n" if authorization else ""
    text = request("REGISTER", cseq=cseq, branch=f"z9hG4bK{branch}{cseq}", body="", extra=line + extra, uri=URI)
    return text.replace("sip:alice@example.org", f"sip:{user}@example.org")


def code(messages: list[object]) -> int:
    (message,) = messages
    assert isinstance(message, Response)
    return message.code


def test_unknown_users_are_answered_like_known_ones() -> None:
    wire = Wire(trunk=False)
    (known,) = wire.receive(register("alice"))
    (unknown,) = wire.receive(register("nobody"))

    def shape(response: object) -> list[str]:
        assert isinstance(response, Response)
        assert response.code == 401
        return [name for name, _ in response.headers]

    assert shape(known) == shape(unknown)


def test_wrong_passwords_ban_the_source_but_missing_ones_do_not() -> None:
    wire = Wire(trunk=False)
    for index in range(30):
        assert code(wire.receive(register("alice", cseq=index + 1))) == 401
        wire.now += 1
    bad = (
        'Digest username="alice", realm="example.org", nonce="{}", uri="sip:example.org", response="00", algorithm=MD5'
    )
    answers = []
    for index in range(15):
        (challenge,) = wire.receive(register("alice", cseq=100 + index, branch="c")) or [None]
        if challenge is None:
            break
        assert isinstance(challenge, Response)
        params = parse_digest(challenge.headers.all("WWW-Authenticate")[1])
        assert params is not None
        answers.append(wire.receive(register("alice", authorization=bad.format(params["nonce"]), cseq=200 + index)))
    assert len(answers) == 10
    assert answers[-1] == []  # the tenth wrong password is not answered any more
    assert wire.counts.table["sip.bans"] == 1
    assert wire.receive(register("alice", cseq=300)) == []
    wire.now += wire.config.limits.ban_s + 1
    assert code(wire.receive(register("alice", cseq=301))) == 401


def test_stranger_without_credentials_is_answered_at_a_bounded_rate() -> None:
    wire = Wire(trunk=False)
    answered = sum(bool(wire.receive(register("alice", cseq=index + 1))) for index in range(200))
    assert answered == 40
    assert wire.counts.table["sip.dropped.source_rate"] == 160
    wire.now += 1
    assert len(wire.core.layer) == 0  # challenges keep no state
    assert code(wire.receive(register("alice", cseq=300))) == 401
