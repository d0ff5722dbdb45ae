"""Who a machine is on the link: made once, for its name; and whom it accepts."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509

from mediaserver.config.link import Link
from mediaserver.config.model import Config
from mediaserver.daemon.link_identity import accepted, credentials, own_certificate
from mediaserver.errors import ConfigError


def config(folder: Path, name: str = "core.example.org") -> Config:
    return Config(state_dir=folder, link=Link(name=name))


def test_it_is_made_once_for_its_name(tmp_path: Path) -> None:
    chain, key = own_certificate(config(tmp_path))
    names = x509.load_pem_x509_certificate(chain).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert names.value.get_values_for_type(x509.DNSName) == ["core.example.org"]
    assert own_certificate(config(tmp_path)) == (chain, key)
    assert (tmp_path / "link.pem").stat().st_mode & 0o777 == 0o600


def test_another_name_asks_for_another_certificate(tmp_path: Path) -> None:
    own_certificate(config(tmp_path))
    with pytest.raises(ConfigError, match=r"not for link\.name edge\.example\.org: delete it"):
        own_certificate(config(tmp_path, "edge.example.org"))


def test_the_other_ends_certificate_is_pinned_and_believed(tmp_path: Path) -> None:
    chain, _ = own_certificate(config(tmp_path))
    (tmp_path / "other.pem").write_bytes(chain)
    other = accepted(config(tmp_path), Path("other.pem"), key="link.edges.dmz.certificate_file")
    assert len(other.fingerprint) == 32
    assert credentials(config(tmp_path), (other,)).issuers_pem == chain


def test_a_file_that_is_no_certificate_is_named(tmp_path: Path) -> None:
    (tmp_path / "other.pem").write_text("hello")
    with pytest.raises(ConfigError, match=r"link.edges.dmz.certificate_file: .*other.pem does not hold a certificate"):
        accepted(config(tmp_path), Path("other.pem"), key="link.edges.dmz.certificate_file")
