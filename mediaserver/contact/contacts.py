"""All contacts that are open: how they begin, what bounds them, and what is kept when they end."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import structlog

from mediaserver.call.admission import Admission
from mediaserver.call.agents import Agents, Presentation
from mediaserver.call.booking import BROWSER_PACKETS, Party
from mediaserver.call.caller_identity import identity_of
from mediaserver.call.calls import Calls
from mediaserver.call.connected_identity import ConnectedIdentity
from mediaserver.call.dial_failed import warning_value
from mediaserver.call.dial_plan import DialPlan
from mediaserver.call.events import EndCause
from mediaserver.call.events import Party as Role
from mediaserver.call.incoming import question_of
from mediaserver.call.leg import Codecs, Leg
from mediaserver.call.routing import Destination, Question
from mediaserver.call.signaling import AttributesRefused, Identity, Signaling, UnknownEntry, UnknownLink
from mediaserver.call.unrouted import Unrouted
from mediaserver.call.webrtc_leg import WebRtcLeg
from mediaserver.config.model import Config
from mediaserver.config.sections import Entry, Media
from mediaserver.contact.agent_session import AgentSession
from mediaserver.contact.attributes import AttributeLimits, Attributes
from mediaserver.contact.caller_session import CallerSession
from mediaserver.contact.companion_session import CompanionSession
from mediaserver.contact.connected_call import ConnectedCall
from mediaserver.contact.contact import Contact, Tell
from mediaserver.contact.ending import OnOver
from mediaserver.contact.join_links import JoinLinks
from mediaserver.contact.named_calls import NamedCalls
from mediaserver.contact.open_contacts import OpenContact, OpenContacts, Runner
from mediaserver.core.up_track import Gate
from mediaserver.engine.engine import Engine
from mediaserver.errors import LimitExceeded, RemoteProtocolError
from mediaserver.media.announcements import Announcements
from mediaserver.runtime.ids import new_id
from mediaserver.runtime.metrics import Metrics
from mediaserver.runtime.sources import source_prefix
from mediaserver.sdp.description import Fingerprint, SdpError
from mediaserver.sip.errors import SipParseError
from mediaserver.sip.uri import parse_sip_uri
from mediaserver.sip.user_agent import IncomingInvite
from mediaserver.store.writer import RecordWriter
from mediaserver.webrtc.messages import Page
from mediaserver.webrtc.section import MediaPolicy

_log = structlog.get_logger(__name__)
_R = TypeVar("_R", bound=Runner)


class Contacts:
    """Implements `call.signaling.Contacts`, and takes the calls of phones through `on_invite`."""

    def __init__(
        self,
        *,
        config: Config,
        engine: Engine,
        fingerprint: Fingerprint,
        calls: Calls,
        agents: Agents,
        dial_plan: DialPlan,
        announcements: Announcements,
        records: RecordWriter,
        metrics: Metrics,
        server_name: str,
        attribute_limits: AttributeLimits,
        admission: Admission,
        tell: Tell | None = None,
    ) -> None:
        """`tell` gets what happens to contacts, for whoever listens to events."""
        self._tell = tell
        self._config = config
        self._engine = engine
        self._fingerprint = fingerprint
        self._calls = calls
        self._agents = agents
        self._dial_plan = dial_plan
        self._announcements = announcements
        self._records = records
        self._server_name = server_name
        self._attribute_limits = attribute_limits
        self._admission = admission
        self.open = OpenContacts()
        self._named = NamedCalls(calls=calls, opened=self.open, dial_plan=dial_plan, server_name=server_name)
        self.links = JoinLinks()
        """Ways into calls that are up."""
        self._by_source: Counter[str] = Counter()
        self._by_entry: Counter[str] = Counter()
        self._draining = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._begun = metrics.counter("contacts_total", "Contacts begun", ["origin"])
        self._refused = metrics.counter("contacts_refused_total", "Contacts refused, by the limit reached", ["limit"])
        self._ended = metrics.counter("contacts_ended_total", "Contacts ended", ["by", "reason"])
        self._unrouted = Unrouted(metrics)
        self._gated = metrics.counter(
            "video_packets_gated_total", "Video packets of callers dropped because a gate was closed", ["gate"]
        )
        self._duration = metrics.histogram(
            "contact_duration_seconds", "Length of contacts", buckets=(1, 5, 15, 30, 60, 180, 600, 1800, 3600)
        )
        metrics.gauge("contacts_open", "Contacts that are open now").set_function(lambda: len(self.open))
        metrics.gauge("agents_present", "Agents signed in on a page").set_function(lambda: len(self._agents))

    def __len__(self) -> int:
        return len(self.open)

    def adopt(self, config: Config) -> None:
        """Take contacts by this configuration from now on."""
        self._config = config

    # -- browsers ------------------------------------------------------------------------------------------------

    async def start_caller(
        self,
        *,
        entry: str,
        signaling: Signaling,
        source: str,
        page: Page | None,
        attributes: Mapping[str, str],
        identity: Identity | None,
    ) -> CallerSession:
        """See `call.signaling.Contacts`. Raises UnknownEntry, AttributesRefused, LimitExceeded."""
        settings = self._config.entries.get(entry)
        if settings is None:
            raise UnknownEntry(f"there is no entry {entry!r}")
        self._check_room(source, entry, settings)
        trusted = dict(identity.attributes) if identity is not None else {}
        name = (identity.name or identity.reference) if identity is not None else None
        destination = await self._dial_plan.decide_entry(entry, Question(name=name, attributes=trusted))
        if destination is None:
            raise UnknownEntry(f"the entry {entry!r} leads nowhere now")
        self._check_room(source, entry, settings)  # a webhook may have taken its time
        try:
            said = self._attribute_limits.bounded(attributes)
        except AttributesRefused as error:
            self._refused.labels(error.limit).inc()
            raise
        contact = Contact(
            id=new_id(),
            source=source,
            entry=entry,
            caller=(identity.name or identity.reference) if identity else "Visitor",
            reference=identity.reference if identity else None,
            page=page,
            attributes=Attributes(dict(identity.attributes) if identity else {}, said),
        )
        leg = self._browser_leg(
            contact,
            name=contact.caller,
            signaling=signaling,
            policy=_entry_policy(settings, self._config.media),
            gates=("consent", "queued"),
            may_send_video=settings.video == "two-way",
            caller=True,
        )
        session = CallerSession(
            contact=contact,
            leg=leg,
            entry=settings,
            destination=destination,
            announcement=self._announcement(settings),
            calls=self._calls,
            engine=self._engine,
            signaling=signaling,
            on_over=self._over,
        )
        self._begin(contact, session, "browser", entry)
        return session

    async def follow_link(self, *, link: str, entry: str, signaling: Signaling) -> CompanionSession:
        """See `call.signaling.Contacts`. Raises UnknownLink, UnknownEntry, LimitExceeded."""
        found, settings = self.links.find(link), self._config.entries.get(entry)
        if settings is None:
            raise UnknownEntry(f"there is no entry {entry!r}")
        opened = self.open.of_call(found.call_id) if found is not None and found.entry == entry else None
        call = opened.runner.call if opened is not None else None
        of = next((leg for leg in call.parties if found and leg.id == found.leg_id), None) if call is not None else None
        if opened is None or call is None or of is None or of.ended:
            raise UnknownLink("This link has been used, or the call that it leads into is over.")
        contact = opened.contact
        policy = replace(_entry_policy(settings, self._config.media), audio=())
        leg = self._browser_leg(
            contact,
            name=of.name,
            signaling=signaling,
            policy=policy,
            gates=("consent",),
            may_send_video=settings.video == "two-way",
            caller=False,
            party="caller",
        )
        self.links.use(link)
        return CompanionSession(contact=contact, call=call, of=of, leg=leg, entry=settings)

    async def sign_in_agent(self, user: str, signaling: Signaling) -> AgentSession:
        """See `call.signaling.Contacts`."""
        name = self._config.users[user].display_name or user

        def make_leg(contact_id: str, wanted: Codecs) -> WebRtcLeg:
            found = self.open.get(contact_id)
            if found is None:
                raise RemoteProtocolError("the caller has hung up", status=410)
            return self._agent_leg(found.contact, user, signaling, wanted)

        def make_outgoing_leg() -> WebRtcLeg:
            self._check_room("", None, None)
            contact = Contact(id=new_id(), source="", caller=name)
            leg = self._agent_leg(contact, user, signaling, {}, caller=True)
            outgoing.clear()  # one call at a time: what was prepared before and never offered is forgotten
            outgoing[leg.id] = contact
            return leg

        async def place_call(leg: WebRtcLeg, target: str) -> None:
            contact = outgoing.pop(leg.id)
            await self._place_call(contact, leg, user, target)

        outgoing: dict[str, Contact] = {}
        session = AgentSession(
            user=user,
            agents=self._agents,
            signaling=signaling,
            make_leg=make_leg,
            make_outgoing_leg=make_outgoing_leg,
            place_call=place_call,
        )
        replaced = self._agents.sign_in(session)
        if replaced is not None:
            await replaced.dismiss()
        return session

    # -- phones --------------------------------------------------------------------------------------------------

    async def on_invite(self, incoming: IncomingInvite) -> None:
        """Takes a call that came in over SIP: routes it, or says why not."""
        if await self._named.take(incoming):
            return
        identity = identity_of(incoming, self._calls.trunks.get(incoming.trunk))
        question = question_of(incoming, self._calls.trunks, identity)
        destination = await self._dial_plan.decide(question)
        if destination is None:
            self._unrouted.refuse(incoming, 404, asyncio.get_running_loop().time())
            return
        if destination.target.refuse is not None:
            self._unrouted.refuse(incoming, destination.target.refuse, asyncio.get_running_loop().time())
            return
        try:
            # Phones and trunks have proven who they are; the bound per source is for strangers.
            self._check_room("", None, None)
            contact = Contact(id=new_id(), source=incoming.source.ip)
            leg = self._calls.incoming_leg(incoming, contact.id, note=contact.note)
        except LimitExceeded:
            incoming.session.reject(503, headers=[("Retry-After", str(int(self._config.drain.retry_after)))])
            return
        except SdpError as error:
            incoming.session.reject(400, headers=[("Warning", warning_value(399, self._server_name, str(error)))])
            return
        contact.caller = leg.name
        presentation = contact.introduce(identity, self._attribute_limits)
        self._run_connected(contact, leg, destination, presentation, "sip", headers=question.headers)

    async def _place_call(self, contact: Contact, leg: Leg, user: str, target: str) -> None:
        destination = await self._dial_plan.decide(Question(called=_called(target), caller=user))
        if destination is None:
            await leg.end(EndCause("system", "unknown_destination", 404))
            return
        self._run_connected(
            contact, leg, destination, Presentation(name=contact.caller, verified=True, number=user), "agent"
        )

    def _run_connected(
        self,
        contact: Contact,
        leg: Leg,
        destination: Destination,
        presentation: Presentation,
        origin: str,
        *,
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        if leg not in contact.legs:
            contact.add_leg(leg)
        call = ConnectedCall(
            contact=contact,
            leg=leg,
            destination=destination,
            presentation=presentation,
            calls=self._calls,
            server_name=self._server_name,
            on_over=self._over,
            headers=headers,
        )
        contact.number = presentation.number
        self._begin(contact, call, origin, destination.number)
        contact.note("routed", destination.rule)
        call.begin()

    def run(self, contact: Contact, make: Callable[[OnOver], _R], *, origin: str, to: str | None) -> _R:
        """Takes in a contact that somebody else runs; `make` gets whom to tell of its end. Raises LimitExceeded."""
        self._check_room("", None, None)
        runner = make(self._over)
        self._begin(contact, runner, origin, to)
        return runner

    def shown_name(self, user: str) -> str:
        """What others are shown of a user of the house."""
        settings = self._config.users.get(user)
        return (settings.display_name if settings is not None else None) or user

    # -- life ----------------------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Takes no new contact from now on; those that are open go on."""
        self._draining = True

    async def all_over(self) -> None:
        """Returns when no contact is open."""
        await self._idle.wait()

    async def end_all(self, cause: EndCause) -> None:
        """Ends every contact."""
        for opened in self.open:
            await opened.runner.end(cause)

    # -- inside --------------------------------------------------------------------------------------------------

    def _agent_leg(
        self, contact: Contact, user: str, signaling: Signaling, wanted: Codecs, *, caller: bool = False
    ) -> WebRtcLeg:
        media = self._config.media
        return self._browser_leg(
            contact,
            name=self._config.users[user].display_name or user,
            user=user,
            signaling=signaling,
            policy=MediaPolicy(
                audio=_first(wanted.get("audio", ()), media.audio_codecs),
                video=_first(wanted.get("video", ()), media.video_codecs),
                data=media.data_channels,
            ),
            gates=(),
            may_send_video=True,
            caller=caller,
        )

    def _browser_leg(
        self,
        contact: Contact,
        *,
        name: str,
        signaling: Signaling,
        policy: MediaPolicy,
        gates: tuple[Gate, ...],
        may_send_video: bool,
        caller: bool,
        user: str | None = None,
        party: Role | None = None,
    ) -> WebRtcLeg:
        leg = WebRtcLeg(
            leg_id=new_id(),
            contact_id=contact.id,
            name=name,
            party=party or ("caller" if caller else "agent"),
            engine=self._engine,
            fingerprint=self._fingerprint,
            policy=policy,
            signaling=signaling,
            closed_gates={"video": gates} if gates else {},
            may_send_video=may_send_video,
        )
        leg.identity = ConnectedIdentity(name, user)
        booked = Party(address=signaling.source, user=user, packets=BROWSER_PACKETS)
        peer = contact.legs[0].booking if contact.legs and not caller else None
        leg.booking = self._admission.book(leg.id, booked, contact_id=contact.id, peer=peer, note=contact.note)
        if caller:
            contact.add_leg(leg)
        return leg

    def _announcement(self, entry: Entry) -> tuple[int, bool] | None:
        if entry.announcement is None:
            return None
        clip = self._announcements.clip(entry.announcement)
        return None if clip is None else (clip, self._config.announcements[entry.announcement].loop)

    def _begin(self, contact: Contact, runner: Runner, origin: str, to: str | None) -> None:
        self.open.add(OpenContact(contact, runner, origin, to))
        contact.tell = self._tell
        self._idle.clear()
        self._by_source[source_prefix(contact.source)] += 1
        if contact.entry is not None:
            self._by_entry[contact.entry] += 1
        self._begun.labels(origin).inc()
        _log.info("contact_begun", contact_id=contact.id, entry=contact.entry, origin=origin)
        contact.happened(
            "contact.started",
            origin=origin,
            entry=contact.entry,
            caller=contact.caller,
            to=to,
            reference=contact.reference,
            attributes=dict(contact.attributes.verified),
            unverified_attributes=dict(contact.attributes.unverified),
        )
        for leg in contact.legs:
            contact.told_leg(leg)

    def _check_room(self, source: str, entry: str | None, settings: Entry | None) -> None:
        limits = self._config.limits
        try:
            if self._draining:
                raise LimitExceeded("the server is about to stop and takes no new calls", limit="draining")
            if len(self.open) >= limits.contacts:
                raise LimitExceeded("too many contacts are open", limit="limits.contacts")
            if source and self._by_source[source_prefix(source)] >= limits.contacts_per_source:
                raise LimitExceeded("too many contacts from one address", limit="limits.contacts_per_source")
            if entry is not None and settings is not None and self._by_entry[entry] >= settings.max_calls:
                raise LimitExceeded("too many contacts through this entry", limit=f"entries.{entry}.max_calls")
        except LimitExceeded as error:
            self._refused.labels(error.limit).inc()
            raise

    def _over(self, contact: Contact) -> None:
        if self.open.remove(contact) is None:
            return
        self.links.forget(contact.call_id)
        if not self.open:
            self._idle.set()
        _count_down(self._by_source, source_prefix(contact.source))
        if contact.entry is not None:
            _count_down(self._by_entry, contact.entry)
        record = contact.record()
        self._ended.labels(record.ended_by, record.end_reason).inc()
        self._duration.observe((record.ended_at - record.started_at).total_seconds())
        for leg in record.legs:
            for stream in leg.streams:
                for gate, packets in stream.gated.items():
                    self._gated.labels(gate).inc(packets)
        self._records.submit(record)
        _log.info("contact_ended", contact_id=contact.id, by=record.ended_by, reason=record.end_reason)
        contact.happened(
            "contact.ended",
            by=record.ended_by,
            reason=record.end_reason,
            code=contact.cause.code if contact.cause is not None else None,
            answered=record.answered_at is not None,
            duration_s=round((record.ended_at - record.started_at).total_seconds(), 3),
        )


def _called(target: str) -> str:
    """What an agent typed: a number, a user's name, or the address of either."""
    if not target.lower().startswith(("sip:", "sips:")):
        return target
    try:
        return parse_sip_uri(target).user_text or target
    except SipParseError:
        return target


def _entry_policy(entry: Entry, media: Media) -> MediaPolicy:
    return MediaPolicy(
        audio=media.accepted_audio(entry.audio_codecs),
        video=() if entry.video == "none" else media.accepted_video(entry.video_codecs),
        data=media.data_channels,
    )


def _first(wanted: tuple[object, ...], allowed: tuple[str, ...]) -> tuple[str, ...]:
    """`allowed` codec names, those of the other side first and in its order."""
    names = [getattr(codec, "name", "") for codec in wanted]
    keys = [name.lower() for name in names]
    return tuple(sorted(allowed, key=lambda name: keys.index(name.lower()) if name.lower() in keys else len(keys)))


def _count_down(counts: Counter[str], key: str) -> None:
    counts[key] -= 1
    if counts[key] <= 0:
        del counts[key]
