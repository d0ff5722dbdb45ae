"""What those who are in a conference are told of it (RFC 4575): who is there, whole at first and by its changes then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal
from xml.sax.saxutils import escape, quoteattr

_HEAD: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'


@dataclass(frozen=True, slots=True)
class ConferenceEndpoint:
    """One way by which somebody is there."""

    entity: str
    status: Literal["connected", "on-hold"]
    media: tuple[str, ...]
    """`audio`, `video`."""


@dataclass(frozen=True, slots=True)
class ConferenceUser:
    """Somebody who is there; `entity` is a URI, another one for each."""

    entity: str
    name: str
    endpoints: tuple[ConferenceEndpoint, ...]


@dataclass(frozen=True, slots=True)
class ConferenceState:
    """Everybody who is there, and the users of the house and trunks (`trunk_watcher`) among them: they alone may know."""

    users: tuple[ConferenceUser, ...] = ()
    watchers: frozenset[str] = frozenset()


def trunk_watcher(trunk: str) -> str:
    """How a trunk is called among users who watch; no user has such a name."""
    return f"trunk {trunk}"


def conference_info(entity: str, state: ConferenceState, told: ConferenceState | None, version: int) -> bytes:
    """The body of a NOTIFY about `entity`, a conference's URI: the full state, or what has changed since `told`.

    `version` counts the documents of one subscription; a subscriber who misses one asks for the full state (§4.4).
    """
    if told is None:
        users, kind = "".join(_user(each) for each in state.users), "full"
    else:
        here, known = {each.entity for each in state.users}, set(told.users)
        changed = [_user(each) for each in state.users if each not in known]
        gone = [each.entity for each in told.users if each.entity not in here]
        users = "".join([*changed, *(f'<user entity={quoteattr(each)} state="deleted"/>' for each in gone)])
        kind = "partial"
    return (
        f'{_HEAD}<conference-info xmlns="urn:ietf:params:xml:ns:conference-info" entity={quoteattr(entity)} '
        f'state="{kind}" version="{version}"><conference-state><user-count>{len(state.users)}</user-count>'
        f'</conference-state><users state="{kind}">{users}</users></conference-info>\n'
    ).encode()


def _user(user: ConferenceUser) -> str:
    endpoints = "".join(_endpoint(each) for each in user.endpoints)
    return (
        f'<user entity={quoteattr(user.entity)} state="full"><display-text>{escape(user.name)}</display-text>'
        f"{endpoints}</user>"
    )


def _endpoint(endpoint: ConferenceEndpoint) -> str:
    media = "".join(
        f'<media id="{number}"><type>{kind}</type></media>' for number, kind in enumerate(endpoint.media, 1)
    )
    return f"<endpoint entity={quoteattr(endpoint.entity)}><status>{endpoint.status}</status>{media}</endpoint>"
