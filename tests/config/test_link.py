"""The section about the link: what each role needs of it, and what its firewalls must allow."""

from __future__ import annotations

import pytest

from mediaserver.config.firewall import openings
from mediaserver.config.loader import InvalidConfig, load_text
from mediaserver.config.secrets import SecretStore
from mediaserver.config.welcome import welcome

EDGE = """
role: edge
networks: {main: {addresses: [{bind: 10.1.0.2, announced: 203.0.113.5}]}}
listeners:
  webrtc: {port: 3478}
  shared_tls: {bind: ["10.1.0.2:443"], names: [video.example.org]}
link:
  listen: 10.2.0.2:7443
  workers: 2
  cores:
    inside: {name: core.example.org, certificate_file: core.pem}
"""

CORE_WITH_ORIGIN = """
role: core
link:
  edges:
    dmz: {address: "10.2.0.2:7443", name: e.org, certificate_file: e.pem, origin: "https://e.org"}
"""

CORES = """    a: {{id: 1, name: a.org, certificate_file: a.pem, server_names: [{}]}}
    b: {{id: 2, name: b.org, certificate_file: b.pem, server_names: [{}]}}
"""


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("role: core\n", "link.edges"),
        (
            CORE_WITH_ORIGIN,
            "web.origin",
        ),
        ("role: edge\n", "link.cores"),
        (
            "link:\n  cores: {a: {name: a.org, certificate_file: a.pem}, b: {name: b.org, certificate_file: b.pem}}\n",
            "link.cores.b.id",
        ),
        (EDGE + CORES.format("other.example.org", "video.example.org"), "link.cores.a.server_names"),
        (EDGE + CORES.format("video.example.org", "video.example.org"), "link.cores.b.server_names"),
    ],
)
def test_what_a_role_lacks_is_named(text: str, named: str) -> None:
    with pytest.raises(InvalidConfig, match=named):
        load_text(text)


def test_an_edge_needs_openings_of_its_own_and_no_others() -> None:
    found = [(o.source, o.address, o.protocol, o.ports) for o in openings(load_text(EDGE).config)]
    assert found == [
        ("browsers", "10.1.0.2", "tcp", "443"),
        ("browsers", "10.1.0.2 (announced as 203.0.113.5)", "udp", "3478"),
        ("browsers", "10.1.0.2 (announced as 203.0.113.5)", "tcp", "3478"),
        ("the Core", "10.2.0.2", "tcp", "7443"),
        ("the Core", "10.2.0.2", "udp", "7443-7444"),
    ]


def test_phones_and_trunks_need_openings_at_an_edge_that_takes_them() -> None:
    config = load_text(f"{EDGE}edge: {{sip_tls: 5061, sip_media_ports: 20000-20999}}\n").config
    found = [(o.source, o.address, o.protocol, o.ports) for o in openings(config)]
    here = "10.1.0.2 (announced as 203.0.113.5)"
    assert ("phones, trunks", here, "tcp", "5061") in found
    assert ("phones, trunks", here, "udp", "20000-20999") in found
    # Nothing of SIP in the clear, and nothing else.
    assert len(found) == len(list(openings(load_text(EDGE).config))) + 2


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ("sip_tls: 443", "edge.sip_tls"),
        ("sip_media_ports: 3000-4000", "edge.sip_media_ports"),
        ("sip_media_ports: 7000-8000", "edge.sip_media_ports"),
        ("networks: [outside]", "edge.networks"),
    ],
)
def test_ports_of_an_edge_that_collide_are_named(keys: str, named: str) -> None:
    with pytest.raises(InvalidConfig, match=named):
        load_text(f"{EDGE}edge: {{{keys}}}\n")


@pytest.mark.parametrize(
    ("keys", "named"),
    [("transport: udp", "by TLS"), ("srtp: never", "allow_plain")],
)
def test_a_trunk_beyond_the_edges_is_called_by_tls_and_not_heard_there(keys: str, named: str) -> None:
    with pytest.raises(InvalidConfig, match=named):
        load_text(f"trunks: {{carrier: {{target: 'sip:carrier.example', edge: true, {keys}}}}}\n")
    load_text("trunks: {carrier: {target: 'sip:carrier.example', edge: true, srtp: never, allow_plain: true}}\n")


def test_a_name_in_a_certificate_is_of_one_user_or_trunk() -> None:
    text = """
users:
  alice: {secret: {state: a}, certificate_names: [desk-1.example.org]}
  bob: {secret: {state: b}, certificate_names: [Desk-1.example.org]}
"""
    with pytest.raises(InvalidConfig, match=r"users\.bob\.certificate_names"):
        load_text(text)


def test_an_edge_with_turn_says_so_and_may_have_it_on_the_port_of_media() -> None:
    config = load_text(
        EDGE.replace("webrtc: {port: 3478}", "webrtc: {port: 3478, tcp: null}\n  turn: {port: 3478}")
    ).config
    found = [(o.protocol, o.ports, o.purpose) for o in openings(config) if o.source == "browsers"]
    assert found == [
        ("tcp", "443", "pages, passed through to the Core; TURN over TLS"),
        ("udp", "3478", "media of browsers, carried to the Core"),
        ("udp", "3478", "TURN"),
        ("tcp", "3478", "TURN"),
    ]


def test_an_edge_says_where_it_stands() -> None:
    config = load_text(EDGE).config
    said = dict(welcome(config, SecretStore(config), with_passwords=False))
    assert said["Visitors' media"] == "203.0.113.5, UDP 3478"
    assert said["Cores"] == "may dial 10.2.0.2:7443: inside"
