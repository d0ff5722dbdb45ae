"""Users and passwords: what is asked about theirs, and ours towards others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class StoredCredential:
    """What is kept of a user's password: H(username:realm:password) in hex per algorithm, or None (RFC 7616 §3.4.2).

    `digest.ha1` computes them.
    """

    ha1_md5: str | None
    ha1_sha256: str | None
    identities: frozenset[str] = frozenset()
    """User parts that this user may register and call as, besides its own name."""
    trunk: str | None = None
    """Name of the trunk that proves itself by this password; it registers nothing and calls as whom it says."""


class UserDirectory(Protocol):
    """Looks users up; must answer at once (from memory)."""

    def lookup(self, username: str, realm: str) -> StoredCredential | None:
        """The stored credential of `username`, or None when there is no such user."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Our own user and password towards a trunk or registrar."""

    username: str
    password: str

    def __repr__(self) -> str:
        return f"Credentials({self.username!r}, ...)"
