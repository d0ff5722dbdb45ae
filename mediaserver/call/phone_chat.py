"""The chat of a call between a page and a phone: what the page says on its channel goes to the phone as texts, and back.

Texts of a phone go on to other phones, too.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from mediaserver.call.leg import Leg
from mediaserver.core.data import DataChannels

CHAT: Final = "chat"
"""Label of the data channel, as in rooms."""
MOST_CHARACTERS: Final = 1_000
"""Of one text, as in rooms; what is longer is cut."""


class PhoneChat:
    """Told by its call whom it joins. A page writes plain text, or JSON with a member `text` as the pages here do."""

    def __init__(self) -> None:
        self._page: DataChannels | None = None
        self._phone: Leg | None = None

    def connect(self, one: Leg, two: Leg) -> None:
        """These two are in the call now."""
        page, phone = (one.data, two) if one.data is not None else (two.data, one)
        if page is None or not phone.takes_texts:
            self.close()
        elif page is not self._page or phone is not self._phone:
            self.close()
            self._page, self._phone = page, phone
            page.listen(CHAT, self._say_to_phone)
            page.use(page.new_topics())

    def take(self, leg: Leg, text: str) -> bool:
        """A text of one of the legs. True when there is a page that gets it."""
        if self._page is None or leg is not self._phone or CHAT not in self._page.labels:
            return False
        if text:
            message = {"from": leg.name, "text": text[:MOST_CHARACTERS]}
            name = " ".join(leg.name.split())
            self._page.say(CHAT, json.dumps(message, ensure_ascii=False), sender=name)
        return True

    def pass_on(self, leg: Leg, parties: Sequence[Leg], text: str) -> bool:
        """A text of one phone goes to the other phones, with its name where they are several. False where there is none."""
        others = [each for each in parties if each is not leg and each.takes_texts and not each.ended]
        if leg not in parties or not leg.takes_texts:
            return False
        name = f"{leg.shown_name}: " if len(parties) > 2 else ""
        for other in others if text else ():
            other.send_text(f"{name}{text[:MOST_CHARACTERS]}")
        return bool(others)

    def close(self) -> None:
        """The two are apart."""
        if self._page is not None:
            self._page.listen(CHAT, None)
        self._page = self._phone = None

    def _say_to_phone(self, said: str) -> None:
        text = text_of(said)
        if text and self._phone is not None:
            self._phone.send_text(text[:MOST_CHARACTERS])


def text_of(said: str) -> str:
    """What a person wrote; empty for what pages tell each other by the same channel."""
    if not said.startswith("{"):
        return said
    try:
        message = json.loads(said)
    except (ValueError, RecursionError):
        return said
    text = message.get("text") if isinstance(message, dict) else None
    return text if isinstance(text, str) else ""
