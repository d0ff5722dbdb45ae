"""A user directory made of plain passwords, which it forgets once their digests are computed."""

from __future__ import annotations

from collections.abc import Mapping

from mediaserver.sip.credentials import StoredCredential
from mediaserver.sip.digest import ha1


class PasswordDirectory:
    """Implements `credentials.UserDirectory` for one realm; `passwords` go by user name."""

    def __init__(self, passwords: Mapping[str, str], *, realm: str) -> None:
        self._realm = realm
        self._users = {
            name: StoredCredential(
                ha1_md5=ha1(name, realm, password, "MD5"), ha1_sha256=ha1(name, realm, password, "SHA-256")
            )
            for name, password in passwords.items()
        }

    def lookup(self, username: str, realm: str) -> StoredCredential | None:
        """The digests of a user in our realm, or None."""
        return self._users.get(username) if realm == self._realm else None
