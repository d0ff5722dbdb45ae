"""Names that a certificate speaks for, in all forms in which clients read them; and Edges with one too many."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mediaserver.config.covered_names import covers, presented_names, refuse_covering
from mediaserver.config.loader import load_text
from mediaserver.config.model import Config
from mediaserver.errors import ConfigError


@pytest.mark.parametrize(
    ("presented", "name"),
    [
        ("video.bank.example", "video.bank.example"),
        ("VIDEO.Bank.Example", "video.bank.example"),
        ("video.bank.example.", "video.bank.example"),
        ("video.bank.example", "video.bank.example."),
        ("*.bank.example", "video.bank.example"),
        ("*.BANK.example.", "Video.bank.example"),
        ("*.bank.example", "xn--vdeo-5sa.bank.example"),
        # RFC 6125 §6.4.3 leaves these to clients, and some take them.
        ("v*.bank.example", "video.bank.example"),
        ("*o.bank.example", "video.bank.example"),
        ("v*o.bank.example", "video.bank.example"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("xn--bcher-kva.example", "bücher.example"),
        ("XN--BCHER-KVA.example", "xn--bcher-kva.example"),
        ("*.bücher.example", "video.xn--bcher-kva.example"),
        ("BÜCHER。example", "xn--bcher-kva.example"),
        # One standard of names outside of ASCII writes this as strasse, the next one keeps it (RFC 5891 §5.4).
        ("straße.example", "strasse.example"),
        ("straße.example", "xn--strae-oqa.example"),
        ("*", "intranet"),
    ],
)
def test_a_name_is_covered_in_every_form(presented: str, name: str) -> None:
    assert covers(presented, name)


@pytest.mark.parametrize(
    ("presented", "name"),
    [
        ("turn.bank.example", "video.bank.example"),
        ("bank.example", "video.bank.example"),
        ("video.bank.example", "bank.example"),
        ("*.bank.example", "bank.example"),
        ("*.bank.example", "a.video.bank.example"),
        ("*.example", "video.bank.example"),
        ("video.*.example", "video.bank.example"),
        ("*.*.example", "video.bank.example"),
        ("v*d*o.bank.example", "video.bank.example"),
        ("video*.bank.example", "video.bank.example"),
        ("xn--*.bank.example", "xn--vdeo-5sa.bank.example"),
        ("x*.bank.example", "xn--vdeo-5sa.bank.example"),
        ("video.bank.example.evil.example", "video.bank.example"),
        ("*..example", "video..example"),
        ("", "video.bank.example"),
        ("192.0.2.1", "video.bank.example"),
    ],
)
def test_a_name_is_not_covered(presented: str, name: str) -> None:
    assert not covers(presented, name)


def made(*names: str, common_name: str = "somebody") -> tuple[x509.Certificate, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(list(map(x509.DNSName, names))), critical=False)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return builder.sign(key, hashes.SHA256()), pem


def test_the_common_name_counts_only_where_there_is_no_other() -> None:
    assert presented_names(made(common_name="video.bank.example")[0]) == ["video.bank.example"]
    assert presented_names(made("turn.bank.example", common_name="video.bank.example")[0]) == ["turn.bank.example"]


def edge(folder: Path, *, shared: tuple[str, ...] = (), link: tuple[str, ...] = (), role: str = "edge") -> Config:
    """An Edge with certificates for these names; without some it has none of its own."""
    sections = {"shared": "", "link": ""}
    for section, names in (("shared", shared), ("link", link)):
        if names:
            certificate, key = made(*names)
            (folder / f"{section}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
            (folder / f"{section}.key").write_bytes(key)
            (folder / f"{section}.key").chmod(0o600)
            sections[section] = f"certificate: {{chain_file: {section}.pem, key_file: {section}.key}}"
    return load_text(
        f"role: {role}\n"
        f"state_dir: {folder}\n"
        "listeners:\n"
        f"  shared_tls: {{bind: ['127.0.0.1:443'], names: [Video.Bank.example], {sections['shared']}}}\n"
        "link:\n"
        "  name: edge.internal\n"
        "  cores: {inside: {name: core.internal, certificate_file: core.pem}}\n"
        "  edges: {dmz: {address: '127.0.0.1:7443', name: edge.internal, certificate_file: edge.pem}}\n"
        f"  {sections['link']}\n"
    ).config


@pytest.mark.parametrize("names", [("video.bank.example",), ("turn.bank.example", "*.bank.example")])
def test_an_edge_refuses_a_certificate_for_a_page_that_passes_through(tmp_path: Path, names: tuple[str, ...]) -> None:
    with pytest.raises(
        ConfigError, match=r"listeners\.shared_tls\.certificate: .*covers video\.bank\.example.*turn\.example"
    ):
        refuse_covering(edge(tmp_path, shared=names, link=("edge.internal",)))


def test_a_certificate_of_the_link_is_refused_for_the_same(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"link\.certificate: .*is for \*\.bank\.example, which covers"):
        refuse_covering(edge(tmp_path, shared=("turn.bank.example",), link=("*.bank.example",)))


def test_a_name_of_the_link_is_refused_before_a_certificate_is_made_of_it(tmp_path: Path) -> None:
    config = edge(tmp_path)
    config = config.model_copy(update={"link": config.link.model_copy(update={"name": "video.bank.example"})})
    with pytest.raises(ConfigError, match=r"link\.name: "):
        refuse_covering(config)


def test_certificates_of_its_own_names_are_taken(tmp_path: Path) -> None:
    refuse_covering(edge(tmp_path, shared=("turn.bank.example",), link=("edge.internal",)))


def test_who_has_the_key_of_the_page_anyway_may_have_any_certificate(tmp_path: Path) -> None:
    refuse_covering(edge(tmp_path, shared=("video.bank.example",), role="all"))


def test_a_file_that_is_no_certificate_is_named(tmp_path: Path) -> None:
    config = edge(tmp_path, shared=("turn.bank.example",))
    (tmp_path / "shared.pem").write_text("hello")
    with pytest.raises(
        ConfigError, match=r"listeners\.shared_tls\.certificate: .*shared\.pem does not hold a certificate"
    ):
        refuse_covering(config)
