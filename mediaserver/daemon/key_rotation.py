"""Other keys for visitors' tokens and TURN credentials while calls go on: Edges learn them first, then they are used. Named
TURN users change at once."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from mediaserver.daemon.edges import Edges
from mediaserver.daemon.turn import FreshTurnSecrets, TurnSecrets
from mediaserver.engine.commands import SetTurnSecrets, SetTurnUsers, SetUfragKey
from mediaserver.engine.engine import Engine
from mediaserver.engine.ids import make_id
from mediaserver.link.token_keys import TokenKeys

_log = structlog.get_logger(__name__)


class KeyRotation:
    """Brings keys that a reload has found to everybody who needs them; `edges` are those of a Core."""

    def __init__(self, tokens: TokenKeys, turn: TurnSecrets, *, engine: Engine, edges: Edges | None) -> None:
        self._tokens = tokens
        self._turn = turn
        self._engine = engine
        self._edges = edges

    def adopt(self, token_secret: bytes, turn: FreshTurnSecrets) -> None:
        """Use these from now on, where they are others; what the last ones made counts until the next change."""
        self._adopt_users(turn.users)
        try:
            tokens_changed = self._tokens.replace(token_secret)
        except ValueError as error:
            # The secrets of TURN come of the same one: both change, or neither.
            _log.error("token_key_refused", reason=str(error))
            return
        edges_changed = self._turn.of_edges.adopt(turn.of_edges)
        if self._edges is not None and (tokens_changed or edges_changed):
            self._edges.announce_keys()
        if self._turn.own.adopt(turn.own):
            if self._engine.config.turn is not None:
                self._engine.submit(SetTurnSecrets(id=0, secrets=self._turn.relayed_by_us))
            _log.info("secret_changed", turn="own relay")
        if tokens_changed:
            key = self._tokens.current
            shards = range(self._engine.config.shards)
            self._engine.submit(*(SetUfragKey(id=make_id(shard, 0), key_id=key.id, key=key.secret) for shard in shards))
            _log.info("secret_changed", token_key=key.id)

    def _adopt_users(self, fresh: Mapping[str, str]) -> None:
        changed = self._turn.adopt_users(fresh)
        if changed and self._engine.config.turn is not None:
            self._engine.submit(SetTurnUsers(id=0, users=tuple(fresh.items())))
        for name in changed:
            _log.info("secret_changed", turn_user=name)
