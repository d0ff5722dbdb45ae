"""The configuration as a whole, and how its relative paths are read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from mediaserver.config.base import CREDENTIALS_DIRECTORY
from mediaserver.config.capture import Capture
from mediaserver.config.sections import (
    Announcement,
    Dns,
    Drain,
    Edge,
    Entry,
    Events,
    FilePath,
    Group,
    Limits,
    Link,
    Listeners,
    Log,
    Media,
    Name,
    Network,
    Records,
    RoomDefaults,
    Route,
    Secrets,
    Section,
    Site,
    Supervision,
    Tokens,
    Trunk,
    User,
    Web,
    Webhook,
)
from mediaserver.errors import ConfigError


class Config(Section):
    """Everything the daemon can be told; every key has a default, `config/mediaserver.yaml` shows them all."""

    state_dir: FilePath = Path(".state")
    """Folder of keys, generated secrets and records, made on first start with mode 0700. Relative to the working
    directory; every other relative path counts from here."""

    role: Literal["all", "core", "edge"] = "all"
    """Parts that this daemon runs: `edge` stands in the DMZ and has no key of media and pages, only `listeners.webrtc`,
    `listeners.shared_tls`, `listeners.admin` and `edge` count for it; `core` stands inside and dials the Edges of `link`;
    `all` is both in one, without a link."""

    networks: Mapping[Name, Network] = {"main": Network()}
    """Networks that this machine is attached to, by name."""

    listeners: Listeners = Listeners()
    """Where the daemon listens."""

    link: Link = Link()
    """Between Edge and Core."""

    edge: Edge = Edge()
    """What an Edge does with its visitors' TLS, and what it has for phones and trunks."""

    dns: Dns = Dns()
    """How names of trunks and phones are looked up."""

    users: Mapping[Name, User] = {}
    """People with a phone or the agent page, by user name."""

    trunks: Mapping[Name, Trunk] = {}
    """Call managers, ACDs and providers, by name."""

    routes: tuple[Route, ...] = ()
    """Routing table, first match decides; where its lines have no bandwidth for a call or its trunk takes none, the next
    match does. Calls to a registered user's own address need no line; a call that nothing matches is refused with 404.
    `mediaserver explain-route NUMBER --from CALLER` says which line decides, and why."""

    groups: Mapping[Name, Group] = {}
    """Users who are called together, by name."""

    webhooks: Mapping[Name, Webhook] = {}
    """Services of the house that decide where a call goes, by name."""

    sites: Mapping[Name, Site] = {}
    """Places with lines of their own, by name."""

    entries: Mapping[Name, Entry] = {}
    """Ways in for anonymous browsers, by name."""

    announcements: Mapping[Name, Announcement] = {}
    """Sound and picture played to callers, by name."""

    media: Media = Media()
    """How media is received and sent."""

    rooms: RoomDefaults = RoomDefaults()
    """Rooms, where a token says nothing else."""

    limits: Limits = Limits()
    """Bounds of everything that can grow."""

    secrets: Secrets = Secrets()
    """Keys of the daemon and of the house's site."""

    tokens: Tokens = Tokens()
    """Tokens accepted and handed out."""

    records: Records = Records()
    """Where finished contacts are written."""

    events: Events = Events()
    """What happens to contacts and calls, for `/v1/events` and webhooks."""

    capture: Capture = Capture()
    """Copies of all SIP messages for Homer and its like, by HEP version 3 over UDP. What came by TLS is in them, too, and
    the copies are not encrypted: send them where all of it may be seen."""

    web: Web = Web()
    """The pages that ship with the daemon."""

    log: Log = Log()
    """Logs on standard error."""

    supervision: Supervision = Supervision()
    """What those see who are supervised."""

    drain: Drain = Drain()
    """What SIGTERM does."""

    def path(self, relative: Path, environment: Mapping[str, str] = os.environ) -> Path:
        """A path of this configuration as it is opened: relative ones count from `state_dir`.

        Raises `ConfigError` for a credential where the service manager has handed over none.
        """
        if relative.parts[:1] != (f"${CREDENTIALS_DIRECTORY}",):
            return (self.state_dir / relative).absolute()
        folder = environment.get(CREDENTIALS_DIRECTORY)
        if not folder:
            raise ConfigError(
                f"{relative} is for a service manager that hands over credentials (LoadCredential= in the unit); "
                f"here the variable {CREDENTIALS_DIRECTORY} is not set"
            )
        return Path(folder, *relative.parts[1:])

    def domain_of(self, user: str) -> str:
        """SIP domain of a configured user. Raises `KeyError` for unknown ones."""
        return self.users[user].domain or self.listeners.sip.realm
