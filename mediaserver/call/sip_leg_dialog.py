"""What a SIP leg says and hears in its dialog beside media: who is at its ends, keys, texts, transfers."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Coroutine
from typing import Any, Final

from mediaserver.call.caller_identity import NAMELESS
from mediaserver.call.connected_identity import SILENT, ConnectedIdentity, Fields
from mediaserver.call.events import Dtmf, PartyChanged
from mediaserver.call.leg import Leg
from mediaserver.call.sip_leg_booking import BookedSipLeg
from mediaserver.call.sip_media import SipMediaSettings
from mediaserver.call.sip_policy import SipPolicy
from mediaserver.call.sip_webrtc import SipWebRtcSettings
from mediaserver.engine.engine import Engine
from mediaserver.errors import LocalProtocolError, MediaServerError
from mediaserver.runtime.tasks import TaskGroupOwner
from mediaserver.sip.headers import NameAddr
from mediaserver.sip.info_keys import read_key, write_key
from mediaserver.sip.session import InviteSession
from mediaserver.sip.session_id import NIL

_MEDIA_CONTROL: Final = "application/media_control+xml"
# RFC 5168 §7: the request for a picture that decoders without RTCP feedback understand.
_PICTURE_FAST_UPDATE: Final = (
    b'<?xml version="1.0" encoding="utf-8"?>'
    b"<media_control><vc_primitive><to_encoder><picture_fast_update/></to_encoder></vc_primitive></media_control>"
)
_BETWEEN_KEYS_MS: Final = 100


class SipLegDialog(BookedSipLeg):
    """The part of a SIP leg that needs a session and no media; `SipLeg` makes calls and answers them."""

    def __init__(
        self,
        *,
        leg_id: str,
        contact_id: str,
        name: str,
        engine: Engine,
        settings: SipMediaSettings | SipWebRtcSettings,
        policy: SipPolicy,
    ) -> None:
        super().__init__(
            leg_id=leg_id, contact_id=contact_id, name=name, engine=engine, settings=settings, policy=policy
        )
        self.identity_rules = SILENT
        """What the phone is told of the other side, and what it is believed."""
        self._session: InviteSession | None = None
        self._outcome: asyncio.Future[None] | None = None
        """Of our INVITE, while it rings."""
        self.taker: SipLegDialog | None = None
        """Who has taken the call that rang here."""
        self._transferring = False
        self._pressing = asyncio.Lock()
        self._sends_events = False
        """Keys of the phone come as packets."""
        self._tasks = TaskGroupOwner(f"sip-leg-{leg_id}")

    @abstractmethod
    async def _refresh(self, session: InviteSession) -> None:
        """Says again what holds."""

    def holds(self, session: InviteSession) -> bool:
        """Whether this is the leg of a session."""
        return self._session is session

    def run(self, work: Coroutine[Any, Any, None], *, name: str) -> None:
        """Runs `work` as a task that ends with the leg."""
        self._tasks.spawn(work, name=name)

    def give_way(self, taker: SipLegDialog) -> bool:
        """Somebody else takes the call that rings here; `dial` returns, and `taker` is who has it. False where it does not

        ring any more.
        """
        if self._outcome is None or self._outcome.done():
            return False
        self.taker = taker
        self._outcome.set_result(None)
        return True

    def _fail(self, error: Exception) -> None:
        if self._outcome is not None and not self._outcome.done():
            self._outcome.set_exception(error)

    # -- who is at its ends --------------------------------------------------------------------------------------

    @property
    def session_uuid(self) -> str:
        """See `Leg`; by the phone's own word where it gives one."""
        theirs = self._session.session_id.remote if self._session is not None else NIL
        return super().session_uuid if theirs == NIL else theirs

    def represent(self, other: Leg) -> None:
        """See `Leg`."""
        if self._session is not None:
            self._session.session_id.local = other.session_uuid
            self._note_session(self._session)
            self._identify(self._session, other.identity)

    def _identify(self, session: InviteSession, identity: ConnectedIdentity) -> None:
        try:
            told = session.identify(self.identity_rules.tell(identity), self.identity_rules.address(identity))
        except MediaServerError as error:
            self.log.info("identity_not_told", error=str(error))
            return
        if not told and not self.ended:
            self.run(self._refresh(session), name="identity")

    def show_focus(self, address: str) -> None:
        """See `Leg`: by our Contact, in whatever carries it next (RFC 4579 §4)."""
        if self._session is not None:
            self._session.focus = address

    def _note_session(self, session: InviteSession) -> None:
        """Keeps the Session-ID for the record, and for every line of the log from now on."""
        if session.session_id.known and self.session_id != (text := str(session.session_id)):
            self.session_id = text
            self.log = self.log.bind(session_id=text)

    def _on_party(self, headers: Fields) -> None:
        found = self.identity_rules.believe(headers)
        if found is not None and found != self.identity:
            self.identity = found
            self.shown_name = NAMELESS if found.withheld else found.name
            self.emit(PartyChanged())

    # -- texts and transfers -------------------------------------------------------------------------------------

    @property
    def takes_texts(self) -> bool:
        """True: by MESSAGE (RFC 3428)."""
        return True

    def send_text(self, text: str) -> None:
        """See `Leg`."""
        if self._session is None or self.ended:
            return
        try:
            self._session.send_text(text)
        except MediaServerError as error:
            self.log.info("text_not_sent", error=str(error))

    @property
    def peer_identity(self) -> NameAddr | None:
        """The phone's own From or To, without its tag; None before there is a call."""
        party = self._session.remote_party if self._session is not None else None
        return NameAddr(party.uri, party.display_name) if party is not None else None

    def answer_transfer(self, code: int) -> None:
        """Answers the transfer that the phone asked for: 202 takes it, and what comes then is how it is doing."""
        session = self._session
        if session is None or self.ended:
            return
        try:
            if code == 202:
                self._transferring = True
                session.accept_referral()
            elif self._transferring:
                self._transferring = code < 200
                session.notify_referral(code)
            else:
                session.reject_referral(code)
        except LocalProtocolError as error:
            self.log.debug("transfer_answered_too_late", error=str(error))

    # -- keys ----------------------------------------------------------------------------------------------------

    @property
    def takes_keys(self) -> bool:
        """See `Leg`."""
        return self.takes_events or self._takes_info

    @property
    def _takes_info(self) -> bool:
        session = self._session
        return session is not None and session.takes_info and self._answered and not self.ended

    def press(self, digits: str, *, duration_ms: int) -> None:
        """See `Leg`: by INFO to a phone that has agreed on no events and allows that."""
        if not self.takes_events and self._takes_info:
            self._tasks.spawn(self._press_by_info(digits, duration_ms), name="keys")
        else:
            super().press(digits, duration_ms=duration_ms)

    async def _press_by_info(self, digits: str, duration_ms: int) -> None:
        """One after the other, each with its time: nothing else keeps requests over UDP in order."""
        async with self._pressing:
            for digit in digits.replace(",", ""):
                if self._session is not None and self._takes_info:
                    self._session.send_info(*write_key(digit, duration_ms))
                await asyncio.sleep((duration_ms + _BETWEEN_KEYS_MS) / 1000)

    def _on_info(self, content_type: str, body: bytes) -> None:
        key = read_key(content_type, body)
        # Some phones say each key in both ways.
        if key is not None and not self._sends_events:
            self.emit(Dtmf(key.name, key.duration_ms, as_message=True))
        if content_type.partition(";")[0].strip().lower() == _MEDIA_CONTROL and b"picture_fast_update" in body:
            down = self.media["video"].down if "video" in self.media else None
            if down is not None and down.source is not None:
                down.source.request_keyframe()

    def _ask_for_picture(self) -> None:
        if self._session is not None and self._answered and not self.ended:
            self._session.send_info(_MEDIA_CONTROL, _PICTURE_FAST_UPDATE)
