"""Time-limited TURN credentials (draft-uberti-behave-turn-rest §2.2): nothing is kept of them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TurnCredentials:
    """What a TURN client proves itself by."""

    username: str
    password: str


class CredentialMint:
    """Makes credentials, each for one session. `clock` is the time of day in seconds of Unix time."""

    def __init__(self, *, secret: bytes, lifetime_s: float, clock: Callable[[], float]) -> None:
        self._secret = secret
        self._lifetime_s = lifetime_s
        self._clock = clock

    def mint(self) -> TurnCredentials:
        """New credentials; quotas tell sessions apart by the random part of the name."""
        username = f"{int(self._clock() + self._lifetime_s)}:{secrets.token_urlsafe(9)}"
        digest = hmac.new(self._secret, username.encode(), hashlib.sha1).digest()
        return TurnCredentials(username, base64.b64encode(digest).decode())
