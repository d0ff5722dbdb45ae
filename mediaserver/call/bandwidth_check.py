"""The dry run of admission control: what calls between two places would be charged, and what would become of them.

It asks the same code as a call does, on an empty ledger: calls that a daemon has at the moment are not counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Final, Literal

from mediaserver.call.admission import Admission
from mediaserver.call.booking import BROWSER_PACKETS, SRTP_PACKETS, Booking, Party
from mediaserver.config.bandwidth import MediaKind
from mediaserver.config.model import Config
from mediaserver.core.sites import SiteMap
from mediaserver.errors import InsufficientBandwidth, MediaServerError
from mediaserver.runtime.metrics import Metrics
from mediaserver.sdp.bandwidth import PLAIN
from mediaserver.sdp.codecs import KNOWN, ordered
from mediaserver.sdp.description import Codec

MAX_CALLS: Final = 100_000
"""Calls of one dry run."""

CallOutcome = Literal["admitted", "lower_rate", "audio_only", "refused"]
OUTCOMES: Final[tuple[CallOutcome, ...]] = ("admitted", "lower_rate", "audio_only", "refused")
"""From the best to the worst."""


class UnknownPlace(MediaServerError):
    """A text names no place of the configuration; the error says what would."""


@dataclass(frozen=True, slots=True)
class Line:
    """One hop on the way of a call, for one kind of media. Rates in bits per second, each way."""

    hop: str
    key: str
    kind: MediaKind
    budget: int | None
    least_per_call: int
    """What a call reserves of it at least."""
    charged: int
    """What all calls of the dry run together hold at its end."""
    fits: int | None
    """How many calls it has room for at the least rate; None without a budget."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a dry run found."""

    start_site: str | None
    end_site: str | None
    codec: str
    """Sound codec that the calls use."""
    lines: tuple[Line, ...]
    outcomes: dict[CallOutcome, int]
    """How many calls had each outcome, the absent ones left out."""
    limits: tuple[str, ...]
    """Keys that were too narrow for a call, in the order in which they were met."""
    fits: int | None = None
    """Calls that fit by the narrowest line; None where nothing bounds them."""

    @property
    def outcome(self) -> CallOutcome:
        """The worst that became of a call."""
        return next((outcome for outcome in reversed(OUTCOMES) if self.outcomes.get(outcome)), "admitted")


def place_of(config: Config, text: str) -> Party:
    """A place as an operator writes it: `10.1.0.5`, `10.1.0.0/24`, or the name of a site, trunk or user.

    `site:`, `trunk:` and `user:` say which, where one name is several. Raises UnknownPlace.
    """
    sort, colon, name = text.partition(":")
    if colon and sort in ("site", "trunk", "user") and name:
        return _named(config, sort, name)
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        held = {"site": config.sites, "trunk": config.trunks, "user": config.users}
        found = [kind for kind, names in held.items() if text in names]
        if len(found) == 1:
            return _named(config, found[0], text)
        if found:
            ways = " or ".join(f"{kind}:{text}" for kind in found)
            raise UnknownPlace(f"{text!r} is the name of several: say {ways}") from None
        raise UnknownPlace(
            f"{text!r} is no IP address, no CIDR, and no site, trunk or user of the configuration"
        ) from None
    sites = SiteMap(config.sites)
    first, last = (sites.site_of(address=str(address)) for address in (network[0], network[-1]))
    if first != last:
        raise UnknownPlace(f"{text} is not all at one site: {first or 'none'} begins it and {last or 'none'} ends it")
    return Party(address=str(network[0]), packets=BROWSER_PACKETS)


def check(
    config: Config,
    start: Party,
    end: Party,
    *,
    kinds: Sequence[MediaKind],
    calls: int,
    codecs: Sequence[str] | None = None,
) -> Report:
    """Places `calls` calls one after the other. Raises ValueError for more than MAX_CALLS."""
    if not 1 <= calls <= MAX_CALLS:
        raise ValueError(f"expected 1 to {MAX_CALLS} calls")
    admission = Admission(config, metrics=Metrics())
    wanted = _wanted(config, start, end, kinds, codecs)
    outcomes: Counter[CallOutcome] = Counter()
    limits: dict[str, None] = {}
    chosen = next((codec.name for codec in wanted.get("audio", ())), "")
    first = _place_call(admission, "call0", start, end, wanted, limits)
    outcomes[first.outcome] += 1
    for number in range(1, calls):
        outcomes[_place_call(admission, f"call{number}", start, end, wanted, limits).outcome] += 1
    lines = tuple(_lines(admission, first, wanted))
    return Report(
        start_site=first.legs[0].site,
        end_site=first.legs[1].site,
        codec=first.codec or chosen,
        lines=lines,
        outcomes={outcome: outcomes[outcome] for outcome in OUTCOMES if outcomes[outcome]},
        limits=tuple(limits),
        fits=min((line.fits for line in lines if line.fits is not None), default=None),
    )


@dataclass(frozen=True, slots=True)
class _Placed:
    legs: tuple[Booking, Booking]
    outcome: CallOutcome
    codec: str


def _place_call(
    admission: Admission,
    name: str,
    start: Party,
    end: Party,
    wanted: dict[MediaKind, tuple[Codec, ...]],
    limits: dict[str, None],
) -> _Placed:
    caller = admission.book(f"{name}-caller", start)
    callee = admission.book(f"{name}-callee", end, peer=caller)
    try:
        offered = caller.narrow(wanted)
        agreed = callee.narrow(offered, others=caller.wishes())
    except InsufficientBandwidth as error:
        caller.release()
        callee.release()
        limits[error.limit] = None
        return _Placed((caller, callee), "refused", "")
    caller.settle(agreed, others=callee.wishes())
    callee.settle(agreed, others=caller.wishes())
    worst = max((leg.decision.outcome for leg in (caller, callee)), key=OUTCOMES.index)
    # A kind that one leg has lost, both have lost.
    if worst != "refused" and set(agreed) != set(wanted):
        worst = "audio_only"
    for leg in (caller, callee):
        limits.update(dict.fromkeys(v.limit for v in leg.decision.verdicts.values() if v.outcome != "admitted"))
    return _Placed((caller, callee), worst, next((codec.name for codec in agreed.get("audio", ())), ""))


def _lines(admission: Admission, call: _Placed, wanted: dict[MediaKind, tuple[Codec, ...]]) -> list[Line]:
    lines = []
    for hop in dict.fromkeys(hop for leg in call.legs for hop in leg.way):
        passing = [leg for leg in call.legs if hop in leg.way]
        for kind in wanted:
            least = sum(_least(admission, leg, kind, wanted[kind]) for leg in passing)
            budget = admission.budget(hop, kind)
            lines.append(
                Line(
                    hop=str(hop),
                    key=admission.limit_key(hop, "budget", kind),
                    kind=kind,
                    budget=budget,
                    least_per_call=least,
                    charged=admission.used(hop, kind),
                    fits=None if budget is None or not least else budget // least,
                )
            )
    return lines


def _least(admission: Admission, leg: Booking, kind: MediaKind, codecs: Sequence[Codec]) -> int:
    return admission.lowest(kind) if kind != "audio" else min(leg.need(codec).lowest for codec in codecs)


def _wanted(
    config: Config, start: Party, end: Party, kinds: Sequence[MediaKind], codecs: Sequence[str] | None
) -> dict[MediaKind, tuple[Codec, ...]]:
    trunks = [config.trunks[party.trunk] for party in (start, end) if party.trunk is not None]
    sound = _allowed(codecs or config.media.audio_codecs, [trunk.audio_codecs for trunk in trunks])
    picture = _allowed(config.media.video_codecs, [trunk.video_codecs for trunk in trunks])
    found = {kind: ordered(KNOWN.values(), sound if kind == "audio" else picture) for kind in kinds}
    return {kind: listed for kind, listed in found.items() if listed}


def _allowed(names: Sequence[str], others: Sequence[Sequence[str]]) -> list[str]:
    return [name for name in names if all(name in other for other in others)]


def _named(config: Config, sort: str, name: str) -> Party:
    if sort == "trunk" and name in config.trunks:
        return _trunk(config, name)
    if sort == "user" and name in config.users:
        return Party(user=name, packets=BROWSER_PACKETS)
    if sort == "site" and name in config.sites:
        return _at_site(config, name)
    raise UnknownPlace(f"there is no {sort} {name!r} in the configuration")


def _at_site(config: Config, name: str) -> Party:
    site = config.sites[name]
    for cidr in site.cidrs:
        if SiteMap(config.sites).site_of(address=str(cidr[0])) == name:
            return Party(address=str(cidr[0]), packets=BROWSER_PACKETS)
    if site.trunks:
        return _trunk(config, site.trunks[0])
    if site.users:
        return Party(user=site.users[0], packets=BROWSER_PACKETS)
    raise UnknownPlace(f"nothing belongs to site {name}: it has links only")


def _trunk(config: Config, name: str) -> Party:
    trunk = config.trunks[name]
    packets = PLAIN if trunk.srtp == "never" else SRTP_PACKETS
    return Party(address=str(trunk.peers[0].network_address) if trunk.peers else "", trunk=name, packets=packets)
