"""The customer's consent to show the camera: given or withdrawn, when, and to which text."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class CameraConsent:
    """`given` False is a withdrawal. `text_version` names the text that the page showed; `at` is aware."""

    given: bool
    text_version: str
    at: datetime
