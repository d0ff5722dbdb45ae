"""Location service: which contacts an address of record has, over which flows, until when (RFC 3261 §10)."""

from __future__ import annotations

from dataclasses import dataclass

from mediaserver.errors import RemoteProtocolError
from mediaserver.sip.flow import Flow
from mediaserver.sip.headers import NameAddr
from mediaserver.sip.uri import SipUri


@dataclass(frozen=True, slots=True)
class Binding:
    """One registered contact. Call it with `UserAgent.invite(binding.contact, via_flow=binding.flow)`."""

    aor: str
    contact: SipUri
    flow: Flow
    expires_at: float
    """Monotonic seconds (the event loop's clock)."""
    q: float
    """Preference, 0 to 1 (RFC 3261 §20.10)."""
    call_id: str
    cseq: int
    user_agent: str = ""
    instance: str | None = None
    """The +sip.instance of the device, if it gave one (RFC 5626 §4.1)."""
    reg_id: int | None = None
    """Which of the device's flows this is, where it keeps several (RFC 5626 §4.2)."""
    path: tuple[NameAddr, ...] = ()
    """Proxies between the device and us, the nearest to us first: the route of calls to it (RFC 3327)."""
    updated_at: float = 0.0


class Location:
    """Table of bindings, bounded per AOR and in total. Pure: time is an argument."""

    def __init__(self, *, bindings_per_aor: int, aors: int) -> None:
        self._table: dict[str, list[Binding]] = {}
        self._by_flow: dict[Flow, set[str]] = {}
        self._bindings_per_aor = bindings_per_aor
        self._aors = aors

    def __len__(self) -> int:
        return sum(len(bindings) for bindings in self._table.values())

    def devices(self, aor: str, now: float) -> list[Binding]:
        """Like `lookup`, but of a device with several flows the one refreshed last (RFC 5626 §7: no forking there)."""
        seen: set[str] = set()
        out: list[Binding] = []
        for binding in sorted(self.lookup(aor, now), key=lambda b: -b.updated_at):
            if binding.reg_id is None or binding.instance is None:
                out.append(binding)
            elif binding.instance not in seen:
                seen.add(binding.instance)
                out.append(binding)
        return sorted(out, key=lambda b: (-b.q, -b.updated_at))

    def over(self, contact: SipUri, flow: Flow) -> Binding | None:
        """The binding of this contact on this flow."""
        for aor in self._by_flow.get(flow, ()):
            for binding in self._table[aor]:
                if binding.flow == flow and binding.contact == contact:
                    return binding
        return None

    def other_flows(self, binding: Binding, now: float) -> list[Binding]:
        """Further flows of the same device, the one refreshed last first."""
        if binding.instance is None or binding.reg_id is None:
            return []
        found = [
            other
            for other in self.lookup(binding.aor, now)
            if other.instance == binding.instance and other.reg_id is not None and other.flow != binding.flow
        ]
        return sorted(found, key=lambda b: -b.updated_at)

    def behind_nat(self) -> list[Flow]:
        """UDP flows on which a device stands behind a NAT: its Contact names another address than it sends from."""
        return [
            flow
            for flow, aors in self._by_flow.items()
            if not flow.reliable
            and any(
                binding.flow == flow and binding.contact.host != flow.remote_ip
                for aor in aors
                for binding in self._table[aor]
            )
        ]

    def lookup(self, aor: str, now: float) -> list[Binding]:
        """Live bindings, highest q first, then the one refreshed last."""
        live = [b for b in self._table.get(aor, ()) if b.expires_at > now]
        return sorted(live, key=lambda b: (-b.q, -b.updated_at))

    def everything(self, now: float) -> list[Binding]:
        """Every live binding, by address of record."""
        return [binding for aor in sorted(self._table) for binding in self.lookup(aor, now)]

    def check_room(self, aor: str, bindings: int) -> None:
        """Raise RemoteProtocolError when `aor` may not have this many bindings."""
        if bindings > self._bindings_per_aor:
            raise RemoteProtocolError("too many bindings for one address of record", status=403)
        if aor not in self._table and len(self._table) >= self._aors:
            raise RemoteProtocolError("the location table is full", status=503)

    def replace(self, aor: str, bindings: list[Binding]) -> None:
        """Set the bindings of `aor`; an empty list forgets it."""
        for old in self._table.get(aor, ()):
            users = self._by_flow.get(old.flow)
            if users is not None:
                users.discard(aor)
                if not users:
                    del self._by_flow[old.flow]
        if bindings:
            self._table[aor] = bindings
            for binding in bindings:
                self._by_flow.setdefault(binding.flow, set()).add(aor)
        else:
            self._table.pop(aor, None)

    def on(self, flow: Flow) -> list[Binding]:
        """All bindings of this flow."""
        return [b for aor in self._by_flow.get(flow, ()) for b in self._table[aor] if b.flow == flow]

    def uses(self, flow: Flow) -> bool:
        """True while a binding lives on this flow."""
        return flow in self._by_flow

    def expire(self, now: float) -> list[str]:
        """Drop what has run out. Returns the AORs that changed."""
        changed: list[str] = []
        for aor, bindings in list(self._table.items()):
            live = [b for b in bindings if b.expires_at > now]
            if len(live) != len(bindings):
                self.replace(aor, live)
                changed.append(aor)
        return changed

    def drop_flow(self, flow: Flow) -> list[str]:
        """Drop the bindings that lived on a connection which is gone (RFC 5626 §5.3). Returns the AORs that changed."""
        changed = sorted(self._by_flow.get(flow, ()))
        for aor in changed:
            self.replace(aor, [b for b in self._table[aor] if b.flow != flow])
        return changed
