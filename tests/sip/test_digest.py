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


def test_old_nonce_is_stale_and_a_replay_is_one() -> None:
    server = make_server()
    value = login(server, "alice", PASSWORDS["alice"])
    assert check(server, value, now=61.0) is Verdict.STALE
    assert check(server, value) is Verdict.OK
    assert check(server, value) is Verdict.REPLAYED
    assert "stale=true" in server.challenges(0.0, source=HERE, stale=True)[0]


def counted(nonce: str, count: str | None, *, uri: str = URI) -> str:
    """Alice's right proof with this nonce count; None is a client of RFC 2069, which has none."""
    qop = None if count is None else "auth"
    a1 = ha1("alice", REALM, PASSWORDS["alice"], "MD5")
    response = _response(
        "MD5", a1, method="REGISTER", uri=uri, nonce=nonce, qop=qop, count=count or "", cnonce="c" * 16
    )
    tail = "" if count is None else f', qop=auth, cnonce="{"c" * 16}", nc={count}'
    return f'Digest username="alice", realm="{REALM}", nonce="{nonce}", uri="{uri}", response="{response}"{tail}'


def test_a_nonce_count_serves_once_and_never_goes_back() -> None:
    server = make_server()
    nonce = server.make_nonce(0.0, HERE)
    counts = ["00000001", "00000002", "00000002", "00000001", "0000000a", "00000009", "0000000B"]
    verdicts = [check(server, counted(nonce, count)) for count in counts]
    good, again = Verdict.OK, Verdict.REPLAYED
    assert verdicts == [good, good, again, again, good, again, good]
    other = server.make_nonce(0.5, HERE)
    assert check(server, counted(other, "00000001")) is good


@pytest.mark.parametrize("count", ["0", "1", "0x000001", "-0000001", "000000001", "0000000g", "00000000", "٠٠٠٠٠٠٠١"])
def test_a_nonce_count_that_is_none_proves_nothing(count: str) -> None:
    server = make_server()
    assert check(server, counted(server.make_nonce(0.0, HERE), count)) is Verdict.REPLAYED


def test_a_client_without_counts_has_each_nonce_once() -> None:
    server = make_server()
    nonce = server.make_nonce(0.0, HERE)
    assert check(server, counted(nonce, None)) is Verdict.OK
    assert check(server, counted(nonce, None)) is Verdict.STALE
    assert check(server, counted(nonce, "00000002")) is Verdict.OK


def test_wrong_proofs_take_no_count_from_their_owner() -> None:
    server = make_server()
    nonce = server.make_nonce(0.0, HERE)
    forged = counted(nonce, "00000005").replace('response="', 'response="0')
    assert check(server, forged) is Verdict.WRONG
    assert check(server, counted(nonce, "00000001")) is Verdict.OK


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


def test_a_recorded_registration_that_is_sent_again_changes_nothing_and_bans_nobody() -> None:
    wire = Wire(trunk=False)
    (challenge,) = wire.receive(register("alice"))
    assert isinstance(challenge, Response)
    params = parse_digest(challenge.headers.all("WWW-Authenticate")[1])
    assert params is not None
    proof = answer_challenge(params, Credentials("alice", PASSWORDS["alice"]), method="REGISTER", uri=URI)
    recorded = register("alice", authorization=proof, cseq=2)
    assert code(wire.receive(recorded)) == 200
    moved = register("alice", authorization=proof, cseq=3).replace("bob@192.0.2.9:5070", "thief@203.0.113.66")
    gone = register("alice", authorization=proof, cseq=4, extra="Expires: 0\n")
    wire.wait(40)  # the first one's transaction is over
    for number, text in enumerate((recorded, *[moved] * 20, gone)):
        (refused,) = wire.receive(text.replace("branch=z9hG4bKr", f"branch=z9hG4bKn{number}"))
        assert isinstance(refused, Response)
        assert refused.code == 401
        assert "stale=true" in refused.headers.all("WWW-Authenticate")[0]
    (binding,) = wire.core.bindings("alice@example.org", wire.now)
    assert str(binding.contact) == "sip:bob@192.0.2.9:5070"
    assert wire.counts.table["sip.bans"] == 0


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
