"""Who is at the end of a leg, for whoever is on the other side (RFC 3325, RFC 4916)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from mediaserver.sip.headers import NameAddr

Fields = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class ConnectedIdentity:
    """Somebody as those are told who may know."""

    name: str
    number: str | None = None
    """Number or user name, as routes write it; None is nobody who could be called back."""
    withheld: bool = False
    """Does not want others to be told; trunks that are trusted are told all the same, with the wish beside it."""
    verified: bool = True
    """Known to the house, or asserted by a trunk that it trusts; else it is the peer's own word."""


@dataclass(frozen=True, slots=True)
class IdentityRules:
    """What the peer of a leg is told of the other side, and what it is believed of its own."""

    tell: Callable[[ConnectedIdentity], Fields]
    """Header fields; empty where the peer is told nothing."""
    address: Callable[[ConnectedIdentity], NameAddr | None]
    """What From says of the other side (RFC 4916); None leaves it as it is."""
    believe: Callable[[Fields], ConnectedIdentity | None]
    """Who header fields of the peer name; None where it is not believed, or names nobody."""


def _nothing(_: ConnectedIdentity) -> Fields:
    return ()


def nobody(_: Fields) -> ConnectedIdentity | None:
    """Believes nothing."""
    return None


def _unnamed(_: ConnectedIdentity) -> NameAddr | None:
    return None


SILENT: Final = IdentityRules(_nothing, _unnamed, nobody)
