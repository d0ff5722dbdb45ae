"""The customer's consent to show the camera: given or withdrawn, when, and to which text."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from mediaserver.call.webrtc_leg import WebRtcLeg
from mediaserver.config.sections import Entry
from mediaserver.errors import RemoteProtocolError
from mediaserver.webrtc.messages import Consent

if TYPE_CHECKING:
    from mediaserver.contact.contact import Contact


@dataclass(frozen=True, slots=True)
class CameraConsent:
    """`given` False is a withdrawal. `text_version` names the text that the page showed; `at` is aware."""

    given: bool
    text_version: str
    at: datetime


def show_camera(contact: Contact, leg: WebRtcLeg, entry: Entry, said: Consent) -> None:
    """Does and keeps what a page of an entry says about its camera. Raises RemoteProtocolError."""
    if said.camera and entry.video != "two-way":
        raise RemoteProtocolError("this entry never shows the caller's camera", status=403)
    contact.consent(given=said.camera, text_version=said.text_version)
    configured = entry.consent.version
    if said.text_version != configured:
        # A page that was opened before the text changed, or one that says what it likes: the record keeps its word.
        contact.note("consent_text_differs", f"the entry's is {configured}")
    if said.camera:
        leg.open_gate("video", "consent")
    else:
        leg.close_gate("video", "consent")
