"""Checks that cross sections: names that point at other sections, ports that collide, codecs that never meet.

They work on the plain data of the file, so that they report beside the errors of shape and not after them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from mediaserver.config.bandwidth import MEDIA_KINDS
from mediaserver.config.model import Config
from mediaserver.config.tcp_ports import turn_tcp_problems
from mediaserver.config.values import PortRange, parse_port_range

KeyPath = tuple[str | int, ...]

_TARGETS = {
    "user": "users",
    "group": "groups",
    "trunk": "trunks",
    "entry": "entries",
    "announcement": "announcements",
    "webhook": "webhooks",
}


def problems(data: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    """Yields (key path, what would be right) for everything in `data` that contradicts another section."""
    sections = ("networks", "users", "trunks", "sites", "entries", "announcements", "groups", "webhooks")
    names = {section: _names(data, section) for section in sections}
    yield from _routes(data, names)
    yield from _groups(data, names)
    yield from _sites(data, names)
    yield from _entries(data, names)
    yield from _listeners(data, names)
    yield from _ports(data)
    yield from turn_tcp_problems(data)
    yield from _edges_and_cores(data)
    yield from _edge_ports(data)
    yield from _slots(data)


def _names(data: Mapping[str, Any], section: str) -> set[str]:
    found = data.get(section)
    if isinstance(found, Mapping):
        return {str(name) for name in found}
    return set(getattr(Config(), section))


def _routes(data: Mapping[str, Any], names: Mapping[str, set[str]]) -> Iterator[tuple[KeyPath, str]]:
    for index, route in enumerate(_list(data.get("routes"))):
        match = _map(_map(route).get("match"))
        for key in ("trunk", "entry"):
            yield from _named(("routes", index, "match", key), match.get(key), _TARGETS[key], names)
        yield from _target(("routes", index, "to"), _map(_map(route).get("to")), names)


def _groups(data: Mapping[str, Any], names: Mapping[str, set[str]]) -> Iterator[tuple[KeyPath, str]]:
    for name, group in _map(data.get("groups")).items():
        for index, member in enumerate(_list(_map(group).get("members"))):
            yield from _named(("groups", name, "members", index), member, "users", names)
        target = _map(_map(group).get("otherwise"))
        yield from _target(("groups", name, "otherwise"), target, names)
        for key in ("group", "entry", "webhook"):
            if target.get(key) is not None:
                yield ("groups", name, "otherwise", key), "a group leads to a user, trunk, announcement or refusal"
    for name, webhook in _map(data.get("webhooks")).items():
        target = _map(_map(webhook).get("fallback"))
        yield from _target(("webhooks", name, "fallback"), target, names)
        if target.get("webhook") is not None:
            yield ("webhooks", name, "fallback", "webhook"), "a webhook cannot fall back to a webhook"
    yield from _trunk_users(data)
    yield from _certificate_names(data)


def _trunk_users(data: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    taken = {str(name): f"users.{name}" for name in _map(data.get("users"))}
    for name, trunk in _map(data.get("trunks")).items():
        user = _map(_map(trunk).get("authenticate")).get("user")
        if isinstance(user, str) and (first := taken.setdefault(user, f"trunks.{name}")) != f"trunks.{name}":
            yield ("trunks", name, "authenticate", "user"), f"{user} is the user name of {first} already"


def _certificate_names(data: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    taken: dict[str, str] = {}
    for section in ("trunks", "users"):
        for name, owner in _map(data.get(section)).items():
            for index, each in enumerate(_list(_map(owner).get("certificate_names"))):
                first = taken.setdefault(str(each).lower(), f"{section}.{name}")
                if first != f"{section}.{name}":
                    yield (section, name, "certificate_names", index), f"{each} is a name of {first} already"


def _sites(data: Mapping[str, Any], names: Mapping[str, set[str]]) -> Iterator[tuple[KeyPath, str]]:
    taken: dict[tuple[str, str], str] = {}
    here: str | None = None
    for name, site in _map(data.get("sites")).items():
        for key in ("cidrs", "trunks", "users"):
            for index, item in enumerate(_list(_map(site).get(key))):
                path: KeyPath = ("sites", name, key, index)
                if key != "cidrs":
                    yield from _named(path, item, key, names)
                first = taken.setdefault((key, str(item)), str(name))
                if first != name:
                    yield path, f"{item} is at site {first} already"
        if _map(site).get("here") is True:
            if here is not None:
                yield ("sites", name, "here"), f"the daemon is at site {here} already: it stands at one place"
            here = here or str(name)
        for other in _map(_map(site).get("links")):
            yield from _link(str(name), str(other), data, names)


def _link(
    name: str, other: str, data: Mapping[str, Any], names: Mapping[str, set[str]]
) -> Iterator[tuple[KeyPath, str]]:
    path: KeyPath = ("sites", name, "links", other)
    yield from _named(path, other, "sites", names)
    if other == name:
        yield path, "a site needs no link to itself"
    elif name > other and name in _map(_map(_map(data.get("sites")).get(other)).get("links")):
        yield path, f"the link is at sites.{other}.links.{name} already: write it at one end"


def _entries(data: Mapping[str, Any], names: Mapping[str, set[str]]) -> Iterator[tuple[KeyPath, str]]:
    media = _map(data.get("media"))
    for name, entry in _map(data.get("entries")).items():
        here: KeyPath = ("entries", name)
        target = _map(_map(entry).get("to"))
        yield from _target((*here, "to"), target, names)
        if target.get("entry") is not None:
            yield (*here, "to", "entry"), "an entry cannot lead to another entry: name a user, trunk or room"
        announcement = _map(entry).get("announcement")
        yield from _named((*here, "announcement"), announcement, "announcements", names)
        for key in ("audio_codecs", "video_codecs"):
            allowed = _list(media.get(key)) or getattr(Config().media, key)
            mine = _list(_map(entry).get(key))
            if mine and not set(map(str, mine)) & set(map(str, allowed)):
                yield (*here, key), f"has no codec in common with media.{key}: {', '.join(map(str, allowed))}"


def _listeners(data: Mapping[str, Any], names: Mapping[str, set[str]]) -> Iterator[tuple[KeyPath, str]]:
    listeners = _map(data.get("listeners"))
    defaults = Config().listeners
    for key in ("sip", "webrtc", "turn"):
        section = _map(listeners.get(key))
        if key == "turn" and section.get("port") is None:
            continue
        networks = section.get("networks", getattr(defaults, key).networks)
        for index, name in enumerate(_list(networks)):
            yield from _named(("listeners", key, "networks", index), name, "networks", names)
    for index, name in enumerate(_list(_map(data.get("edge")).get("networks"))):
        yield from _named(("edge", "networks", index), name, "networks", names)
    taken: dict[str, str] = {}
    for key in ("http", "https", "shared_tls", "admin"):
        binds = _map(listeners.get(key)).get("bind", getattr(defaults, key).bind)
        for index, bind in enumerate(_list(binds)):
            text = str(bind)
            if text in taken and not text.endswith(":0"):
                yield ("listeners", key, "bind", index), f"{text} is taken by listeners.{taken[text]} already"
            taken.setdefault(text, key)


def _ports(data: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    listeners = _map(data.get("listeners"))
    defaults = Config()
    sip = _map(listeners.get("sip"))
    tcp, tls = sip.get("tcp", defaults.listeners.sip.tcp), sip.get("tls", defaults.listeners.sip.tls)
    if tcp is not None and tcp == tls and tcp != 0:
        yield ("listeners", "sip", "tls"), f"{tls} is the TCP port already: TLS needs a port of its own"
    try:
        ports = parse_port_range(_map(data.get("media")).get("sip_ports", defaults.media.sip_ports))
    except ValueError:
        return
    webrtc = _map(listeners.get("webrtc"))
    first, count = (webrtc.get(key, getattr(defaults.listeners.webrtc, key)) for key in ("port", "port_count"))
    sip_udp = sip.get("udp", defaults.listeners.sip.udp)
    if isinstance(sip_udp, int) and ports.low <= sip_udp <= ports.high:
        yield (
            ("listeners", "sip", "udp"),
            f"{sip_udp} lies inside media.sip_ports ({ports}): choose a port outside of it",
        )
    if isinstance(first, int) and isinstance(count, int) and first > 0:
        last = first + count - 1
        path, shown = ("listeners", "webrtc", "port"), str(first) if count == 1 else f"{first}-{last}"
        if first <= ports.high and last >= ports.low:
            yield path, f"{shown} lies inside media.sip_ports ({ports}): choose a port outside of it"
        if isinstance(sip_udp, int) and first <= sip_udp <= last:
            yield path, f"{shown} is the UDP port of SIP already: choose another"
        # At an Edge media and TURN may share a port; it has no SIP.
        taken = (first, last) if data.get("role") != "edge" else (0, 0)
        yield from _turn_ports(_map(listeners.get("turn")), ports, sip_udp, taken)
    same = webrtc.get("tcp", defaults.listeners.webrtc.tcp)
    media_tcp = first if same == "same" else same
    # Once is enough where the same number is SIP's over UDP, too.
    is_told = same == "same" and media_tcp == sip_udp
    if media_tcp and media_tcp in (tcp, tls) and not is_told:
        yield ("listeners", "webrtc", "tcp"), f"{media_tcp} is a TCP port of SIP already: choose another, or null"


def _turn_ports(
    turn: Mapping[str, Any], sip_media: PortRange, sip_udp: object, webrtc: tuple[int, int]
) -> Iterator[tuple[KeyPath, str]]:
    port = turn.get("port")
    if not isinstance(port, int) or port == 0:
        return
    path: KeyPath = ("listeners", "turn", "port")
    if sip_media.low <= port <= sip_media.high:
        yield path, f"{port} lies inside media.sip_ports ({sip_media}): choose a port outside of it"
    if port == sip_udp:
        yield path, f"{port} is the UDP port of SIP already: choose another"
    if webrtc[0] <= port <= webrtc[1]:
        yield path, f"{port} is a UDP port of WebRTC already: choose another"


def _edges_and_cores(data: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    role, link = data.get("role"), _map(data.get("link"))
    if role == "core" and not _map(link.get("edges")):
        yield ("link", "edges"), "role: core needs an Edge to dial; without one take role: all"
    if role == "edge" and not _map(link.get("cores")):
        yield ("link", "cores"), "role: edge needs a Core to admit; without one take role: all"
    web = _map(data.get("web"))
    if web.get("origin") is None and web.get("pages", True):
        for name, edge in _map(link.get("edges")).items():
            if _map(edge).get("origin") is not None:
                yield (
                    ("link", "edges", name, "origin"),
                    "needs web.origin: else pages may not begin a call over this Edge",
                )
    turn = _map(_map(data.get("listeners")).get("turn"))
    if role == "edge" and turn.get("relay") == "open":
        yield (
            ("listeners", "turn", "relay"),
            "an Edge leads to its Cores and nowhere else: take closed, or leave it out",
        )
    taken: dict[object, str] = {}
    for name, core in _map(link.get("cores")).items():
        number = _map(core).get("id", 0)
        if number in taken:
            yield ("link", "cores", name, "id"), f"{taken[number]} has {number} already: give each Core its own"
        taken[number] = name
    yield from _names_of_cores(data, _map(link.get("cores")))


def _names_of_cores(data: Mapping[str, Any], cores: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    shared = _map(_map(data.get("listeners")).get("shared_tls"))
    passed = {str(name).lower() for name in _list(shared.get("names"))}
    owners: dict[str, str] = {}
    for name, core in cores.items():
        for index, server_name in enumerate(_list(_map(core).get("server_names"))):
            path, lower = ("link", "cores", name, "server_names", index), str(server_name).lower()
            if lower not in passed:
                yield path, f"{server_name} is not among listeners.shared_tls.names, so nobody comes by it"
            if owners.setdefault(lower, name) != name:
                yield path, f"{server_name} leads to {owners[lower]} already"


def _edge_ports(data: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    if data.get("role") != "edge":
        return
    edge, listeners = _map(data.get("edge")), _map(data.get("listeners"))
    sip = edge.get("sip_tls")
    binds = [str(bind) for bind in _list(_map(listeners.get("shared_tls")).get("bind"))]
    if sip is not None and any(bind.endswith(f":{sip}") for bind in binds):
        yield (
            ("edge", "sip_tls"),
            f"{sip} is the port of listeners.shared_tls already: name it in its names, or choose another",
        )
    try:
        ports = parse_port_range(edge["sip_media_ports"]) if edge.get("sip_media_ports") else None
    except ValueError:
        return
    link = str(_map(data.get("link")).get("listen", Config().link.listen)).rpartition(":")[2]
    webrtc = _map(listeners.get("webrtc")).get("port", Config().listeners.webrtc.port)
    for name, port in (("listeners.webrtc.port", webrtc), ("link.listen", int(link) if link.isdecimal() else None)):
        if ports is not None and isinstance(port, int) and ports.low <= port <= ports.high:
            yield ("edge", "sip_media_ports"), f"{name} ({port}) lies inside {ports}: choose other ports"


def _slots(data: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    rooms, limits, defaults = _map(data.get("rooms")), _map(data.get("limits")), Config()
    slots = [rooms.get(key, getattr(defaults.rooms, key)) for key in ("audio_slots", "video_slots")]
    most = limits.get("tracks_per_transport", defaults.limits.tracks_per_transport)
    if all(isinstance(number, int) for number in (*slots, most)) and sum(slots) + len(MEDIA_KINDS) > most:
        beside = f"with audio_slots and a participant's own {len(MEDIA_KINDS)} tracks"
        yield ("rooms", "video_slots"), f"{beside} these are more than limits.tracks_per_transport ({most})"


def _target(here: KeyPath, target: Mapping[str, Any], names: Mapping[str, set[str]]) -> Iterator[tuple[KeyPath, str]]:
    for key, section in _TARGETS.items():
        yield from _named((*here, key), target.get(key), section, names)


def _named(path: KeyPath, name: object, section: str, names: Mapping[str, set[str]]) -> Iterator[tuple[KeyPath, str]]:
    if not isinstance(name, str) or name in names[section]:
        return
    close = get_close_matches(name, names[section], n=1)
    if close:
        hint = f"did you mean {close[0]!r}?"
    elif names[section]:
        hint = f"there are: {', '.join(sorted(names[section])[:10])}"
    else:
        hint = f"{section} is empty"
    yield path, f"there is no {name!r} in {section}; {hint}"


def _map(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> Sequence[Any]:
    return value if isinstance(value, (list, tuple)) else ()
