"""The media of one SIP leg: its m-lines, and its side of every offer and answer in the dialog (RFC 3264, RFC 6337)."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from mediaserver.call.edge_ports import PortsAtEdge
from mediaserver.call.leg import KINDS, Codecs
from mediaserver.call.sip_line import SipLine
from mediaserver.call.sip_lines import Line, LineKind, SipLines
from mediaserver.call.sip_policy import SrtpKeying
from mediaserver.call.sip_proposal import Proposal
from mediaserver.call.text_line import TextLine
from mediaserver.engine.commands import Kind
from mediaserver.engine.engine import Engine
from mediaserver.engine.events import AnyEvent
from mediaserver.errors import NegotiationError
from mediaserver.sdp.codecs import PayloadTypes, is_media, matches, offerable, own_events
from mediaserver.sdp.description import (
    Bandwidth,
    Codec,
    Crypto,
    Direction,
    Fingerprint,
    MediaDescription,
    SessionDescription,
)
from mediaserver.sdp.dtls import LocalDtls, wants_dtls
from mediaserver.sdp.offer_answer import (
    FEEDBACK,
    LocalMedia,
    NegotiatedMedia,
    first_of_kind,
    keep_payload_types,
    make_answer,
    make_cryptos,
    make_offer,
    negotiate,
    refusal,
)
from mediaserver.sdp.parser import parse
from mediaserver.sdp.serializer import serialize
from mediaserver.sdp.text import text_codecs

_LINE_KINDS: Final[tuple[LineKind, ...]] = (*KINDS, "text")


@dataclass(frozen=True, slots=True)
class SipMediaSettings:
    """Where a SIP leg's ports are opened and how strict they are; durations in milliseconds."""

    bind_ip: str
    announced_ip: str
    latching_ms: int
    timeout_ms: int
    srtp_keys: SrtpKeying = "sdes"
    """How our offers want keys to be agreed; either way is taken in the peer's."""
    at_edge: PortsAtEdge | None = None
    """Opens the ports in place of `bind_ip`, where the peer is beyond an Edge."""
    fingerprint: Fingerprint | None = None
    """Of the certificate that DTLS shows; without one there is no DTLS."""


class SipMedia(SipLines):
    """Opens, negotiates and closes. `on_event` gets the engine's events about the leg's transports and up tracks.

    `offer` and `answer` only propose, for the first time as for every later one: an offer is in force with
    `accept_answer`, an answer with `commit`, and `drop` forgets either and leaves the session as it was.
    """

    def __init__(
        self, *, engine: Engine, settings: SipMediaSettings, cname: str, on_event: Callable[[Kind, AnyEvent], None]
    ) -> None:
        super().__init__(engine)
        self._engine = engine
        self._settings = settings
        self._cname = cname
        self._on_event = on_event
        self._proposal: Proposal | None = None
        self._unsubscribe: list[Callable[[], None]] = []
        self.bandwidth: Callable[[Kind], tuple[Bandwidth, ...]] = _no_lines
        """Gives the `b=` lines of what we write."""
        self.takes_text = False
        """Real-time text is taken where the phone offers it (RFC 4103)."""
        self.offers_text = False
        """It is offered, too."""
        self.direction = Direction.SENDRECV
        """What the house wants of every line, seen from us."""
        self._session_id = secrets.randbits(62)
        self._version = 0
        self._closed = False
        self.on_moved: Callable[[], None] | None = None
        """Told that ports are others now, which the phone has to learn (`turn`)."""
        if settings.at_edge is not None:
            settings.at_edge.on_moved = self._move

    @property
    def transports(self) -> tuple[int, ...]:
        """Engine transports of all m-lines, those too that are only proposed."""
        opened = self._proposal.opened if self._proposal is not None else ()
        return (*super().transports, *(line.rtp.id for line in opened))

    # -- offers ----------------------------------------------------------------------------------------------------

    async def offer(self, wanted: Codecs, *, srtp: bool) -> bytes:
        """Our offer, the first or a later one: a line for each kind in `wanted` and for text, encrypted where `srtp`.

        Lines of earlier descriptions keep their places and payload types; those that are not wanted any more, or never
        were ours to take, have port 0 (RFC 3264 §8.2). Whoever is behind a later offer may be somebody else
        (RFC 3725): it wants everything both ways, under new keys. Raises LimitExceeded.
        """
        proposal = self._propose()
        before = self._local.media if self._local is not None else ()
        payload_types = PayloadTypes()
        sections: list[LocalMedia | MediaDescription] = list(before)
        for kind in _LINE_KINDS:
            codecs = self._offered(kind, wanted, payload_types)
            index = next((index for index, line in proposal.lines.items() if line.kind == kind), None)
            if not codecs:
                continue
            line = proposal.lines[index] if index is not None else await self._open(proposal, kind)
            if index is None:
                # RFC 3264 §8.1: a place that was declined may be used again.
                free = (i for i, each in enumerate(before) if each.kind == kind and i not in proposal.lines)
                index = next(free, len(sections))
                proposal.lines[index] = line
            # Whoever takes a later offer may not read what was sent before.
            dtls = line.local_dtls(fingerprint, None) if srtp and (fingerprint := self._certificate) else None
            proposal.keys[index] = _new_keys() if srtp and dtls is None else ()
            if isinstance(line, TextLine):
                codecs = line.offered(codecs)
            elif line.known:
                codecs = keep_payload_types(codecs, line.known)
            # RFC 5764 §4.1: one association instead of two, where the phone can.
            local = self._local_media(proposal, index, codecs, dtls=dtls, rtcp_mux=dtls is not None)
            sections[index : index + 1] = [local]
        proposal.local = self._described(sections)
        return serialize(proposal.local).encode()

    def repeat(self) -> bytes:
        """What holds, as an offer that changes nothing (RFC 4028 §7.4)."""
        proposal = self._propose()
        if self._local is None:
            raise NegotiationError("there is no session to offer again")
        proposal.local = self._local
        return serialize(self._local).encode()

    def turn(self) -> bytes:
        """What holds, as an offer with `direction` for every line (RFC 3264 §8.4), and with the ports that it has now."""
        proposal = self._propose()
        if self._local is None:
            raise NegotiationError("there is no session to offer again")
        media = tuple(
            section if section.rejected else replace(section, direction=self.direction, port=self._port(index, section))
            for index, section in enumerate(self._local.media)
        )
        self._version += 1
        origin = replace(self._local.origin, version=str(self._version))
        proposal.local = replace(self._local, origin=origin, media=media)
        return serialize(proposal.local).encode()

    def accept_answer(self, body: bytes, *, final: bool = True) -> None:
        """Takes the answer to our offer. Raises SdpError and NegotiationError.

        With `final` False it is one of an early dialog, and the next takes its place.
        """
        proposal = self._proposal
        if proposal is None or proposal.local is None or proposal.agreed is not None:
            raise NegotiationError("an answer came before any offer")
        remote = parse(body.decode("utf-8", "replace"))
        agreed = negotiate(proposal.local, remote, we_offered=True)
        if final:
            self._proposal = None
        self._put_into_force(proposal, agreed, remote)

    def expect(self) -> None:
        """The call is answered: a phone that sent nothing before has as long as any other from now on."""
        for line in self._lines.values():
            line.expect(self._engine)

    def _offered(self, kind: LineKind, wanted: Codecs, payload_types: PayloadTypes) -> tuple[Codec, ...]:
        if kind == "text":
            return text_codecs(payload_types) if self.offers_text else ()
        return offerable(wanted.get(kind, ()), payload_types, feedback=FEEDBACK if kind == "video" else ())

    def _described(self, sections: list[LocalMedia | MediaDescription]) -> SessionDescription:
        ours = [section for section in sections if isinstance(section, LocalMedia)]
        self._version += 1
        offer = make_offer(
            ours, session_id=self._session_id, version=self._version, address=self._settings.announced_ip
        )
        if len(ours) == len(sections):
            return offer
        made = iter(offer.media)
        media = tuple(next(made) if isinstance(each, LocalMedia) else refusal(each) for each in sections)
        return replace(offer, media=media)

    # -- answers ---------------------------------------------------------------------------------------------------

    async def answer(
        self, offer: SessionDescription, wanted: Codecs, *, srtp_required: bool, srtp_allowed: bool
    ) -> bytes:
        """Our answer to an offer, the first or a later one, with the codecs of `wanted` that it holds.

        They stand in the order of `wanted`, those in use first. Raises NegotiationError when nothing can be taken;
        nothing has changed then.
        """
        proposal = self._propose()
        stranger = self._remote is not None and offer.origin.session_id != self._remote.origin.session_id
        media: dict[int, LocalMedia] = {}
        taken: dict[int, Line] = {}
        for kind in _LINE_KINDS:
            # Some phones offer the same sound twice, encrypted and plain.
            secure = True if srtp_required else None if srtp_allowed else False
            index, line = self._place(offer, kind, secure=secure)
            if index is None or not self._may_answer(kind, wanted):
                continue
            section = offer.media[index]
            if line is None:
                line = await self._open(proposal, kind)
            fingerprint = self._settings.fingerprint if srtp_allowed and wants_dtls(section) else None
            srtp = srtp_allowed and fingerprint is None and (srtp_required or bool(section.cryptos))
            taken[index] = proposal.lines[index] = line
            proposal.keys[index] = () if not srtp else _new_keys() if stranger or not line.crypto else line.crypto
            media[index] = self._local_media(
                proposal,
                index,
                _answerable(kind, wanted, line.agreed),
                crypto_required=srtp_required,
                rtcp_mux=section.rtcp_mux,
                dtls=line.local_dtls(fingerprint, section) if fingerprint else None,
            )
        # A line that moved to another place leaves its old one.
        proposal.lines = {i: line for i, line in proposal.lines.items() if line not in taken.values()} | taken
        try:
            local = make_answer(
                offer,
                media,
                session_id=self._session_id,
                version=self._version + 1,
                address=self._settings.announced_ip,
            )
            proposal.agreed = negotiate(local, offer, we_offered=False)
        except NegotiationError:
            self.drop()
            raise
        self._version += 1
        proposal.local, proposal.remote = local, offer
        return serialize(local).encode()

    def _may_answer(self, kind: LineKind, wanted: Codecs) -> bool:
        return self.takes_text if kind == "text" else bool(wanted.get(kind))

    def commit(self) -> None:
        """The answer that was proposed last is on its way: it is in force."""
        proposal = self._proposal
        if proposal is None or proposal.agreed is None or proposal.remote is None:
            raise NegotiationError("there is no answer to put into force")
        self._proposal = None
        self._put_into_force(proposal, proposal.agreed, proposal.remote)

    def _place(
        self, offer: SessionDescription, kind: LineKind, *, secure: bool | None
    ) -> tuple[int | None, Line | None]:
        """Where an offer has the line of a kind: in its old place, else the first that is live and fits."""
        for index, line in self._lines.items():
            if line.kind == kind and index < len(offer.media):
                section = offer.media[index]
                if section.kind == kind and not section.rejected:
                    return index, line
        first = first_of_kind(offer, kind, secure=secure)
        return first_of_kind(offer, kind) if first is None else first, self._line_of(kind)

    # -- proposals -------------------------------------------------------------------------------------------------

    def drop(self) -> None:
        """Forgets what was proposed and gives back the ports that were opened for it."""
        proposal, self._proposal = self._proposal, None
        if proposal is not None:
            self._close(proposal.opened)

    def close(self) -> None:
        """Closes every port and forgets the listener. Calling it again does nothing."""
        self._closed = True
        self.drop()
        for unsubscribe in self._unsubscribe:
            unsubscribe()
        self._unsubscribe.clear()
        self._close(list(self._lines.values()))
        self._lines.clear()
        self._note_agreed()
        self.bandwidth = _no_lines
        self.on_moved = None
        if self._settings.at_edge is not None:
            self._settings.at_edge.on_moved = None
        self._on_event = _nobody  # the leg holds its media: two that hold each other wait for the collector

    def _propose(self) -> Proposal:
        self.drop()
        self._proposal = Proposal(dict(self._lines))
        return self._proposal

    def _put_into_force(
        self, proposal: Proposal, agreed: tuple[NegotiatedMedia, ...], remote: SessionDescription
    ) -> None:
        kept = set(map(id, proposal.lines.values()))
        self._close([line for line in self._lines.values() if id(line) not in kept])
        self._local, self._remote, self._lines = proposal.local, remote, dict(proposal.lines)
        proposal.opened.clear()
        by_index = {media.index: media for media in agreed}
        for index, line in self._lines.items():
            line.crypto = proposal.keys.get(index, line.crypto)
            if self._local is not None:
                line.remember(self._local.media[index].codecs if index < len(self._local.media) else ())
            media = by_index.get(index)
            if media is None or self._local is None:
                line.silence()
            elif isinstance(line, TextLine):
                line.apply(media, self._local.media[index], remote.media[index], engine=self._engine, cname=self._cname)
            else:
                line.apply(media, engine=self._engine, cname=self._cname, watch=self._watch)
        self._note_agreed()

    async def _open(self, proposal: Proposal, kind: LineKind) -> Line:
        rtp = await self._engine.open_rtp_transport(
            self._settings.bind_ip,
            latching_ms=self._settings.latching_ms,
            # Nobody types all the time.
            timeout_ms=0 if kind == "text" else self._settings.timeout_ms,
            at_edge=self._settings.at_edge.open if self._settings.at_edge is not None else None,
        )
        if self._closed or self._proposal is not proposal:
            self._engine.close_transport(rtp.id)
            raise NegotiationError("the call was over before its ports were open")
        line: Line
        at_edge, latching_ms = self._settings.at_edge, self._settings.latching_ms
        if kind == "text":
            line = TextLine(rtp=rtp, at_edge=at_edge, latching_ms=latching_ms)
        else:
            line = SipLine(kind=kind, rtp=rtp, at_edge=at_edge, latching_ms=latching_ms)
            self._watch(rtp.id, kind)
        proposal.opened.append(line)
        return line

    def _port(self, index: int, section: LocalMedia | MediaDescription) -> int:
        line = self._lines.get(index)
        return section.port if line is None else line.rtp.rtp_port

    def _move(self, transport: int, rtp_port: int, rtcp_port: int) -> None:
        """A pair at the Edge is another one from now on."""
        opened = self._proposal.opened if self._proposal is not None else ()
        for line in (*self._lines.values(), *opened):
            if line.rtp.id == transport:
                line.rtp = replace(line.rtp, rtp_port=rtp_port, rtcp_port=rtcp_port)
        if self.on_moved is not None:
            self.on_moved()

    def _close(self, lines: list[Line]) -> None:
        for line in lines:
            self._engine.close_transport(line.rtp.id)

    def _watch(self, object_id: int, kind: Kind) -> None:
        self._unsubscribe.append(self._engine.subscribe_events(object_id, lambda event: self._on_event(kind, event)))

    def _local_media(
        self,
        proposal: Proposal,
        index: int,
        codecs: tuple[Codec, ...],
        *,
        dtls: LocalDtls | None,
        rtcp_mux: bool,
        crypto_required: bool = True,
    ) -> LocalMedia:
        line = proposal.lines[index]
        # The codecs may be a browser's, with what that takes.
        pictures = line.kind == "video"
        codecs = tuple(codec.with_feedback(FEEDBACK if pictures and is_media(codec) else ()) for codec in codecs)
        return LocalMedia(
            kind=line.kind,
            address=self._settings.announced_ip,
            port=line.rtp.rtp_port,
            rtcp_port=line.rtp.rtcp_port,
            codecs=codecs,
            direction=self.direction,
            crypto=proposal.keys.get(index, line.crypto),
            crypto_required=crypto_required,
            dtls=dtls,
            rtcp_mux=rtcp_mux,
            bandwidth=() if line.kind == "text" else self.bandwidth(line.kind),
        )

    @property
    def _certificate(self) -> Fingerprint | None:
        """What our offers promise for DTLS, where the phone and we speak it, or are to."""
        agreed = self.agreed.values()
        by_dtls = any(media.dtls for media in agreed)
        by_sdes = any(media.local_crypto for media in agreed)
        wanted = by_dtls or (self._settings.srtp_keys == "dtls" and not by_sdes)
        return self._settings.fingerprint if wanted else None


def _new_keys() -> tuple[Crypto, ...]:
    return make_cryptos(secrets.token_bytes)


def _answerable(kind: LineKind, wanted: Codecs, agreed: NegotiatedMedia | None) -> tuple[Codec, ...]:
    if kind == "text":
        return text_codecs(PayloadTypes())
    codecs = _in_use_first(wanted[kind], agreed)
    return (*codecs, *own_events(codecs))


def _in_use_first(wanted: Sequence[Codec], agreed: NegotiatedMedia | None) -> tuple[Codec, ...]:
    """`wanted`, with what is spoken now before the rest and as we last described it."""
    spoken = agreed.receive if agreed is not None else ()
    kept = [codec for codec in spoken if any(matches(codec, each) for each in wanted)]
    return (*kept, *(codec for codec in wanted if not any(matches(codec, each) for each in kept)))


def _no_lines(kind: Kind) -> tuple[Bandwidth, ...]:
    """Bounds nothing."""
    return ()


def _nobody(kind: Kind, event: AnyEvent) -> None:
    """Hears what comes after `close`."""
