"""Asks the daemon that runs with this configuration, on its administration listener, what only it knows."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Final, TypeVar

from mediaserver.config.model import Config
from mediaserver.errors import MediaServerError

_TIMEOUT_S: Final = 5.0
_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}
_Answer = TypeVar("_Answer")


class Silent(MediaServerError):
    """No answer that can be read."""


def ask_admin(config: Config, path: str, read: Callable[[bytes], _Answer]) -> _Answer:
    """What `read` makes of the answer, also of one that says 503. Raises Silent."""
    binds = config.listeners.admin.bind
    if not binds:
        raise Silent("listeners.admin.bind is empty: the daemon cannot be asked")
    host = _EVERYWHERE.get(binds[0].host, binds[0].host)
    url = f"http://{f'[{host}]' if ':' in host else host}:{binds[0].port}{path}"
    try:
        try:
            with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as response:
                body: bytes = response.read()
        except urllib.error.HTTPError as error:
            body = error.read()
        return read(body)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Silent(f"the daemon does not say it at {url} ({error}): does it run?") from None
