"""Visitors for whom another Core is right: the Edge is told, and brings them there when they come again."""

from __future__ import annotations

import re
import secrets
from typing import Final, Protocol

from aiohttp import web

_TOKEN: Final = re.compile(r"([0-9]{1,5})\.")
_MAX_CORE_ID: Final = 65_535


class BringsElsewhere(Protocol):
    """The Core's Edges."""

    def bring_elsewhere(self, link: int, source: str, core_id: int | None) -> None:
        """Whoever comes from this address next over the Edge of this link is for the Core of this id; None: for any that
        takes new visitors."""
        ...


class OtherCores:
    """What a Core knows of the others: that they exist, and which one a resume token is of. `edges` is None where no Edge
    is: then nobody is sent anywhere."""

    def __init__(self, core_id: int = 0, *, edges: BringsElsewhere | None = None) -> None:
        self._core_id = core_id
        self._edges = edges

    def new_token(self) -> str:
        """A resume token, which says whose it is."""
        return f"{self._core_id}.{secrets.token_urlsafe(24)}"

    def send_away(self, request: web.BaseRequest) -> None:
        """A new visitor came, and this Core takes none."""
        self._tell(request, None)

    def send_back(self, request: web.BaseRequest, token: str) -> bool:
        """Somebody resumes by a token that nobody here knows. False where it is none of another Core's."""
        found = _TOKEN.match(token)
        core_id = int(found[1]) if found is not None else self._core_id
        return core_id != self._core_id and core_id <= _MAX_CORE_ID and self._tell(request, core_id)

    def _tell(self, request: web.BaseRequest, core_id: int | None) -> bool:
        link = request.transport.get_extra_info("link", 0) if request.transport is not None else 0
        if self._edges is None or not link or request.remote is None:
            return False
        # Not who a proxy says it was: the Edge knows connections by who opened them.
        self._edges.bring_elsewhere(link, request.remote, core_id)
        return True
