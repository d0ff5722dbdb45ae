"""Who is in a conference, as those in it are told (RFC 4575): names and numbers of those only who let others know them."""

from __future__ import annotations

from mediaserver.call.call import Call
from mediaserver.call.caller_identity import NAMELESS
from mediaserver.call.leg import KINDS, Leg
from mediaserver.call.stand_in import StandIn
from mediaserver.sip.conference_info import ConferenceEndpoint, ConferenceState, ConferenceUser, trunk_watcher
from mediaserver.sip.uri import SipUri, escape_user, parse_sip_uri


def conference_state(call: Call, domain: str) -> ConferenceState:
    """The parties of a conference; neither who supervises nor further legs of somebody. Two phones of a user are one."""
    by_entity: dict[str, list[Leg]] = {}
    for leg in call.parties:
        if not isinstance(leg, StandIn) and not leg.ended:
            by_entity.setdefault(_entity(leg, domain), []).append(leg)
    users = tuple(
        ConferenceUser(entity, _name(legs[0]), tuple(_endpoint(call, leg, domain) for leg in legs))
        for entity, legs in by_entity.items()
    )
    named = {_watcher(leg) for legs in by_entity.values() for leg in legs}
    return ConferenceState(users, frozenset(watcher for watcher in named if watcher is not None))


def legs_named(call: Call, target: SipUri, domain: str) -> list[Leg]:
    """Those whom a URI of that state names: all phones of a user, or one endpoint; by the user part, as we have several

    addresses, but for those who are not named.
    """
    parties = [leg for leg in call.parties if not isinstance(leg, StandIn) and not leg.ended]
    name = target.user_text
    return [leg for leg in parties if name in (leg.id, parse_sip_uri(_entity(leg, domain)).user_text)]


def _user(leg: Leg) -> str | None:
    return leg.booking.party.user if leg.booking is not None else None


def _watcher(leg: Leg) -> str | None:
    """Who may watch because of this leg: its user, or the trunk whose call manager speaks for whoever is behind it."""
    party = leg.booking.party if leg.booking is not None else None
    if party is None:
        return None
    return party.user or (trunk_watcher(party.trunk) if party.trunk is not None else None)


def _entity(leg: Leg, domain: str) -> str:
    user = _user(leg) or (None if leg.identity.withheld else leg.identity.number)
    # RFC 4575 §5.6: whoever is not named has a URI all the same, another one than everybody else.
    return f"sip:{escape_user(user)}@{domain}" if user else f"sip:{leg.id}@anonymous.invalid"


def _name(leg: Leg) -> str:
    return NAMELESS if leg.identity.withheld else leg.identity.name


def _endpoint(call: Call, leg: Leg, domain: str) -> ConferenceEndpoint:
    held = call.passing.is_held(leg)
    kinds = tuple(kind for kind in KINDS if kind in leg.media)
    return ConferenceEndpoint(f"sip:{leg.id}@{domain}", "on-hold" if held else "connected", kinds)
