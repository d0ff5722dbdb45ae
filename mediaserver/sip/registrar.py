"""The registrar of RFC 3261 §10.3: one REGISTER in, one table change and the 200's Contacts out; sans-IO."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mediaserver.errors import RemoteProtocolError
from mediaserver.sip.config import SipConfig
from mediaserver.sip.errors import SipParseError
from mediaserver.sip.flow import Flow
from mediaserver.sip.headers import NameAddr, parse_name_addrs, parse_number
from mediaserver.sip.location import Binding, Location
from mediaserver.sip.message import Request
from mediaserver.sip.uri import SipUri

MAX_PATH: Final = 8
"""Proxies that a registration may have come through."""
FLOW_TIMER_S: Final = 120
"""How long a flow may be silent before its device must look whether it lives (RFC 5626 §4.4)."""


@dataclass(frozen=True, slots=True)
class Registered:
    """What a REGISTER came to: headers of the 200, and whether the bindings changed in kind (not only in time)."""

    aor: str
    headers: tuple[tuple[str, str], ...]
    changed: bool


class Registrar:
    """Keeps bindings in a `Location`. Authentication and the choice of the AOR stand before it."""

    def __init__(self, *, config: SipConfig, location: Location) -> None:
        self._config = config
        self._location = location

    def register(self, request: Request, aor: str, flow: Flow, now: float) -> Registered:
        """Carry a REGISTER out. Raises RemoteProtocolError with the status to answer (400, 403, 423, 500, 503)."""
        current = self._location.lookup(aor, now)
        number, call_id = request.cseq[0], request.call_id
        if request.contact_is_star:
            bindings = self._star(request, current, call_id, number)
        elif request.contacts:
            bindings = list(current)
            for contact in request.contacts:
                self._apply(request, contact, bindings, aor, flow, now)
        else:
            bindings = list(current)  # §10.3 step 6: a query
        # All or nothing (§10.3 step 7): nothing was changed so far.
        self._location.check_room(aor, len(bindings))
        outbound = any(b.reg_id is not None and b.updated_at == now for b in bindings)
        before = {(str(b.contact), b.flow) for b in current}
        after = {(str(b.contact), b.flow) for b in bindings}
        self._location.replace(aor, bindings)
        headers = [("Contact", _contact(b, now)) for b in self._location.lookup(aor, now)]
        if "path" in _tokens(request, "Supported"):
            headers += [("Path", value) for value in request.headers.all("Path")]  # RFC 3327 §5.3
        if outbound:
            # RFC 5626 §6: we keep to it, and say how long a flow may be silent (§4.4).
            headers += [("Require", "outbound"), ("Flow-Timer", str(FLOW_TIMER_S))]
        return Registered(aor, tuple(headers), before != after)

    def _star(self, request: Request, current: list[Binding], call_id: str, number: int) -> list[Binding]:
        expires = request.headers.get("Expires")
        if expires is None or expires.strip() != "0" or request.contacts:
            raise RemoteProtocolError("Contact * goes with Expires 0 and nothing else", status=400)
        for binding in current:
            if binding.call_id == call_id and number <= binding.cseq:
                raise RemoteProtocolError("CSeq went backwards", status=500)
        return []

    def _apply(
        self, request: Request, contact: NameAddr, bindings: list[Binding], aor: str, flow: Flow, now: float
    ) -> None:
        uri = contact.sip_uri
        expires_s = self._expires(request, contact)
        instance = contact.param("+sip.instance") or None
        reg_id = self._reg_id(request, contact, instance)
        number, call_id = request.cseq[0], request.call_id
        if reg_id is not None:
            # RFC 5626 §6: instance and reg-id are the identity of a flow, whatever its Contact says.
            old = next((b for b in bindings if (b.instance, b.reg_id) == (instance, reg_id)), None)
        else:
            old = next((b for b in bindings if b.contact.equivalent(uri) and b.reg_id is None), None)
        if old is None and reg_id is None and instance is not None:
            # A device that came back from another address replaces itself.
            old = next((b for b in bindings if b.instance == instance), None)
        if old is not None:
            if old.call_id == call_id and number <= old.cseq and old.contact.equivalent(uri):
                raise RemoteProtocolError("CSeq went backwards", status=500)
            bindings.remove(old)
        if expires_s == 0:
            return
        if 0 < expires_s < self._config.min_expires_s:
            raise RemoteProtocolError("registration is too brief", status=423)
        expires_s = min(expires_s, self._config.max_expires_s)
        bindings.append(
            Binding(
                aor=aor,
                contact=uri.without_headers(),
                flow=flow,
                expires_at=now + expires_s,
                q=_q(contact),
                call_id=call_id,
                cseq=number,
                user_agent=(request.headers.get("User-Agent") or "")[:200],
                instance=instance,
                updated_at=now,
                reg_id=reg_id,
                path=_path(request),
            )
        )

    def _reg_id(self, request: Request, contact: NameAddr, instance: str | None) -> int | None:
        """The flow's number where the device keeps to RFC 5626; reg-id alone means nothing (§6)."""
        text = contact.param("reg-id")
        if text is None or instance is None or "outbound" not in _tokens(request, "Supported"):
            return None
        try:
            return parse_number(text, "reg-id", 2**31 - 1)
        except SipParseError:
            raise RemoteProtocolError("reg-id is not a number", status=400) from None

    def _expires(self, request: Request, contact: NameAddr) -> int:
        text = contact.param("expires")
        if text is None:
            text = request.headers.get("Expires")
        if text is None:
            return self._config.default_expires_s
        try:
            return parse_number(text, "expires", 2**32 - 1)
        except SipParseError:
            # §10.3 step 6 (and RFC 4475 §3.1.2.4 scalar02): a malformed or overlarge value counts as 3600.
            return self._config.default_expires_s


def _tokens(request: Request, name: str) -> set[str]:
    return {token.lower() for token in request.tokens(name)}


def _path(request: Request) -> tuple[NameAddr, ...]:
    routes = parse_name_addrs(request.headers.all("Path"))
    if len(routes) > MAX_PATH:
        raise RemoteProtocolError("too many proxies in Path", status=400)
    if any(not isinstance(route.uri, SipUri) or not route.uri.loose for route in routes):
        raise RemoteProtocolError("Path names a proxy without lr (RFC 3327 §4)", status=400)
    return routes


def _q(contact: NameAddr) -> float:
    text = contact.param("q")
    if text is None:
        return 1.0
    try:
        value = float(text) if len(text) <= 5 and text.replace(".", "", 1).isdigit() else -1.0
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 1.0:
        raise SipParseError("q is not a number from 0 to 1")
    return value


def _contact(binding: Binding, now: float) -> str:
    q = "" if binding.q == 1.0 else f";q={binding.q:.3g}"
    instance = f";+sip.instance={binding.instance}" if binding.instance else ""
    if binding.reg_id is not None:
        instance += f";reg-id={binding.reg_id}"
    return f"<{binding.contact}>{q}{instance};expires={max(0, round(binding.expires_at - now))}"
