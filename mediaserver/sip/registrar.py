"""The registrar of RFC 3261 §10.3: one REGISTER in, one table change and the 200's Contacts out; sans-IO."""

from __future__ import annotations

from dataclasses import dataclass

from mediaserver.errors import RemoteProtocolError
from mediaserver.sip.config import SipConfig
from mediaserver.sip.errors import SipParseError
from mediaserver.sip.flow import Flow
from mediaserver.sip.headers import NameAddr, parse_number
from mediaserver.sip.location import Binding, Location
from mediaserver.sip.message import Request


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
        before = {(str(b.contact), b.flow) for b in current}
        after = {(str(b.contact), b.flow) for b in bindings}
        self._location.replace(aor, bindings)
        headers = tuple(("Contact", _contact(b, now)) for b in self._location.lookup(aor, now))
        return Registered(aor, headers, before != after)

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
        number, call_id = request.cseq[0], request.call_id
        old = next((b for b in bindings if b.contact.equivalent(uri)), None)
        if old is None and instance is not None:
            # A device that came back from another address replaces itself (RFC 5626 §6, one flow per instance here).
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
            )
        )

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
    return f"<{binding.contact}>{q}{instance};expires={max(0, round(binding.expires_at - now))}"
