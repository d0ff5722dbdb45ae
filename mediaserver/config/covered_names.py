"""Which names a certificate speaks for: no certificate of an Edge may speak for a page that only passes through it."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID

from mediaserver.config.loader import key_text
from mediaserver.config.model import Config
from mediaserver.config.references import KeyPath
from mediaserver.config.state import tls_files
from mediaserver.errors import ConfigError

_ACE: Final = "xn--"
"""Labels outside of ASCII begin with this in DNS (RFC 5890 §2.3.2.1)."""
_DOTS: Final = str.maketrans("。．｡", "...")
"""Dots of other scripts, which stand for the one of DNS (RFC 3490 §3.1)."""


def covers(presented: str, name: str) -> bool:
    """Whether a client that wants `name` would take a certificate that presents `presented` (RFC 9525 §6.3, RFC 6125 §6.4).

    Upper and lower case, a dot at the end and names outside of ASCII are seen as DNS sees them. What only RFC 6125 allows
    counts, too, as some clients go by it: `*` as a part of the first label. A `*` elsewhere covers nothing.
    """
    wanted = [_labels(form) for form in _forms(name)]
    return any(_matches(_labels(form), labels) for form in _forms(presented) for labels in wanted)


def presented_names(certificate: x509.Certificate) -> list[str]:
    """Names in DNS that it was made for: of its subjectAltName, or where that has none, its common names (RFC 6125
    §6.4.4). Raises ValueError where they cannot be read."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names = extension.value.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound:
        names = []
    if names:
        return list(names)
    return [str(each.value) for each in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]


def covering_problems(config: Config) -> Iterator[tuple[KeyPath, str]]:
    """(key path, what would be right) for each certificate of this Edge that covers a name which passes through it.

    Raises ConfigError where one cannot be read."""
    if config.role != "edge":
        return
    shared, link = config.listeners.shared_tls, config.link
    ended = terminated_names(config)
    passed = [name for name in shared.names if name not in ended]
    if shared.bind:
        file = tls_files(config, shared.certificate).chain
        # What is made on first start is there at the start at the latest.
        if shared.certificate.chain_file is not None or file.exists():
            key: KeyPath = ("listeners", "shared_tls", "certificate")
            yield from _said(key, str(file), _names_in(key, file), passed, "turn.example.org")
    if link.certificate.chain_file is None:
        yield from _said(("link", "name"), "the certificate made of it", [link.name], passed, "edge.internal")
    else:
        file, key = config.path(link.certificate.chain_file), ("link", "certificate")
        yield from _said(key, str(file), _names_in(key, file), passed, "edge.internal")


def terminated_names(config: Config) -> tuple[str, ...]:
    """Names of pages whose TLS ends at this Edge: those that its certificate for pages covers.

    Raises ConfigError where that cannot be read."""
    chain = config.edge.certificate.chain_file
    if config.role != "edge" or config.edge.tls == "pass" or chain is None:
        return ()
    presented = _names_in(("edge", "certificate"), config.path(chain))
    return tuple(name for name in config.listeners.shared_tls.names if any(covers(each, name) for each in presented))


def refuse_covering(config: Config) -> None:
    """Raises ConfigError where a certificate of this Edge covers a name that passes through it."""
    found = [f"{key_text(path)}: {message}" for path, message in covering_problems(config)]
    if found:
        raise ConfigError("\n".join(found))


def _names_in(path: KeyPath, file: Path) -> list[str]:
    try:
        return presented_names(x509.load_pem_x509_certificates(file.read_bytes())[0])
    except (OSError, ValueError) as error:
        raise ConfigError(f"{key_text(path)}: {file} does not hold a certificate (PEM): {error}") from None


def _said(
    path: KeyPath, what: str, presented: Sequence[str], names: Sequence[str], example: str
) -> Iterator[tuple[KeyPath, str]]:
    for name in names:
        covering = [each for each in presented if covers(each, name)]
        if covering:
            message = (
                f"{what} is for {covering[0]}, which covers {name} of listeners.shared_tls.names: whoever takes this Edge "
                f"could read and change what passes through it; give it names of its own only, like {example}, and no "
                f"wildcard above {name}"
            )
            yield path, message


def _forms(name: str) -> set[str]:
    """`name` in ASCII, as it may be in DNS; two ways of writing other scripts in it were in use one after the other."""
    labels = unicodedata.normalize("NFKC", name).translate(_DOTS).split(".")
    return {".".join(map(encode, labels)) for encode in (_idna_2003, _idna_2008)}


def _idna_2003(label: str) -> str:
    try:
        return label if label.isascii() else label.encode("idna").decode("ascii")
    except UnicodeError:
        return _idna_2008(label)


def _idna_2008(label: str) -> str:
    return label if label.isascii() else _ACE + label.lower().encode("punycode").decode("ascii")


def _labels(name: str) -> list[str]:
    return name.strip().lower().removesuffix(".").split(".")


def _matches(presented: list[str], wanted: list[str]) -> bool:
    if len(presented) != len(wanted) or "" in presented or presented[1:] != wanted[1:]:
        return False
    first, label = presented[0], wanted[0]
    if "*" not in first:
        return first == label
    begin, _, end = first.partition("*")
    if first == "*":
        return True
    # RFC 6125 §6.4.3: not inside of a label that stands for one outside of ASCII.
    return (
        "*" not in end
        and not first.startswith(_ACE)
        and not label.startswith(_ACE)
        and len(label) > len(begin) + len(end)
        and label.startswith(begin)
        and label.endswith(end)
    )
