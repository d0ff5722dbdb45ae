"""What `mediaserver drain-edge` does: has the running Core leave an Edge, and shows how far that is."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote

from mediaserver.api.status import RunningDaemon
from mediaserver.config.model import Config
from mediaserver.config.secrets import SecretStore
from mediaserver.errors import MediaServerError

_LOOK_S: Final = 0.5


def drain(
    config: Config, secrets: SecretStore, name: str, deadline_s: float | None, *, say: Callable[[str], None]
) -> None:
    """Returns when nothing goes over the Edge any more; a deadline of None uses it again, and returns at once.

    Raises MediaServerError."""
    if name not in config.link.edges:
        known = ", ".join(config.link.edges) or "none"
        raise MediaServerError(f"there is no Edge {name}; `link.edges` has: {known}")
    daemon, path = RunningDaemon(config, secrets), f"/v1/edges/{quote(name, safe='')}"
    if deadline_s is None:
        said = daemon.ask(f"{path}/drain", method="DELETE")
        say(_line(said))
        return
    said = daemon.ask(f"{path}/drain", method="POST", body={"deadline_s": deadline_s})
    shown = ""
    while True:
        if (line := _line(said)) != shown:
            shown = line
            say(line)
        if said["state"] in ("left", "away"):
            return
        time.sleep(_LOOK_S)
        said = daemon.ask(path)


def _line(said: dict[str, Any]) -> str:
    name, state = said["name"], said["state"]
    if state == "draining":
        return f"{name}: {_sessions(said)}"
    if state == "left":
        count = said["sessions"]
        rest = f"; {count} session{'' if count == 1 else 's'} had not gone" if count else ""
        return f"{name}: left, nothing goes over it any more{rest}"
    if state == "away":
        return f"{name}: away ({said['reason']})"
    return f"{name}: takes sessions"


def _sessions(said: dict[str, Any]) -> str:
    count = said["sessions"]
    return "looking for sessions" if count is None else f"{count} session{'' if count == 1 else 's'} still over it"
