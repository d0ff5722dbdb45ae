"""Which trunk a request comes from: by address, by certificate, by digest, or by where we registered."""

from __future__ import annotations

import ipaddress
from dataclasses import replace

from mediaserver.sip.config import TrunkRule
from mediaserver.sip.credentials import StoredCredential
from mediaserver.sip.digest import Credentials, answer_challenge, ha1, parse_digest
from mediaserver.sip.flow import Flow
from mediaserver.sip.message import Response
from mediaserver.sip.transport.stream import names_in
from mediaserver.sip.trunk_rules import TrunkRules
from tests.sip.wire import Wire, request

STRANGER = Flow("udp", "192.0.2.1", 5060, "198.51.100.9", 5060)
INSIDE = TrunkRule("inside", (ipaddress.ip_network("10.0.0.0/8"),), transports=frozenset({"udp"}))
CERTIFIED = TrunkRule("certified", (), certificate_names=frozenset({"sbc.carrier.test"}))


def name(found: TrunkRule | None) -> str | None:
    return found.name if found is not None else None


def test_addresses_and_transports_decide() -> None:
    rules = TrunkRules([INSIDE])
    inside = replace(STRANGER, remote_ip="10.1.2.3")
    assert name(rules.of(inside)) == "inside"
    assert name(rules.of(replace(inside, remote_ip="::ffff:10.1.2.3"))) == "inside"
    assert rules.of(replace(inside, transport="tcp")) is None
    assert rules.of(STRANGER) is None


def test_a_certificate_proves_a_trunk_from_anywhere() -> None:
    rules = TrunkRules([INSIDE, CERTIFIED])
    assert name(rules.of(STRANGER, ("other.test", "SBC.carrier.test"))) == "certified"
    assert rules.of(STRANGER, ("evil.test",)) is None


def test_addresses_are_learnt_and_forgotten_with_their_trunk() -> None:
    rules = TrunkRules([CERTIFIED])
    rules.learn("certified", ["198.51.100.9"])
    assert name(rules.of(STRANGER)) == "certified"
    rules.learn("certified", ["198.51.100.10"])
    assert rules.of(STRANGER) is None
    rules.learn("certified", ["198.51.100.9"])
    rules.replace([INSIDE])
    rules.replace([INSIDE, CERTIFIED])
    assert rules.of(STRANGER) is None


def test_names_come_from_the_alternative_names_first() -> None:
    subject = ((("commonName", "Old.test"),),)
    assert names_in({"subject": subject}) == ("old.test",)
    alternative = (("DNS", "A.test"), ("URI", "sip:carrier.test"), ("URI", "https://x.test"), ("IP Address", "::1"))
    assert names_in({"subject": subject, "subjectAltName": alternative}) == ("carrier.test", "a.test")
    assert names_in({}) == ()


def test_an_invite_over_a_proven_connection_is_the_trunks() -> None:
    wire = Wire(trunk=False)
    wire.core.trunks.replace([CERTIFIED])
    flow = Flow("tls", "192.0.2.1", 5061, "198.51.100.9", 40000, 77)
    wire.receive(request(), flow)
    assert [(new.trunk, new.authenticated_user) for new in wire.new] == [("certified", None)]
    assert wire.receive(request(call_id="other", branch="z9hG4bKo"), replace(flow, id=78))[-1].code == 401  # type: ignore[union-attr]


class OneTrunk:
    """Knows the trunk's user and nobody else."""

    def lookup(self, username: str, realm: str) -> StoredCredential | None:
        if username != "sbc":
            return None
        return StoredCredential(ha1("sbc", realm, "pw", "MD5"), ha1("sbc", realm, "pw"), trunk="digest")


def test_a_trunk_proves_itself_by_digest_calls_as_anybody_and_registers_nothing() -> None:
    wire = Wire(trunk=False)
    wire.core._requests._users = OneTrunk()
    wire.core.trunks.replace([TrunkRule("digest", ())])
    for method, code in (("INVITE", 100), ("REGISTER", 403)):
        uri = "sip:+4930555@192.0.2.1" if method == "INVITE" else "sip:example.org"
        challenged = wire.receive(request(method, uri=uri, branch=f"z9hG4bK1{method}", call_id=method), STRANGER)[-1]
        assert isinstance(challenged, Response)
        assert challenged.code == 401
        challenge = parse_digest(challenged.headers.all("WWW-Authenticate")[0])
        assert challenge is not None
        value = answer_challenge(challenge, Credentials("sbc", "pw"), method=method, uri=uri)
        again = request(
            method, uri=uri, cseq=2, branch=f"z9hG4bK2{method}", call_id=method, extra=f"Authorization: {value}\n"
        )
        assert [message.code for message in wire.receive(again, STRANGER) if isinstance(message, Response)] == [code]
    assert [(new.trunk, new.authenticated_user) for new in wire.new] == [("digest", None)]
