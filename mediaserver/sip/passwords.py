"""A user directory made of passwords or their digests; plain passwords are forgotten once the digests are computed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from mediaserver.sip.credentials import StoredCredential
from mediaserver.sip.digest import ha1

_HASHED: Final = re.compile(r"sha256:([0-9a-f]{64})(?:\s+md5:([0-9a-f]{32}))?|md5:([0-9a-f]{32})")


class PasswordDirectory:
    """Implements `credentials.UserDirectory` for one realm.

    `secrets` go by user name, each a password or its digests as `hashed` writes them; `trunks` are (user, secret) by
    the name of the trunk that proves itself so.
    """

    def __init__(
        self, secrets: Mapping[str, str], *, realm: str, trunks: Mapping[str, tuple[str, str]] | None = None
    ) -> None:
        self._realm = realm
        self._users: dict[str, StoredCredential] = {}
        self.replace(secrets, trunks=trunks)

    def replace(
        self, secrets: Mapping[str, str], *, trunks: Mapping[str, tuple[str, str]] | None = None
    ) -> tuple[str, ...]:
        """Know these users and trunks from now on. Returns the user names whose secret is another than before."""
        users = {name: stored(name, self._realm, secret) for name, secret in secrets.items()}
        for trunk, (user, secret) in (trunks or {}).items():
            users[user] = stored(user, self._realm, secret, trunk=trunk)
        before, self._users = self._users, users
        return tuple(name for name in users if name in before and users[name] != before[name])

    def lookup(self, username: str, realm: str) -> StoredCredential | None:
        """The digests of a user in our realm, or None."""
        return self._users.get(username) if realm == self._realm else None


def hashed(name: str, realm: str, password: str) -> str:
    """The digests of a password as a secret file may hold them in its place: `sha256:HEX md5:HEX` (RFC 7616 §3.4.2).

    Whoever reads them can sign in over SIP as this user in this realm, and nowhere else.
    """
    return f"sha256:{ha1(name, realm, password, 'SHA-256')} md5:{ha1(name, realm, password, 'MD5')}"


def digest_of(secret: str) -> tuple[str, str] | None:
    """(algorithm, digest in hex) where a secret holds digests, the better one; None for a password."""
    found = _HASHED.fullmatch(secret)
    if found is None:
        return None
    return ("SHA-256", found[1]) if found[1] is not None else ("MD5", found[3])


def stored(name: str, realm: str, secret: str, *, trunk: str | None = None) -> StoredCredential:
    """What is kept of a secret, be it a password or its digests; without an MD5 digest only SHA-256 can be checked."""
    found = _HASHED.fullmatch(secret)
    if found is not None:
        return StoredCredential(ha1_md5=found[2] or found[3], ha1_sha256=found[1], trunk=trunk)
    return StoredCredential(
        ha1_md5=ha1(name, realm, secret, "MD5"), ha1_sha256=ha1(name, realm, secret, "SHA-256"), trunk=trunk
    )
