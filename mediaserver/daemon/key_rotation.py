"""Another key for visitors' tokens while calls go on: Edges learn it first, then the engine signs by it."""

from __future__ import annotations

import structlog

from mediaserver.daemon.edges import Edges
from mediaserver.engine.commands import SetUfragKey
from mediaserver.engine.engine import Engine
from mediaserver.engine.ids import make_id
from mediaserver.link.token_keys import TokenKeys

_log = structlog.get_logger(__name__)


class TokenRotation:
    """Brings a key that a reload has found to everybody who needs it; `edges` are those of a Core."""

    def __init__(self, keys: TokenKeys, *, engine: Engine, edges: Edges | None) -> None:
        self._keys = keys
        self._engine = engine
        self._edges = edges

    def adopt(self, secret: bytes) -> None:
        """Sign by this key from now on, where it is another; tokens of the last one count until the next change."""
        try:
            if not self._keys.replace(secret):
                return
        except ValueError as error:
            _log.error("token_key_refused", reason=str(error))
            return
        if self._edges is not None:
            self._edges.announce_keys()
        key = self._keys.current
        shards = range(self._engine.config.shards)
        self._engine.submit(*(SetUfragKey(id=make_id(shard, 0), key_id=key.id, key=key.secret) for shard in shards))
        _log.info("secret_changed", token_key=key.id)
