"""All flows by which one account is registered at somebody else's registrar, and which of them may be (RFC 5626 §4.2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mediaserver.sip.flow import Flow, Target
from mediaserver.sip.headers import NameAddr
from mediaserver.sip.upstream import State, Upstream
from mediaserver.sip.uri import SipUri


@dataclass(slots=True, eq=False)
class UpstreamFlow:
    """One registration and the way it took."""

    upstream: Upstream
    proxy: SipUri | None
    """The outbound proxy it goes by; None goes to the registrar."""
    located: tuple[Target, ...] = ()
    """Next hops of the proxy when it was last looked up."""
    hop: Target | None = None
    """The next hop that answered."""
    flow: Flow | None = None
    """The flow in use; None before there is one and after it was lost."""
    judged: bool = True
    """Whether silence on the flow is a failure before any keep-alive was answered."""

    def took(self, hop: Target, flow: Flow) -> None:
        """It registered by this way."""
        if flow != self.flow:
            self.judged = self.upstream.judges_silence
        self.hop, self.flow = hop, flow

    def leave(self) -> Flow | None:
        """Forget the way; returns the flow that was in use."""
        flow, self.flow, self.hop = self.flow, None, None
        return flow


class UpstreamFlows:
    """One flow for each proxy, or one to the registrar; `instance` None asks for no flows. Pure: time is an argument."""

    def __init__(
        self,
        expires_s: int,
        spread: Callable[[], float],
        *,
        instance: str | None = None,
        proxies: Sequence[SipUri] = (),
    ) -> None:
        self.flows: tuple[UpstreamFlow, ...] = tuple(
            UpstreamFlow(Upstream(expires_s, spread, instance, number), proxy)
            for number, proxy in enumerate(proxies or (None,), 1)
        )

    def may_register(self, one: UpstreamFlow) -> bool:
        """Whether a flow may be formed now.

        The first goes first. Where the registrar does not tell flows apart, a second registration of the same account
        would take the place of the first, so there is one, by whichever proxy lives.
        """
        others = [other.upstream for other in self.flows if other is not one]
        if any(other.state == "registered" and not other.outbound and other.last_code < 300 for other in others):
            return False
        return all(other.last_code for other in others if other.reg_id < one.upstream.reg_id)

    def others_live(self, one: UpstreamFlow) -> bool:
        """Whether we are registered by another flow."""
        return any(other is not one and other.upstream.state == "registered" for other in self.flows)

    @property
    def state(self) -> State:
        """`registered` by any flow; else what the first one is."""
        return "registered" if self._live else self.flows[0].upstream.state

    @property
    def registered_until(self) -> float | None:
        """When the last registration ends."""
        ends = (one.upstream.registered_until for one in self.flows)
        return max((end for end in ends if end is not None), default=None)

    @property
    def last_code(self) -> int:
        """Status of the last answer to the flow that speaks for the others; 0 before there is any."""
        return (self._live or list(self.flows))[0].upstream.last_code

    @property
    def service_routes(self) -> tuple[NameAddr, ...]:
        """RFC 3608: the route of calls while we are registered, by the first flow that lives."""
        return self._live[0].upstream.service_routes if self._live else ()

    @property
    def outbound_hops(self) -> tuple[Target, ...]:
        """Next hops of flows that the registrar knows and that share one route; calls take them first."""
        routes = self.service_routes
        return tuple(
            one.hop
            for one in self._live
            if one.hop is not None and one.upstream.outbound and one.upstream.service_routes == routes
        )

    @property
    def proxy_hops(self) -> tuple[Target, ...]:
        """Next hops of the outbound proxies, to be tried in this order (RFC 3263 §4.3); empty without proxies.

        First those that we are registered by, then where the names of the same proxies lead else; those of all proxies
        while we are registered by none.
        """
        live = [one for one in self._live if one.proxy is not None and one.hop is not None]
        first = [one.hop for one in live if one.hop is not None]
        return tuple(dict.fromkeys([*first, *(hop for one in live or self.flows for hop in one.located)]))

    @property
    def _live(self) -> list[UpstreamFlow]:
        return [one for one in self.flows if one.upstream.state == "registered"]
