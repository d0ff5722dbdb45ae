"""Real-time text of a call: what a phone types (RFC 4103) reaches the page's data channel (RFC 8865) or the other phone,

and back. The text itself never passes here: the engine moves it within a topic.
"""

from __future__ import annotations

from mediaserver.call.leg import Leg
from mediaserver.core.data import T140, Topics


class TextBridge:
    """Belongs to one call, and is told whom it joins whenever something about the two changes."""

    def __init__(self) -> None:
        self._own: Topics | None = None
        self._joined: dict[int, tuple[Leg, int]] = {}
        """Whose text is in which topic, by transport."""
        self._shown: set[str] = set()

    def connect(self, one: Leg, two: Leg, *, apart: bool) -> list[tuple[Leg, bool]]:
        """Joins the text of the two, or parts it while one of them is on hold.

        Returns the legs that are to be shown that there is real-time text on the other side, or no longer.
        """
        topic = None if apart else self._topic(one, two)
        wanted = (
            {} if topic is None else {leg.text_line: (leg, topic) for leg in (one, two) if leg.text_line is not None}
        )
        for line, (leg, _) in self._joined.items():
            if line not in wanted and leg.text_line == line:
                leg.leave_text()
        for line, (leg, number) in wanted.items():
            if self._joined.get(line) != (leg, number):
                leg.join_text(number)
        self._joined = wanted
        typing = {leg.id for leg, _ in wanted.values()}
        shown = {leg.id for leg, other in ((one, two), (two, one)) if other.id in typing}
        changed = [(leg, leg.id in shown) for leg in (one, two) if (leg.id in shown) != (leg.id in self._shown)]
        self._shown = shown
        return changed

    def _topic(self, one: Leg, two: Leg) -> int | None:
        """Where the two meet: in the page's own topic, or in one between two phones; None where nobody would read."""
        lines = [leg for leg in (one, two) if leg.text_line is not None]
        page = one.data or two.data
        if not lines:
            return None
        if page is not None:
            return page.topics.get(T140) if page.topics is not None else None
        if len(lines) < 2:
            return None
        if self._own is None:
            self._own = one.new_topics()
        return self._own.get(T140)
