"""What the house's own software may do with calls: make, answer, hold, mute, transfer, join and end them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog

from mediaserver.call.agents import Presentation
from mediaserver.call.call import MAX_MEMBERS, Call
from mediaserver.call.call_request import CallRequest
from mediaserver.call.calls import Calls
from mediaserver.call.conference import Supervision, SupervisionMode
from mediaserver.call.dial_plan import DialPlan
from mediaserver.call.events import EndCause
from mediaserver.call.leg import Leg
from mediaserver.call.routing import Destination, Question
from mediaserver.call.stand_in import StandIn, beside
from mediaserver.contact.attributes import AttributeLimits, Attributes
from mediaserver.contact.call_view import CallView, ContactView, contact_view
from mediaserver.contact.contact import Contact
from mediaserver.contact.contacts import Contacts
from mediaserver.contact.join_links import JoinLink
from mediaserver.contact.open_contacts import OpenContact
from mediaserver.contact.originated_call import OriginatedCall
from mediaserver.contact.refusals import NotFound, NotNow, Undeliverable
from mediaserver.engine.commands import Kind
from mediaserver.engine.engine import Engine
from mediaserver.errors import MediaServerError
from mediaserver.media.announcements import Announcements
from mediaserver.runtime.ids import new_id
from mediaserver.store.records import ContactRecords

_TRANSFERRED: Final = EndCause("system", "transferred", 200)
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Wish:
    """A call that is to be made. `from_` and `to` are what somebody would dial: a user, or a number."""

    from_: str
    to: str
    name: str = ""
    """What both see of the call, in place of the other one's number."""
    attributes: Mapping[str, str] = field(default_factory=dict)
    contact_id: str | None = None
    """Under which id the house knows the matter."""
    video: bool = True
    waiting: str | None = None
    """Announcement that the first one hears while the other is rung."""


class CallControl:
    """Everything by ids, for a caller who is trusted like the routing table itself."""

    def __init__(
        self,
        *,
        contacts: Contacts,
        calls: Calls,
        dial_plan: DialPlan,
        announcements: Announcements,
        engine: Engine,
        records: ContactRecords,
        attribute_limits: AttributeLimits,
        server_name: str,
    ) -> None:
        self._contacts = contacts
        self._calls = calls
        self._dial_plan = dial_plan
        self._announcements = announcements
        self._engine = engine
        self._records = records
        self._attribute_limits = attribute_limits
        self._server_name = server_name

    # -- looking -------------------------------------------------------------------------------------------------

    def calls(self) -> Sequence[CallView]:
        """Every call that is there, in the order in which they began."""
        return [opened.view for opened in self._contacts.open]

    def call(self, call_id: str) -> CallView:
        """One, also for a while after its end. Raises NotFound."""
        found = self._contacts.open.view(call_id)
        if found is None:
            raise NotFound("There is no such call.")
        return found

    def contacts(self) -> Sequence[ContactView]:
        """Every contact that is open."""
        return [contact_view(opened.contact) for opened in self._contacts.open]

    def contact(self, contact_id: str) -> ContactView | None:
        """One that is open."""
        opened = self._contacts.open.get(contact_id)
        return contact_view(opened.contact) if opened is not None else None

    # -- making --------------------------------------------------------------------------------------------------

    async def originate(self, wish: Wish) -> CallView:
        """Rings `from_`, then `to`; returns at once.

        Raises Undeliverable, NotFound (the announcement), NotNow (the contact is known already), AttributesRefused,
        LimitExceeded, StoreError.
        """
        attributes = self._attribute_limits.bounded(wish.attributes)
        waiting = self._clip(wish.waiting) if wish.waiting is not None else None
        first = await self._destination(Question(called=wish.from_, attributes=attributes))
        second = await self._destination(Question(called=wish.to, caller=wish.from_, attributes=attributes))
        contact_id = wish.contact_id
        if contact_id is not None and (
            self._contacts.open.get(contact_id) is not None or await self._records.get(contact_id) is not None
        ):
            raise NotNow("There is a contact of this id already; every contact has one call.")
        contact = Contact(
            id=contact_id or new_id(),
            source="",
            caller=wish.from_,
            number=wish.from_,
            attributes=Attributes(verified=attributes),
        )

        def presentation(number: str) -> Presentation:
            return Presentation(name=wish.name or number, verified=True, attributes=attributes, number=number)

        runner = self._contacts.run(
            contact,
            lambda over: OriginatedCall(
                contact=contact,
                stand_in=StandIn(contact_id=contact.id, engine=self._engine, video=wish.video),
                first=first,
                second=second,
                shown_first=presentation(wish.to),
                shown_second=presentation(wish.from_),
                waiting=waiting,
                calls=self._calls,
                server_name=self._server_name,
                on_over=over,
            ),
            origin="api",
            to=wish.to,
        )
        runner.begin()
        return self.call(contact.call_id)

    # -- acting --------------------------------------------------------------------------------------------------

    async def answer(self, call_id: str, *, announcement: str | None = None) -> None:
        """Answers a phone's call that rings, so that it hears the announcement until somebody takes it.

        Raises NotFound, NotNow, NegotiationError.
        """
        opened = self._open(call_id)
        clip = self._clip(announcement) if announcement is not None else None
        leg = opened.contact.legs[0] if opened.contact.legs else None
        if opened.runner.call is not None or leg is None or leg.ended:
            raise NotNow("The call is not ringing.")
        if leg.kind != "sip":
            raise NotNow("A browser's call is answered as soon as its media arrive.")
        if leg.answered_at is None:
            await leg.meet(StandIn(contact_id=opened.contact.id, engine=self._engine, video=True))
        if clip is not None:
            leg.play(clip, loop=True)
        opened.contact.note("announcement", announcement or "")

    async def hang_up(self, call_id: str) -> None:
        """Ends a call. Raises NotFound."""
        await self._open(call_id).runner.end(EndCause("system", "api", 480))

    def hold(self, call_id: str, leg_id: str, *, on: bool, announcement: str | None = None) -> None:
        """Parts a leg from the other one, or joins them again. Raises NotFound, NotNow."""
        opened, call, leg = self._up(call_id, leg_id)
        clip = self._clip(announcement) if announcement is not None and on else None
        call.hold(leg, on=on, clip=clip)
        opened.contact.note("held" if on else "resumed", leg.name)

    def mute(self, call_id: str, leg_id: str, kinds: Sequence[Kind], *, on: bool) -> None:
        """Keeps what a leg sends from the other one, or lets it through again. Raises NotFound, NotNow."""
        opened, call, leg = self._up(call_id, leg_id)
        call.passing.mute(leg, kinds, on=on)
        call.connect()
        opened.contact.note("muted" if on else "unmuted", f"{leg.name} {' and '.join(kinds)}")

    def send_digits(self, call_id: str, leg_id: str, digits: str, *, duration_ms: int) -> None:
        """Presses keys towards a leg (RFC 4733, or INFO where a phone takes only that). Raises NotFound, NotNow."""
        _, _, leg = self._up(call_id, leg_id)
        if not leg.takes_keys:
            raise NotNow("This leg takes no telephone events (RFC 4733) and no INFO.")
        leg.press(digits, duration_ms=duration_ms)

    async def transfer(self, call_id: str, leg_id: str, to: str) -> None:
        """Somebody else takes the place of a leg, which stays until he has answered; the outcome is an event.

        Raises NotFound, NotNow, Undeliverable.
        """
        opened, call, leg = self._up(call_id, leg_id)
        contact = opened.contact
        number = _number_of(call.other(leg), contact)
        question = Question(called=to, caller=number, attributes=contact.attributes.verified)
        destination = await self._destination(question)
        opened, call, leg = self._up(call_id, leg_id)  # a webhook may have taken its time
        other = call.other(leg)
        request = CallRequest(
            contact.id,
            other,
            destination,
            Presentation(
                name=other.name,
                verified=True,
                attributes=contact.attributes.verified,
                unverified=contact.attributes.unverified,
                page=contact.page,
                number=number,
            ),
            on_leg=contact.add_leg,
            note=contact.note,
            call_id=call_id,
            on_digit=contact.digit,
        )
        call.run(self._replace(contact, call, leg, request), name="api-transfer")

    async def transfer_to_leg(self, call_id: str, leg_id: str, to_leg: str) -> None:
        """A leg of another call takes the place of this one; whom it talked to is hung up, and so is this one.

        Raises NotFound, NotNow, NegotiationError.
        """
        opened, call, leg = self._up(call_id, leg_id)
        found = self._leg_anywhere(to_leg)
        if found is None:
            raise NotFound("There is no such leg in a call that is up.")
        second, new = found
        if second is call:
            raise NotNow("Both legs are in one call already.")
        given, joined = await call.merge(leg, second, second.other(new), _TRANSFERRED)
        await leg.end(_TRANSFERRED)
        opened.contact.note("contact_joined", joined)
        opened.contact.note("transferred", f"{leg.name} to {given.name}")

    async def add(self, call_id: str, to: str) -> None:
        """A third party, which comes into the call when it has answered; the outcome is an event.

        Raises NotFound, NotNow, Undeliverable.
        """
        opened, call, _ = self._up(call_id, None)
        destination = await self._destination(
            Question(called=to, caller=opened.contact.number, attributes=opened.contact.attributes.verified)
        )
        opened, call, _ = self._up(call_id, None)  # a webhook may have taken its time
        if len(call.members) >= MAX_MEMBERS:
            raise NotNow(f"There are {MAX_MEMBERS} in this call already.")
        call.run(self._bring_in(opened.contact, call, destination, None), name="api-add")

    def link(self, call_id: str, entry: str, *, leg_id: str | None, lifetime_s: float) -> tuple[str, JoinLink]:
        """A token by which a party of a call comes in with a browser, too; None is whoever called.

        Raises NotFound, NotNow, LimitExceeded.
        """
        opened, call, leg = self._up(call_id, leg_id)
        leg = call.caller if leg_id is None else leg
        if leg not in call.parties:
            raise NotNow("Whoever supervises, or is here by a browser already, takes no further leg.")
        made = self._contacts.links.make(call_id=call_id, leg_id=leg.id, entry=entry, lifetime_s=lifetime_s)
        opened.contact.note("linked", leg.name)
        return made

    async def supervise(self, call_id: str, by: str, mode: SupervisionMode, *, of: str | None = None) -> None:
        """Somebody listens to a call, or speaks in it; who does so already goes over to `mode`. The outcome is an event.

        `of` is the leg that hears a whisper; None is whoever was called. Raises NotFound, NotNow, Undeliverable.
        """
        opened, call, leg = self._up(call_id, of)
        destination = await self._destination(Question(called=by, caller=opened.contact.number))
        opened, call, leg = self._up(call_id, of)
        supervision = Supervision(mode, leg.id, by)
        present = call.supervisor(by)
        if present is not None:
            await call.supervise(present, supervision)
            opened.contact.note("supervised", f"{present.name} {mode}")
            return
        if len(call.members) >= MAX_MEMBERS:
            raise NotNow(f"There are {MAX_MEMBERS} in this call already.")
        call.run(self._bring_in(opened.contact, call, destination, supervision), name="api-supervise")

    def change_attributes(self, call_id: str, changes: Mapping[str, str | None]) -> Mapping[str, str]:
        """Sets attributes, or takes them away (None); returns all. Raises NotFound, AttributesRefused."""
        contact = self._open(call_id).contact
        merged = {**contact.attributes.verified, **changes}
        kept = self._attribute_limits.bounded({name: text for name, text in merged.items() if text is not None})
        contact.attributes.verified = kept
        contact.happened("contact.attributes", attributes=kept)
        return kept

    # -- inside --------------------------------------------------------------------------------------------------

    async def _bring_in(
        self, contact: Contact, call: Call, destination: Destination, supervision: Supervision | None
    ) -> None:
        """Rings somebody, and takes him into the call."""
        request = CallRequest(
            contact.id,
            beside(call.members, contact_id=contact.id, engine=self._engine),
            destination,
            Presentation(
                name=contact.caller,
                verified=True,
                attributes=contact.attributes.verified,
                unverified=contact.attributes.unverified,
                page=contact.page,
                number=contact.number,
            ),
            note=contact.note,
            call_id=contact.call_id,
            # RFC 4579 §5.2: a focus says that it is one; who supervises is no participant.
            focus=(call.focus or None) if supervision is None else None,
        )
        failed = "add_failed" if supervision is None else "supervision_failed"
        try:
            leg = await self._calls.ring(request)
        except MediaServerError as error:
            _log.info(failed, contact_id=contact.id, why=str(error))
            contact.note(failed, str(error))
            return
        try:
            leg.settle_with(request.caller)
            await call.add(leg, supervision)
        except BaseException as error:
            if leg not in call.guests:
                leg.listen(None)
            await leg.end(EndCause("system", "not_added", 488, str(error)))
            if not isinstance(error, MediaServerError):
                raise
            contact.note(failed, str(error))
            return
        if supervision is None:
            contact.note("added", leg.name)
            return
        contact.note("supervised", f"{leg.name} {supervision.mode}")

    async def _replace(self, contact: Contact, call: Call, leg: Leg, request: CallRequest) -> None:
        try:
            new = await call.exchange(leg, lambda: self._calls.ring(request))
        except MediaServerError as error:
            _log.info("transfer_failed", contact_id=contact.id, by="api", why=str(error))
            contact.note("transfer_failed", str(error))
            return
        await leg.end(_TRANSFERRED)
        contact.note("transferred", f"{leg.name} to {new.name}")

    async def _destination(self, question: Question) -> Destination:
        found = await self._dial_plan.decide(question)
        if found is None:
            raise Undeliverable(f"The routing table takes {question.called} nowhere.", code=404)
        if found.target.refuse is not None:
            raise Undeliverable(f"The routing table refuses {question.called}.", code=found.target.refuse)
        return found

    def _clip(self, announcement: str) -> int:
        clip = self._announcements.clip(announcement)
        if clip is None:
            raise NotFound(f"The announcement {announcement} is not there, or not ready yet.")
        return clip

    def _open(self, call_id: str) -> OpenContact:
        found = self._contacts.open.of_call(call_id)
        if found is not None:
            return found
        if self._contacts.open.view(call_id) is not None:
            raise NotNow("The call is over.")
        raise NotFound("There is no such call.")

    def _up(self, call_id: str, leg_id: str | None) -> tuple[OpenContact, Call, Leg]:
        opened = self._open(call_id)
        call = opened.runner.call
        if call is None:
            raise NotNow("The call is not up yet.")
        if leg_id is None:
            return opened, call, call.callee
        leg = next((leg for leg in call.members if leg.id == leg_id), None)
        if leg is None:
            raise NotFound("This call has no such leg.")
        if leg.ended:
            raise NotNow("This leg has hung up.")
        return opened, call, leg

    def _leg_anywhere(self, leg_id: str) -> tuple[Call, Leg] | None:
        for opened in self._contacts.open:
            call = opened.runner.call
            if call is None:
                continue
            for leg in call.members:
                if leg.id == leg_id and not leg.ended:
                    return call, leg
        return None


def _number_of(leg: Leg, contact: Contact) -> str | None:
    """As routes see it."""
    if contact.legs and leg is contact.legs[0]:
        return contact.number
    return leg.booking.party.user if leg.booking is not None else None
