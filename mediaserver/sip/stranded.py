"""Sessions whose connection has ended: they go on over the one by which their device registers again; pure.

RFC 5626 §5.3 finds a device by its instance on whatever flow it keeps, and RFC 5923 §9 lets a connection end without its
dialogs. A request inside such a dialog would otherwise go to a Contact that nobody behind a NAT listens at.
"""

from __future__ import annotations

from collections.abc import Iterable

from mediaserver.sip.flow import Flow
from mediaserver.sip.invite_session import InviteMachine
from mediaserver.sip.location import Binding
from mediaserver.sip.uri import SipUri


class StrandedSessions:
    """Those of registered users, by who they are; each leaves with its session."""

    def __init__(self) -> None:
        self._by_aor: dict[str, dict[InviteMachine, str | None]] = {}
        """With the instance of the device, where it gave one."""

    def __len__(self) -> int:
        return sum(len(machines) for machines in self._by_aor.values())

    def add(self, flow: Flow, machines: Iterable[InviteMachine], bindings: Iterable[Binding]) -> None:
        """A connection has ended, on which these bindings lived."""
        instances = {binding.aor: binding.instance for binding in bindings}
        for machine in machines:
            if machine.aor is not None and machine.flow == flow:
                self._by_aor.setdefault(machine.aor, {})[machine] = instances.get(machine.aor)
                machine.is_stranded = True

    def remove(self, machine: InviteMachine) -> None:
        """A session is over."""
        if machine.aor is not None and (machines := self._by_aor.get(machine.aor)) is not None:
            machines.pop(machine, None)
            if not machines:
                del self._by_aor[machine.aor]

    def bring(self, aor: str, flow: Flow, bindings: Iterable[Binding]) -> list[InviteMachine]:
        """A user has registered over a connection: the sessions of that device, which go on there."""
        waiting = self._by_aor.get(aor)
        if not waiting:
            return []
        here = [binding for binding in bindings if binding.flow == flow]
        brought = []
        for machine, instance in list(waiting.items()):
            dialog = machine.dialog
            if dialog is not None and any(_is_of(dialog.remote_target, instance, binding) for binding in here):
                machine.return_by(flow)
                brought.append(machine)
                self.remove(machine)
        return brought


def _is_of(target: SipUri, instance: str | None, binding: Binding) -> bool:
    """A device is known by its instance, else by the Contact of its dialog, whose port is that of the connection."""
    if instance is not None and binding.instance is not None:
        return instance == binding.instance
    contact = binding.contact
    return (target.user, target.host) == (contact.user, contact.host)
