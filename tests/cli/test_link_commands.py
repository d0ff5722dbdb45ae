"""Commands about Edge and Core, run as an operator runs them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_cli import mediaserver
from tests.peers.certificates import write_certificates

EDGE = """
role: edge
networks: {main: {addresses: [{bind: 10.1.0.2, announced: 203.0.113.5}]}}
listeners:
  webrtc: {port: 3478}
  shared_tls: {bind: ["10.1.0.2:443"], names: [video.bank.example]}
link:
  listen: 10.2.0.2:7443
  workers: 2
  cores: {inside: {name: core.bank.example, certificate_file: core.pem}}
"""
CORE = """
role: core
listeners: {https: {bind: []}}
link:
  edges:
    first: {address: "10.2.0.2:7443", name: edge1.bank.example, certificate_file: edge1.pem}
    second: {address: "10.2.1.2:7443", name: edge2.bank.example, certificate_file: edge2.pem}
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "mediaserver.yaml"
    path.write_text(f"state_dir: {folder / 'state'}\n{text}")
    return path


def rules(folder: Path, text: str, *options: str) -> dict[str, Any]:
    done = mediaserver("ports", "--config", written(folder, text), "--json", *options)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_ports_of_an_edge_are_told_by_firewall(tmp_path: Path) -> None:
    done = mediaserver("ports", "--config", written(tmp_path, EDGE), "--role", "edge")
    outer, inner = done.stdout.split("Inner firewall: from inside to this Edge")
    assert "Outer firewall: from the internet to this Edge" in outer
    assert "443" in outer
    assert "7443" not in outer
    assert "7443-7444" in inner
    assert "From the zone to the inside: nothing, ever." in inner


def test_of_an_edge_only_the_link_is_open_to_inside(tmp_path: Path) -> None:
    found = rules(tmp_path, EDGE)
    inner = [
        (rule["source"], rule["protocol"], rule["ports"]) for rule in found["allow"] if rule["firewall"] == "inner"
    ]
    assert inner == [("the Core", "tcp", "7443"), ("the Core", "udp", "7443-7444")]
    outer = [(rule["protocol"], rule["ports"]) for rule in found["allow"] if rule["firewall"] == "outer"]
    assert outer == [("tcp", "443"), ("udp", "3478"), ("tcp", "3478")]


def test_a_core_begins_everything_that_passes_the_inner_firewall(tmp_path: Path) -> None:
    found = rules(tmp_path, CORE, "--role", "core")
    inner = [rule for rule in found["allow"] if rule["firewall"] == "inner"]
    assert {rule["source"] for rule in inner} == {"this Core"}
    assert [(rule["address"], rule["protocol"], rule["ports"]) for rule in inner] == [
        ("10.2.0.2 (Edge first)", "tcp", "7443"),
        ("10.2.0.2 (Edge first)", "udp", "7443"),
        ("10.2.1.2 (Edge second)", "tcp", "7443"),
        ("10.2.1.2 (Edge second)", "udp", "7443"),
    ]
    assert "outer" not in {rule["firewall"] for rule in found["allow"]}


def test_sip_ports_are_told_only_where_sip_is_on(tmp_path: Path) -> None:
    with_sip = rules(tmp_path, CORE)["allow"]
    assert "5061" in {rule["ports"] for rule in with_sip}
    without = rules(tmp_path, CORE.replace("{https: {bind: []}}", "{https: {bind: []}, sip: {tls: null, tcp: null}}"))
    assert {rule["ports"] for rule in with_sip} - {rule["ports"] for rule in without["allow"]} == {"5061"}


def test_the_file_of_the_other_machine_is_refused_with_the_one_that_would_be_right(tmp_path: Path) -> None:
    done = mediaserver("ports", "--config", written(tmp_path, CORE), "--role", "edge")
    assert done.returncode == 78
    assert "has role: core: `ports --role edge` reads the file of the Edge" in done.stderr


@pytest.mark.parametrize("command", ["check-config", "run"])
def test_an_edge_with_a_certificate_for_a_page_exits_with_78(tmp_path: Path, command: str) -> None:
    page = write_certificates(tmp_path, "*.bank.example")
    certificate = f'certificate: {{chain_file: "{page.chain}", key_file: "{page.key}"}}'
    path = written(tmp_path, EDGE.replace("names: [video.bank.example]", f"names: [video.bank.example], {certificate}"))
    done = mediaserver(command, "--config", path)
    assert done.returncode == 78
    assert "*.bank.example, which covers video.bank.example" in done.stderr
    assert "turn.example.org" in done.stderr
