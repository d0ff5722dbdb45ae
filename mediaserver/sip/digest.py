"""Digest authentication (RFC 7616, RFC 8760): challenges with stateless nonces, checking, and our own answers."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import struct
from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from mediaserver.sip.credentials import Credentials, StoredCredential, UserDirectory
from mediaserver.sip.errors import SipParseError
from mediaserver.sip.headers import is_quoted, is_token, quote_string, split_list, unquote_string
from mediaserver.sip.uri import parse_sip_uri

_ALGORITHMS: Final = {"MD5": "md5", "SHA-256": "sha256"}
_NONCE_BYTES: Final = 8 + 8 + 16
_HEX: Final = frozenset("0123456789abcdefABCDEF")
_COUNTED_NONCES: Final = 20_000


def _digest(algorithm: str, text: str) -> str:
    # MD5 is what most phones speak; RFC 8760 §2.1 keeps it beside SHA-256.
    data = text.encode("utf-8", "surrogateescape")
    return hashlib.new(_ALGORITHMS[algorithm], data, usedforsecurity=False).hexdigest()


def ha1(username: str, realm: str, password: str, algorithm: str = "SHA-256") -> str:
    """H(username:realm:password) in hex: what a user directory keeps. `algorithm` is MD5 or SHA-256."""
    return _digest(algorithm, f"{username}:{realm}:{password}")


def parse_digest(value: str) -> dict[str, str] | None:
    """Parameters of a `Digest ...` field, names in lower case, values unquoted; None for another scheme.

    Raises SipParseError when it is broken.
    """
    scheme, _, rest = value.strip().partition(" ")
    if scheme.lower() != "digest":
        return None
    params: dict[str, str] = {}
    for item in split_list(rest):
        name, equals, text = item.partition("=")
        name, text = name.strip().lower(), text.strip()
        if not equals or not is_token(name) or name in params or len(params) >= 32:
            raise SipParseError("broken digest parameter")
        if text.startswith('"') and not is_quoted(text):
            raise SipParseError("text after a quoted digest parameter")
        params[name] = unquote_string(text)
    return params


def _response(
    algorithm: str, a1: str, *, method: str, uri: str, nonce: str, qop: str | None, count: str, cnonce: str
) -> str:
    a2 = _digest(algorithm, f"{method}:{uri}")
    if qop is None:
        return _digest(algorithm, f"{a1}:{nonce}:{a2}")  # RFC 2069 peers
    return _digest(algorithm, f"{a1}:{nonce}:{count}:{cnonce}:{qop}:{a2}")


def _same_uri(ours: str, theirs: str) -> bool:
    """RFC 7616 §3.4.6: the digest's uri must name what the request names."""
    if ours == theirs:
        return True
    try:
        return parse_sip_uri(ours).equivalent(parse_sip_uri(theirs))
    except SipParseError:
        return False


class Verdict(Enum):
    """What a check of credentials came to."""

    OK = auto()
    MISSING = auto()
    """No credentials for our realm: challenge."""
    STALE = auto()
    """Right password, old nonce: challenge with stale=true."""
    REPLAYED = auto()
    """Right password, and a nonce count that was used before: answered like an old nonce."""
    WRONG = auto()
    """Unknown user or wrong password: challenge, and count."""


@dataclass(frozen=True, slots=True)
class Checked:
    """Outcome of a check; `username` is proven only with Verdict.OK."""

    verdict: Verdict
    username: str | None = None
    credential: StoredCredential | None = None


class DigestServer:
    """Challenges and checks. Nonces carry their own time and an HMAC, so that nothing is kept for a stranger."""

    def __init__(self, *, realm: str, lifetime_s: float, key: bytes | None = None) -> None:
        self.realm = realm
        self._lifetime_s = lifetime_s
        self._key = key or secrets.token_bytes(32)
        self._counts: OrderedDict[str, int] = OrderedDict()
        # The same work is done for users that do not exist: its outcome is never right.
        self._nobody = StoredCredential(secrets.token_hex(16), secrets.token_hex(32))

    def _seal(self, body: bytes, source: str) -> bytes:
        return hmac.digest(self._key, body + source.encode(), "sha256")[:16]

    def make_nonce(self, now: float, source: str) -> str:
        """A new nonce: time in milliseconds, 64 random bits, HMAC over both and the source.

        Bound to its source, so that nobody can get a phone banned by wrong passwords under its address.
        """
        body = struct.pack(">Q", int(now * 1000)) + secrets.token_bytes(8)
        return (body + self._seal(body, source)).hex()

    def _nonce_state(self, nonce: str, source: str, now: float) -> bool | None:
        """True: fresh, False: old, None: not given by us to this source."""
        try:
            raw = bytes.fromhex(nonce)
        except ValueError:
            return None
        if len(raw) != _NONCE_BYTES or not hmac.compare_digest(raw[16:], self._seal(raw[:16], source)):
            return None
        age_s = now - struct.unpack_from(">Q", raw)[0] / 1000
        return bool(-1.0 <= age_s <= self._lifetime_s)

    def challenges(
        self, now: float, *, source: str, stale: bool = False, algorithms: tuple[str, ...] = ("SHA-256", "MD5")
    ) -> list[str]:
        """Values for WWW-Authenticate or Proxy-Authenticate, the better algorithm first (RFC 8760 §2.4)."""
        nonce = self.make_nonce(now, source)
        tail = ", stale=true" if stale else ""
        return [
            f'Digest realm={quote_string(self.realm)}, nonce="{nonce}", algorithm={name}, qop="auth"{tail}'
            for name in algorithms
        ]

    def check(
        self, values: list[str], *, method: str, uri: str, users: UserDirectory, source: str, now: float
    ) -> Checked:
        """Check Authorization values. Raises SipParseError for broken ones.

        `uri` is the Request-URI as it came, `source` what the nonce was made for.
        """
        for value in values:
            params = parse_digest(value)
            if params is not None and params.get("realm") == self.realm:
                return self._check(params, method=method, uri=uri, users=users, source=source, now=now)
        return Checked(Verdict.MISSING)

    def _check(
        self, params: dict[str, str], *, method: str, uri: str, users: UserDirectory, source: str, now: float
    ) -> Checked:
        algorithm = params.get("algorithm", "MD5").upper()
        username, nonce, given = params.get("username"), params.get("nonce"), params.get("response")
        if username is None or nonce is None or given is None or "uri" not in params:
            raise SipParseError("digest credentials without username, nonce, uri or response")
        qop = params.get("qop")
        if algorithm not in _ALGORITHMS or (qop is not None and qop.lower() != "auth"):
            return Checked(Verdict.MISSING)
        fresh = self._nonce_state(nonce, source, now)
        if fresh is None:
            return Checked(Verdict.STALE)  # of an earlier run, for another source, or invented
        stored = users.lookup(username, self.realm)
        known = stored if stored is not None else self._nobody
        a1 = known.ha1_md5 if algorithm == "MD5" else known.ha1_sha256
        right = _response(
            algorithm,
            a1 or secrets.token_hex(16),
            method=method,
            uri=params["uri"],
            nonce=nonce,
            qop=qop,
            count=params.get("nc", ""),
            cnonce=params.get("cnonce", ""),
        )
        same = hmac.compare_digest(right.encode(), given.lower().encode("utf-8", "surrogateescape"))
        if not same or stored is None or a1 is None or not _same_uri(params["uri"], uri):
            return Checked(Verdict.WRONG, username)
        if not fresh:
            return Checked(Verdict.STALE, username)
        if not self._count(nonce, qop, params.get("nc", "")):
            # RFC 2069 peers know no count, and use a nonce again in good faith.
            return Checked(Verdict.STALE if qop is None else Verdict.REPLAYED, username)
        return Checked(Verdict.OK, username, stored)

    def _count(self, nonce: str, qop: str | None, count_text: str) -> bool:
        """Take the nonce count; False for a replay (RFC 7616 §3.4). Only proven users get here, so memory is theirs."""
        if qop is None:
            count = 1  # RFC 2069 peers have no count: each nonce serves once
        elif len(count_text) == 8 and _HEX.issuperset(count_text):
            count = int(count_text, 16)
        else:
            return False
        if count <= self._counts.get(nonce, 0):
            return False
        self._counts[nonce] = count
        self._counts.move_to_end(nonce)
        if len(self._counts) > _COUNTED_NONCES:
            self._counts.popitem(last=False)
        return True


def choose_challenge(values: list[str]) -> dict[str, str] | None:
    """The first challenge that we can answer (the server's order is its preference, RFC 8760 §2.4); None if none."""
    for value in values:
        try:
            params = parse_digest(value)
        except SipParseError:
            continue
        if params is None or "realm" not in params or "nonce" not in params:
            continue
        if params.get("algorithm", "MD5").upper() not in _ALGORITHMS:
            continue
        offered = params.get("qop")
        if offered is None or "auth" in [q.strip().lower() for q in offered.split(",")]:
            return params
    return None


def answer_challenge(challenge: dict[str, str], credentials: Credentials, *, method: str, uri: str) -> str:
    """The value for Authorization or Proxy-Authorization, with a client nonce of ours and count 1."""
    algorithm = challenge.get("algorithm", "MD5").upper()
    realm, nonce = challenge["realm"], challenge["nonce"]
    qop = "auth" if "qop" in challenge else None
    cnonce, count = secrets.token_hex(8), "00000001"
    a1 = ha1(credentials.username, realm, credentials.password, algorithm)
    response = _response(algorithm, a1, method=method, uri=uri, nonce=nonce, qop=qop, count=count, cnonce=cnonce)
    parts = [
        f"username={quote_string(credentials.username)}",
        f"realm={quote_string(realm)}",
        f"nonce={quote_string(nonce)}",
        f"uri={quote_string(uri)}",
        f'response="{response}"',
    ]
    if "algorithm" in challenge:
        parts.append(f"algorithm={challenge['algorithm']}")
    if "opaque" in challenge:
        parts.append(f"opaque={quote_string(challenge['opaque'])}")
    if qop is not None:
        parts += [f"qop={qop}", f'cnonce="{cnonce}"', f"nc={count}"]
    return "Digest " + ", ".join(parts)
