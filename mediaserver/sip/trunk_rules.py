"""Tells which trunk a request comes from: by address, by the certificate of its connection, or by its user name."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from mediaserver.sip.config import TrunkRule
from mediaserver.sip.flow import Flow
from mediaserver.sip.guard import address_of


class TrunkRules:
    """The rules in force; the first that matches counts. `learn` adds what is found out while the daemon runs."""

    def __init__(self, rules: Iterable[TrunkRule] = ()) -> None:
        self._rules: tuple[TrunkRule, ...] = ()
        self._learnt: dict[str, frozenset[str]] = {}
        self._of_address = lru_cache(maxsize=4096)(self._find_address)
        self.replace(rules)

    def replace(self, rules: Iterable[TrunkRule]) -> None:
        """Take these rules from now on."""
        self._rules = tuple(rules)
        names = {rule.name for rule in self._rules}
        self._learnt = {name: found for name, found in self._learnt.items() if name in names}
        self._of_address.cache_clear()

    def learn(self, name: str, addresses: Iterable[str]) -> None:
        """Requests from these addresses are of trunk `name`, too: it is where we registered. Replaces what was learnt."""
        found = frozenset(addresses)
        if self._learnt.get(name) != found:
            self._learnt[name] = found
            self._of_address.cache_clear()

    def of(self, flow: Flow, certificate_names: Iterable[str] = ()) -> TrunkRule | None:
        """The trunk at the other end of a flow, or None."""
        if not self._rules:
            return None
        found = self._of_address(flow.remote_ip, flow.transport)
        if found is not None:
            return found
        names = {name.lower() for name in certificate_names}
        if names:
            return next((rule for rule in self._rules if names & rule.certificate_names), None)
        return None

    def named(self, name: str) -> TrunkRule | None:
        """The rule of a trunk."""
        return next((rule for rule in self._rules if rule.name == name), None)

    def _find_address(self, ip: str, transport: str) -> TrunkRule | None:
        address = address_of(ip)
        for rule in self._rules:
            if transport not in rule.transports:
                continue
            if ip in self._learnt.get(rule.name, ()) or any(
                address.version == network.version and address in network for network in rule.networks
            ):
                return rule
        return None
