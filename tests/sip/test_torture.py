"""The torture messages of RFC 4475 and RFC 5118: each behaves as its RFC says."""

from __future__ import annotations

from pathlib import Path

import pytest

from mediaserver.sip.config import MessageLimits
from mediaserver.sip.errors import SipParseError
from mediaserver.sip.message import Request, Response
from mediaserver.sip.parser import StreamFramer, parse_datagram
from mediaserver.sip.uri import SipUri
from tests.sip.wire import Wire

DATA = Path(__file__).parent / "data"

# What a user agent that takes 192.0.2.0/24 for a trunk answers first; "new call" is 100 and a session,
# None is silence (and a count).
EXPECTED: dict[str, int | str | None] = {
    # §3.1.1 valid messages
    "wsinv": 481,  # understood; its To has a tag of no dialog of ours
    "intmeth": 405,
    "esc01": "new call",
    "escnull": 401,
    "esc02": 405,
    "lwsdisp": 200,
    "longreq": "new call",
    "dblreq": 401,
    "semiuri": 200,
    "transports": 200,
    "mpart01": 415,
    "unreason": None,
    "noreason": None,
    # §3.1.2 invalid messages
    "badinv01": 400,
    "clerr": 400,
    "ncl": 400,
    "scalar02": 400,
    "scalarlg": None,
    "quotbal": 400,
    "ltgtruri": 400,
    "lwsruri": 400,
    "lwsstart": 400,
    "trws": 400,
    "escruri": "new call",  # "may be lenient": headers in the Request-URI are ignored
    "baddate": "new call",  # we do not read Date
    "regbadct": 400,
    "badaspec": 200,  # lenient, as §3.1.2.14 allows
    "baddn": 200,  # lenient, as §3.1.2.15 allows
    "badvers": 505,
    "mismatch01": 400,
    "mismatch02": 400,
    "bigcode": None,
    # §3.2 transaction layer
    "badbranch": 200,
    # §3.3 application layer
    "insuf": None,
    "unkscm": 416,
    "novelsc": 416,
    "unksm2": 401,
    "bext01": 420,
    "invut": 415,
    "regaut01": 401,
    "multi01": 400,
    "mcl01": 400,
    "bcast": None,
    "zeromf": 200,  # we are its end; Max-Forwards 0 stops only what would go further
    "cparam01": 401,
    "cparam02": 401,
    "regescrt": 401,
    "sdp01": 406,
    # §3.4 backward compatibility
    "inv2543": "new call",
}


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_rfc4475_message(name: str) -> None:
    wire = Wire()
    sent = wire.receive((DATA / "rfc4475" / f"{name}.dat").read_bytes())
    expected = EXPECTED[name]
    if expected is None:
        assert sent == []
        assert any(key.startswith(("sip.malformed", "sip.dropped")) for key in wire.counts.table)
        return
    assert len(sent) == 1
    response = sent[0]
    assert isinstance(response, Response)
    assert response.code == (100 if expected == "new call" else expected)
    assert len(wire.new) == (expected == "new call")


def test_every_rfc4475_file_has_an_expectation() -> None:
    assert {path.stem for path in (DATA / "rfc4475").glob("*.dat")} == set(EXPECTED)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_rfc4475_message_on_a_stream_one_byte_at_a_time(name: str) -> None:
    """A stream may end in an error, but neither hangs nor raises anything else; whole requests survive the cutting."""
    framer = StreamFramer(MessageLimits())
    data = (DATA / "rfc4475" / f"{name}.dat").read_bytes()
    found: list[object] = []
    try:
        for index in range(len(data)):
            found += list(framer.feed(data[index : index + 1]))
    except SipParseError as error:
        found.append(error)
    assert found or framer.in_message


def test_wsinv_is_understood_field_by_field() -> None:
    message = parse_datagram((DATA / "rfc4475" / "wsinv.dat").read_bytes(), MessageLimits())
    assert isinstance(message, Request)
    assert message.from_.display_name == 'J Rosenberg \\"'
    assert (message.from_.tag, message.to.tag) == ("98asjd8", "1918181833n")
    assert message.max_forwards == 68
    assert message.cseq == (9, "INVITE")
    assert [via.host for via in message.vias] == ["192.0.2.2", "spindle.example.com", "192.168.255.111"]
    assert [via.branch for via in message.vias] == ["390skdjuw", "z9hG4bK9ikj8", "z9hG4bK30239"]
    assert message.headers.get("Newfangledheader") == "newfangled value continued newfangled value"
    assert message.contacts[0].param("q") == "0.33"
    assert message.contacts[0].display_name == 'Quoted string ""'
    assert message.routes[0].sip_uri.loose
    assert len(message.body) == 150


def test_semiuri_keeps_its_whole_user_part() -> None:
    message = parse_datagram((DATA / "rfc4475" / "semiuri.dat").read_bytes(), MessageLimits())
    assert isinstance(message, Request)
    uri = message.uri
    assert isinstance(uri, SipUri)
    assert (uri.user, uri.host) == ("user;par=u%40example.net", "example.com")


def test_escaped_user_names_compare_by_their_meaning() -> None:
    message = parse_datagram((DATA / "rfc4475" / "esc01.dat").read_bytes(), MessageLimits())
    assert message.to.sip_uri.user_text == "user"
    assert message.contacts[0].sip_uri.param("%6c%72") is not None  # an escaped lr: kept as it came
    assert not message.contacts[0].sip_uri.loose


# The ambiguous ":::" address is refused; what is a BYE for an unknown dialog gets 481 once it was understood.
EXPECTED_IPV6 = {
    "ipv6-good": 401,
    "ipv6-bad": 400,
    "port-ambiguous": 401,
    "port-unambiguous": 401,
    "via-received-param-with-delim": 481,
    "via-received-param-no-delim": 200,
    "ipv6-in-sdp": 100,
    "mult-ip-in-header": 481,
    "mult-ip-in-sdp": 100,
    "ipv4-mapped-ipv6": 100,
    "ipv6-bug-abnf-3-colons": 400,
    "ipv6-correct-abnf-2-colons": 200,
}


def rfc5118(name: str) -> bytes:
    return (DATA / "rfc5118" / f"{name}.dat").read_bytes()


@pytest.mark.parametrize("name", sorted(EXPECTED_IPV6))
def test_rfc5118_message(name: str) -> None:
    (response,) = Wire().receive(rfc5118(name))
    assert isinstance(response, Response)
    assert response.code == EXPECTED_IPV6[name]


def test_rfc5118_ambiguous_port_is_part_of_the_address() -> None:
    message = parse_datagram(rfc5118("port-ambiguous"), MessageLimits())
    assert isinstance(message, Request)
    assert (message.sip_uri.host, message.sip_uri.port) == ("2001:db8::10:5070", None)
    clear = parse_datagram(rfc5118("port-unambiguous"), MessageLimits())
    assert isinstance(clear, Request)
    assert (clear.sip_uri.host, clear.sip_uri.port) == ("2001:db8::10", 5070)
