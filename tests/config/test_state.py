"""The state folder: first start, later starts, and folders that are refused."""

from __future__ import annotations

import ssl
import stat
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509

from mediaserver.config.model import Config
from mediaserver.config.sections import Certificate, Network, NetworkAddress
from mediaserver.config.state import bind_addresses, open_state, tls_files
from mediaserver.errors import ConfigError


def test_the_first_start_makes_a_private_folder_with_secrets_and_a_certificate(tmp_path: Path) -> None:
    state = open_state(Config(state_dir=tmp_path / "state"))
    assert stat.S_IMODE(state.folder.stat().st_mode) == 0o700
    assert "self-signed certificate" in state.made
    open_files = [path for path in state.folder.rglob("*") if stat.S_IMODE(path.stat().st_mode) & 0o077]
    assert open_files == []


def test_a_later_start_makes_nothing(tmp_path: Path) -> None:
    config = Config(state_dir=tmp_path / "state")
    open_state(config)
    key = tls_files(config, Certificate()).key.read_bytes()
    assert open_state(config).made == ()
    assert tls_files(config, Certificate()).key.read_bytes() == key


def test_the_certificate_serves_tls_for_localhost(tmp_path: Path) -> None:
    config = Config(state_dir=tmp_path / "state")
    open_state(config)
    files = tls_files(config, config.listeners.https.certificate)
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(files.chain, files.key)
    names = x509.load_pem_x509_certificate(files.chain.read_bytes()).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert "localhost" in names.value.get_values_for_type(x509.DNSName)
    assert ip_address("127.0.0.1") in names.value.get_values_for_type(x509.IPAddress)


def test_configured_certificates_are_taken_in_place_of_the_own_one(tmp_path: Path) -> None:
    config = Config(state_dir=tmp_path)
    files = tls_files(config, Certificate(chain_file=Path("/etc/c.pem"), key_file=Path("k.pem")))
    assert files.chain == Path("/etc/c.pem")
    assert files.key == tmp_path / "k.pem"


def test_a_state_folder_that_others_can_read_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    folder.chmod(0o755)
    with pytest.raises(ConfigError, match="chmod 700"):
        open_state(Config(state_dir=folder))


def test_a_state_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be used"):
        open_state(Config(state_dir=tmp_path / "file" / "state"))


def test_bind_addresses_keep_what_is_announced_and_look_up_auto() -> None:
    inside, outside = ip_address("10.0.0.5"), ip_address("203.0.113.5")
    config = Config(
        networks={
            "nat": Network(addresses=(NetworkAddress(bind=inside, announced=outside),)),
            "main": Network(),
        }
    )
    assert bind_addresses(config, ["nat"]) == ((inside, outside),)
    loopback = ip_address("127.0.0.1")
    assert (loopback, loopback) in bind_addresses(config, ["main"])
