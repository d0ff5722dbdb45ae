"""Which way media go between the Core and one Edge: by UDP, or over TLS where UDP does not pass."""

from __future__ import annotations

from typing import Final, Literal

import structlog

Way = Literal["udp", "tls"]
MediaState = Literal["none", "udp", "tls", "both"]

WORDS: Final[dict[MediaState, str]] = {
    "none": "no media: the Edge answers neither by UDP nor over TLS",
    "udp": "by UDP",
    "tls": "over TLS: UDP does not pass between here and the Edge",
    "both": "by UDP, and partly over TLS: some UDP does not pass between here and the Edge",
}
"""For operators."""

_log = structlog.get_logger(__name__)


class MediaWay:
    """The links of the shards to an Edge's workers, each of which goes its way."""

    def __init__(self, edge: str) -> None:
        self._edge = edge
        self._ways: dict[int, Way] = {}
        self._logged: MediaState = "none"

    @property
    def state(self) -> MediaState:
        """All of them together."""
        match sorted(set(self._ways.values())):
            case []:
                return "none"
            case [only]:
                return only
        return "both"

    @property
    def words(self) -> str:
        """The same for operators."""
        return WORDS[self.state]

    def handle_up(self, link: int, way: Way) -> None:
        """A link answers, by this way."""
        self._ways[link] = way
        self._log()

    def handle_down(self, link: int) -> None:
        """A link does not answer any more, or is closed."""
        self._ways.pop(link, None)
        self._log()

    def _log(self) -> None:
        state = self.state
        if state == self._logged:
            return
        self._logged = state
        log = _log.info if state == "udp" else _log.warning
        log("edge_media", edge=self._edge, goes=self.words)
