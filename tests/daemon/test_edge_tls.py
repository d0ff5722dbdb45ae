"""The TLS of an Edge's visitors: which names end there, what a reload changes, and what visitors hear without a Core."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from mediaserver.config.covered_names import refuse_covering, terminated_names
from mediaserver.config.loader import load_text
from mediaserver.config.model import Config
from mediaserver.config.reload import diff, taken_over
from mediaserver.daemon.edge_status import trusted_edges
from mediaserver.daemon.edge_tls import prepare_edge, refuse_in_clear
from mediaserver.errors import ConfigError
from tests.peers.certificates import write_certificates


def edge(folder: Path, *, tls: str = "terminate", page: str = "*.bank.example", more: str = "") -> Config:
    certificates = write_certificates(folder / page.replace("*", "any"), page)
    own = write_certificates(folder / "own", "turn.house.example")
    section = (
        f"certificate: {{chain_file: {certificates.chain}, key_file: {certificates.key}}}" if tls == "terminate" else ""
    )
    return load_text(
        "role: edge\n"
        f"state_dir: {folder}\n"
        "listeners:\n"
        "  shared_tls:\n"
        "    bind: ['127.0.0.1:443']\n"
        "    names: [video.bank.example, sip.other.example]\n"
        f"    certificate: {{chain_file: {own.chain}, key_file: {own.key}}}\n"
        "link: {name: edge.internal, cores: {inside: {name: core.internal, certificate_file: core.pem}}}\n"
        f"edge: {{tls: {tls}, trusted_proxies: [10.0.0.0/24], {section if tls == 'terminate' else ''}}}\n{more}"
    ).config


def test_names_that_the_certificate_covers_end_here_and_others_pass(tmp_path: Path) -> None:
    config = edge(tmp_path)
    assert terminated_names(config) == ("video.bank.example",)
    settings = prepare_edge(config).shared_tls
    assert settings is not None
    assert settings.page_certificate is not None
    assert settings.page_certificate.names == ("video.bank.example",)
    assert settings.trusted_proxies == ("10.0.0.0/24",)
    assert prepare_edge(edge(tmp_path, tls="pass")).terminated == frozenset()


def test_an_edge_that_ends_tls_may_have_no_other_certificate_for_what_passes(tmp_path: Path) -> None:
    config = edge(tmp_path)
    link = config.link.model_copy(update={"name": "sip.other.example"})
    with pytest.raises(ConfigError, match=r"link\.name: .*covers sip\.other\.example"):
        refuse_covering(config.model_copy(update={"link": link}))
    refuse_covering(config.model_copy(update={"link": config.link.model_copy(update={"name": "video.bank.example"})}))


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ("tls: terminate", "needs a certificate"),
        ("tls: both", "edge.tls"),
        ("certificate: {chain_file: a, key_file: b}", "for tls: terminate alone"),
    ],
)
def test_what_makes_no_sense_is_refused(section: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_text(f"edge: {{{section}}}\n")


def test_certificates_names_and_proxies_change_while_visitors_are_served(tmp_path: Path) -> None:
    before = edge(tmp_path)
    after = edge(tmp_path, page="video.bank.example", more="drain: {retry_after: 3s}\nlog: {level: debug}\n")
    after = after.model_copy(update={"edge": after.edge.model_copy(update={"trusted_proxies": ()})})
    changes = {".".join(map(str, change.path)): change.needs_restart for change in diff(before, after)}
    assert changes == {
        "edge.certificate.chain_file": False,
        "edge.certificate.key_file": False,
        "edge.trusted_proxies": False,
        "drain.retry_after": False,
        "log.level": True,
    }
    merged = taken_over(before, after)
    assert merged.edge == after.edge
    assert merged.drain.retry_after == 3
    assert merged.log == before.log


def test_what_is_live_of_a_core_needs_a_restart_of_an_edge(tmp_path: Path) -> None:
    before = edge(tmp_path)
    after = edge(tmp_path, more="users: {ann: {secret: {env: A}}}\n")
    assert [change.needs_restart for change in diff(before, after)] == [True]
    assert taken_over(before, after).users == {}


def test_a_visitor_without_a_core_is_told_when_to_come_back() -> None:
    ours, theirs = socket.socketpair()
    theirs.sendall(b"GET / HTTP/1.1\r\nHost: video.bank.example\r\n\r\n")
    refuse_in_clear(ours.detach(), retry_after_s=7.4)
    with theirs, theirs.makefile("rb") as answer:
        head, _, body = answer.read().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nRetry-After: 7\r\n" in head
    assert f"Content-Length: {len(body)}".encode() in head


def test_a_visitor_who_has_gone_is_told_nothing() -> None:
    ours, theirs = socket.socketpair()
    theirs.close()
    fd = ours.detach()
    refuse_in_clear(fd, retry_after_s=1)
    with pytest.raises(OSError, match="Bad file descriptor"):
        socket.socket(fileno=fd)


def test_status_says_who_in_the_zone_has_to_be_trusted(tmp_path: Path) -> None:
    (sentence,) = trusted_edges(edge(tmp_path))
    assert sentence.startswith("TLS of video.bank.example ends at this Edge")
    assert list(trusted_edges(edge(tmp_path, tls="pass"))) == []
    core = (
        "role: core\nlink: {edges: {dmz: {address: '10.0.0.1:7443', name: edge.internal, certificate_file: e.pem%s}}}\n"
    )
    assert list(trusted_edges(load_text(core % "").config)) == []
    (sentence,) = trusted_edges(load_text(core % ", tls: terminate").config)
    assert sentence.startswith("Edge dmz may end the TLS of visitors")
