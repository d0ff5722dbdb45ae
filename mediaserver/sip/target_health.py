"""Whether one target of a trunk lives, by its answers to OPTIONS; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

State = Literal["unknown", "up", "down"]

DEAD_CODES: Final = frozenset({408})
"""With 5xx, what counts as no life: 404 or 405 to an OPTIONS is still somebody who answers."""


def is_alive(code: int) -> bool:
    """Whether a status in answer to OPTIONS shows that calls may go there."""
    return 200 <= code < 500 and code not in DEAD_CODES


@dataclass(slots=True)
class TargetHealth:
    """`failures` in a row make a target dead, `successes` in a row alive again; until the first verdict it is unknown."""

    failures: int
    successes: int
    state: State = "unknown"
    last_code: int = 0
    """Status of the last answer; 408 or 503 for none."""
    last_answer_at: float | None = None
    since: float | None = None
    """When the state last changed."""
    _row: int = 0
    """Answers that speak against the state, in a row."""

    def heard(self, code: int, now: float) -> bool:
        """Take the outcome of one OPTIONS. True when the state changed."""
        alive = is_alive(code)
        self.last_code = code
        if alive:
            self.last_answer_at = now
        wanted: State = "up" if alive else "down"
        if self.state == wanted:
            self._row = 0
            return False
        self._row += 1
        # The first answer ever is enough to live: nobody has seen it dead.
        needed = (1 if self.state == "unknown" else self.successes) if alive else self.failures
        if self._row < needed:
            return False
        self.state, self.since, self._row = wanted, now, 0
        return True
