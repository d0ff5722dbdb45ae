"""Who is asking: tokens signed by the house's site, our own for rooms and agents, and the admin's bearer token."""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeGuard

from aiohttp import web
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OctKey

from mediaserver.api.problem import Problem
from mediaserver.call.signaling import AttributesRefused, Identity
from mediaserver.contact.attributes import AttributeLimits
from mediaserver.core.permissions import Publishable, publishables
from mediaserver.errors import MediaServerError

Direction = Literal["publish", "view"]

Scope = Literal[
    "calls:read",
    "calls:write",
    "contacts:read",
    "records:read",
    "registrations:read",
    "registrations:write",
    "certificates:read",
    "certificates:write",
    "trunks:read",
    "entries:read",
    "edges:read",
    "edges:write",
    "events",
]
"""What a token of the house's software may do; the admin token may do all of it."""

SCOPES: Mapping[Scope, str] = {
    "calls:read": "see calls",
    "calls:write": "make, change and end calls",
    "contacts:read": "see contacts that are open, with their attributes",
    "records:read": "see what is kept of contacts that are over",
    "registrations:read": "see which devices are registered",
    "registrations:write": "sign devices off",
    "certificates:read": "see which client certificates are revoked",
    "certificates:write": "revoke client certificates",
    "trunks:read": "see the state of trunks",
    "entries:read": "see the entries of the configuration",
    "edges:read": "see the state of Edges",
    "edges:write": "leave Edges, and use them again",
    "events": "listen to events",
}
"""Every scope, with what it allows."""

MAX_TOKEN_CHARS = 4096

_ISSUER = "mediaserver"
_MAX_REMEMBERED = 100_000


class TokenRefused(MediaServerError):
    """A token does not allow what was asked; the text says why and never repeats the token."""


@dataclass(frozen=True, slots=True)
class SiteKey:
    """A key that the house signs its visitors' tokens with."""

    name: str
    """Name in the configuration; a token may name it as `kid`."""
    algorithm: Literal["HS256", "ES256"]
    key: bytes
    """Shared secret of at least 32 bytes (HS256) or public key in PEM (ES256)."""
    audience: str = "mediaserver"
    single_use: bool = False
    """Whether every token needs a `jti` and is taken once only."""


class _Seen:
    """Token ids that must not pass again, each until its token would have expired; bounded."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    def add(self, token_id: str, until: float, now: float) -> bool:
        """False when it was there already. Raises `TokenRefused` when there is no room to remember it."""
        if token_id in self:
            return False
        if len(self._until) >= _MAX_REMEMBERED:
            self._until = {key: end for key, end in self._until.items() if end > now}
            if len(self._until) >= _MAX_REMEMBERED:
                raise TokenRefused("Too many tokens are in use at once.")
        self._until[token_id] = until
        return True

    def __contains__(self, token_id: str) -> bool:
        return token_id in self._until


class SiteTokens:
    """Verifies short-lived JWTs of the house's site or app (RFC 7519; HS256 or ES256, RFC 7518)."""

    def __init__(
        self,
        keys: Iterable[SiteKey],
        *,
        max_lifetime_s: float = 600.0,
        clock_skew_s: float = 10.0,
        attribute_limits: AttributeLimits | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """A token is made for one page view: one that lives longer than `max_lifetime_s` is refused.

        `clock_skew_s` of difference is forgiven. `attribute_limits` hold for what a token says of its caller.
        `wall_clock` gives POSIX seconds. Raises `ValueError` for a key that cannot be used.
        """
        self._attribute_limits = attribute_limits or AttributeLimits()
        self._max_lifetime_s = max_lifetime_s
        self._clock_skew_s = clock_skew_s
        self._keys: dict[str, tuple[SiteKey, OctKey | ECKey]] = {}
        for key in keys:
            self._keys[key.name] = (key, _imported(key))
        self._wall_clock = wall_clock
        self._seen = _Seen()

    def verify(self, token: str, *, use_up: bool = True) -> Identity:
        """The identity that the token carries. Raises `TokenRefused`.

        With `use_up` False a token that works once is only looked at, and works afterwards.
        """
        key, claims = self._claims(token)
        now = self._wall_clock()
        _check_times(claims, now, max_lifetime_s=self._max_lifetime_s, skew_s=self._clock_skew_s)
        audience = claims.get("aud")
        if key.audience not in (audience if isinstance(audience, list) else [audience]):
            raise TokenRefused(f'The token is made for somebody else; `aud` must be "{key.audience}".')
        reference = claims.get("sub")
        if not isinstance(reference, str) or not 0 < len(reference) <= 256:
            raise TokenRefused("The token needs a `sub` of 1 to 256 characters: the customer reference.")
        name = claims.get("name", "")
        if not isinstance(name, str) or len(name) > 256:
            raise TokenRefused("The token's `name` must be a text of at most 256 characters.")
        attributes = self._attributes(claims.get("attributes", {}))
        self._use_once(key, claims, now, use_up=use_up)
        return Identity(reference=reference, name=name, attributes=attributes, issuer=key.name)

    def _claims(self, token: str) -> tuple[SiteKey, dict[str, Any]]:
        if len(token) > MAX_TOKEN_CHARS:
            raise TokenRefused(f"The token is longer than {MAX_TOKEN_CHARS} characters.")
        try:
            # Only the header is read before the signature is checked: it names the key to check with.
            kid = jws.extract_compact(token.encode()).protected.get("kid")
        except (JoseError, ValueError) as error:
            raise TokenRefused("This is not a signed JWT.") from error
        candidates = [self._keys[kid]] if isinstance(kid, str) and kid in self._keys else []
        if kid is None:
            candidates = list(self._keys.values())
        for key, material in candidates:
            try:
                return key, jwt.decode(token, material, algorithms=[key.algorithm]).claims
            except (JoseError, ValueError):
                continue
        raise TokenRefused("The token's signature was not made by a key that is known here.")

    def _attributes(self, value: object) -> dict[str, str]:
        if not isinstance(value, dict) or not all(name and isinstance(text, str) for name, text in value.items()):
            raise TokenRefused("The token's `attributes` must be an object of texts, each under a name.")
        try:
            return self._attribute_limits.bounded(value)
        except AttributesRefused as error:
            raise TokenRefused(f"The token's `attributes` are refused: {error}.") from None

    def _use_once(self, key: SiteKey, claims: Mapping[str, Any], now: float, *, use_up: bool) -> None:
        if not key.single_use:
            return
        token_id = claims.get("jti")
        if not isinstance(token_id, str) or not 0 < len(token_id) <= 256:
            raise TokenRefused("The token needs a `jti` of 1 to 256 characters: it may be used once only.")
        name = f"{key.name}\n{token_id}"
        if not use_up and name not in self._seen:
            return
        if not self._seen.add(name, float(claims["exp"]) + self._clock_skew_s, now):
            raise TokenRefused("The token was used before; every one works once.")


def _imported(key: SiteKey) -> OctKey | ECKey:
    if key.algorithm == "HS256":
        if len(key.key) < 32:
            raise ValueError(f"site key {key.name}: HS256 needs a secret of at least 32 bytes (RFC 7518 §3.2)")
        return OctKey.import_key(key.key)
    return ECKey.import_key(key.key)


def _check_times(claims: Mapping[str, Any], now: float, *, max_lifetime_s: float, skew_s: float) -> None:
    expires = claims.get("exp")
    issued = claims.get("iat")
    if not _is_number(expires):
        raise TokenRefused("The token needs `exp`: when it expires, in seconds since 1970.")
    if now > expires + skew_s:
        raise TokenRefused("The token has expired.")
    if _is_number(issued):
        if issued > now + skew_s:
            raise TokenRefused("The token's `iat` lies in the future.")
        begin = issued
    else:
        begin = now - skew_s
    if expires - begin > max_lifetime_s + skew_s:
        raise TokenRefused(f"The token lives too long; at most {max_lifetime_s:.0f} s from `iat` to `exp`.")
    not_before = claims.get("nbf")
    if _is_number(not_before) and not_before > now + skew_s:
        raise TokenRefused("The token is not valid yet (`nbf`).")


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value and abs(value) < 1e12


@dataclass(frozen=True, slots=True)
class RoomScope:
    """What a WHIP or WHEP bearer token allows."""

    subject: str
    room: str
    directions: frozenset[Direction]
    expires_at: float
    """POSIX seconds."""
    publish: frozenset[Publishable] | None = None
    """What may be published where `directions` allow it; None is what the configuration says."""
    name: str = ""
    """How others in the room are told about the subject."""
    moderate: bool = False
    """Whether it may change what others publish."""


@dataclass(frozen=True, slots=True)
class AgentScope:
    """Whom an agent's session token stands for."""

    user: str
    token_id: str
    expires_at: float
    """POSIX seconds."""


@dataclass(frozen=True, slots=True)
class ApiScope:
    """What a token of the house's software allows."""

    subject: str
    scopes: frozenset[str]
    token_id: str
    expires_at: float
    """POSIX seconds."""


class DaemonTokens:
    """Mints and verifies the daemon's own tokens: JWTs (HS256), signed with a key for each of their purposes."""

    def __init__(
        self,
        *,
        session_key: bytes,
        room_key: bytes,
        api_key: bytes | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Keys have at least 32 bytes and stay the same over a restart, or what they signed is lost with them.

        Without `api_key` the tokens of the house's software are signed with that of the agents.
        """
        self._keys: dict[str, OctKey] = {}
        for purpose, key in (("agent", session_key), ("room", room_key), ("api", api_key or session_key)):
            if len(key) < 32:
                raise ValueError(f"the key that signs {purpose} tokens needs at least 32 bytes")
            self._keys[purpose] = OctKey.import_key(key)
        self._wall_clock = wall_clock
        self._revoked = _Seen()

    def mint_room(
        self,
        *,
        room: str,
        directions: Sequence[Direction],
        subject: str,
        lifetime_s: float,
        publish: Iterable[Publishable] | None = None,
        name: str = "",
        moderate: bool = False,
    ) -> str:
        """A bearer token for WHIP (`publish`), WHEP (`view`) and members in one room: see `RoomScope`."""
        more: dict[str, object] = {"name": name} if name else {}
        if publish is not None:
            more["pub"] = sorted(set(publish))
        if moderate:
            more["mod"] = True
        return self._mint("room", subject, lifetime_s, room=room, dir=sorted(set(directions)), **more)

    def verify_room(self, token: str) -> RoomScope:
        """Raises `TokenRefused`."""
        claims = self._verify("room", token)
        return RoomScope(
            subject=claims["sub"],
            room=claims["room"],
            directions=frozenset(claims["dir"]),
            expires_at=float(claims["exp"]),
            publish=publishables(claims["pub"]) if "pub" in claims else None,
            name=claims.get("name", ""),
            moderate=claims.get("mod", False) is True,
        )

    def mint_agent(self, user: str, *, lifetime_s: float) -> str:
        """The session token of an agent who signed in."""
        return self._mint("agent", user, lifetime_s)

    def verify_agent(self, token: str) -> AgentScope:
        """Raises `TokenRefused`, also after `revoke`."""
        claims = self._verify("agent", token)
        if claims["jti"] in self._revoked:
            raise TokenRefused("This sign-in was ended; please sign in again.")
        return AgentScope(user=claims["sub"], token_id=claims["jti"], expires_at=float(claims["exp"]))

    def mint_api(self, subject: str, scopes: Iterable[Scope], *, lifetime_s: float) -> str:
        """A token for software of the house."""
        return self._mint("api", subject, lifetime_s, scope=" ".join(sorted(set(scopes))))

    def verify_api(self, token: str) -> ApiScope:
        """Raises `TokenRefused`, also for one that was given up."""
        claims = self._verify("api", token)
        if claims["jti"] in self._revoked:
            raise TokenRefused("This token was revoked.")
        return ApiScope(claims["sub"], frozenset(claims["scope"].split()), claims["jti"], float(claims["exp"]))

    def revoke(self, scope: AgentScope) -> None:
        """Refuse this token from now on. Who wants that to outlast a restart keeps it, and gives it back to `restore`."""
        self._revoked.add(scope.token_id, scope.expires_at, self._wall_clock())

    def restore(self, revoked: Mapping[str, float]) -> None:
        """Refuse these tokens, as they were before a restart: token id -> when it expires, in POSIX seconds."""
        for token_id, expires_at in revoked.items():
            self._revoked.add(token_id, expires_at, self._wall_clock())

    def _mint(self, purpose: str, subject: str, lifetime_s: float, **claims: object) -> str:
        now = int(self._wall_clock())
        body = {
            "iss": _ISSUER,
            "aud": f"{_ISSUER}/{purpose}",
            "sub": subject,
            "iat": now,
            "exp": now + int(lifetime_s),
            "jti": secrets.token_urlsafe(12),
            **claims,
        }
        return jwt.encode({"alg": "HS256"}, body, self._keys[purpose])

    def _verify(self, purpose: str, token: str) -> dict[str, Any]:
        if len(token) > MAX_TOKEN_CHARS:
            raise TokenRefused(f"The token is longer than {MAX_TOKEN_CHARS} characters.")
        try:
            claims = jwt.decode(token, self._keys[purpose], algorithms=["HS256"]).claims
        except (JoseError, ValueError) as error:
            raise TokenRefused("The token was not made by this server.") from error
        # The purpose is part of what is signed: an agent's token opens no room and the other way round.
        if claims.get("aud") != f"{_ISSUER}/{purpose}":
            raise TokenRefused("The token is made for another purpose.")
        if self._wall_clock() > claims["exp"]:
            raise TokenRefused("The token has expired.")
        return claims


def bearer_token(request: web.BaseRequest) -> str:
    """The token of `Authorization: Bearer ...` (RFC 6750 §2.1); 401 when there is none."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise unauthorized("Send the header `Authorization: Bearer <token>`.")
    return token


def unauthorized(detail: str, *, error: str | None = None) -> Problem:
    """401 with the challenge of RFC 6750 §3."""
    challenge = 'Bearer realm="mediaserver"' + (f', error="{error}"' if error else "")
    return Problem(401, "unauthorized", detail, headers={"WWW-Authenticate": challenge})


def forbidden(detail: str) -> Problem:
    """403 for a token that is valid but allows something else (RFC 6750 §3.1)."""
    challenge = 'Bearer realm="mediaserver", error="insufficient_scope"'
    return Problem(403, "forbidden", detail, headers={"WWW-Authenticate": challenge})


class AdminAuth:
    """Guards the administration and the API: the admin token, and tokens of the house's software by their scopes."""

    def __init__(self, token: str | None, tokens: DaemonTokens | None = None) -> None:
        """Without `token` nobody is admin; without `tokens` nobody else is let in."""
        self._token = token.encode() if token else None
        self._tokens = tokens

    def require(self, request: web.BaseRequest, scope: Scope | None = None) -> str:
        """Who asks: `admin`, or the subject of a token with `scope`; None is for the admin alone. Raises 401, 403."""
        given = bearer_token(request)
        # Compared in constant time, whatever the token is.
        if self._token is not None and hmac.compare_digest(given.encode(), self._token):
            return "admin"
        if self._tokens is not None:
            try:
                found = self._tokens.verify_api(given)
            except TokenRefused:
                found = None
            if found is not None:
                if scope is None or scope not in found.scopes:
                    raise forbidden(f"The token needs the scope {scope}." if scope else "This is for the admin token.")
                return found.subject
        if self._token is None:
            raise unauthorized("Administration is switched off: no admin token is configured (secrets.admin_token).")
        raise unauthorized("This is not the admin token, and no valid token of another kind.", error="invalid_token")
