"""One RTCPeerConnection on the engine: negotiation, transport and tracks, without any opinion about signalling."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from typing import Final

from mediaserver.call.leg import LegMedia
from mediaserver.core.data import DataChannels
from mediaserver.core.down_track import DownTrack
from mediaserver.core.transport_limits import TransportLimits
from mediaserver.core.up_track import Gate, UpTrack
from mediaserver.engine.commands import Extension, Fingerprint, Kind, SetExtensions, SetIceRemote
from mediaserver.engine.engine import Engine, LocalIce
from mediaserver.engine.events import AnyEvent, TransportConnected
from mediaserver.errors import LocalProtocolError
from mediaserver.sdp.data import LOCAL_PORT
from mediaserver.sdp.description import Codec, Direction, SessionDescription
from mediaserver.sdp.description import Fingerprint as SdpFingerprint
from mediaserver.webrtc.negotiation import Negotiation
from mediaserver.webrtc.sdpfrag import Fragment, restart_answer
from mediaserver.webrtc.section import LocalIceParams, MediaPolicy, Section

CONNECT_TIMEOUT_S: Final = 30.0
"""A browser that has not connected by then has no way to us; as long as consent lasts (RFC 7675 §5.1)."""

_KINDS: Mapping[str, Kind] = {"audio": "audio", "video": "video"}


class WebRtcPeer:
    """Takes and makes session descriptions and keeps the engine in step with them.

    `closed_gates` are the gates with which an up track of each kind starts. With `as_agreed` a section that the browser
    does not send on has no up track, else it has one from the beginning. `on_event` gets the engine's events about
    the transport (kind None) and the up tracks; `on_unreachable` is called when the browser never connects.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        fingerprint: SdpFingerprint,
        policy: MediaPolicy,
        cname: str,
        closed_gates: Mapping[Kind, Sequence[Gate]],
        on_event: Callable[[Kind | None, AnyEvent], None],
        on_unreachable: Callable[[], None],
        as_agreed: bool = False,
    ) -> None:
        self._engine = engine
        self._fingerprint = fingerprint
        self._policy = policy
        self._cname = cname
        self._closed_gates = closed_gates
        self._on_event = on_event
        self._on_unreachable = on_unreachable
        self._as_agreed = as_agreed
        self._deadline: asyncio.TimerHandle | None = None
        self._awaited = False
        """Whether the browser has been given its time to connect."""
        self._transport: int | None = None
        self._negotiation: Negotiation | None = None
        self._answer: Negotiation | None = None
        """With an answer that is not in force."""
        self._early: Negotiation | None = None
        """With an answer that another may take the place of."""
        self._tracks: dict[str, LegMedia] = {}
        self.data: DataChannels | None = None
        """The data channels, once a description has agreed on them."""
        self._unsubscribe: list[Callable[[], None]] = []
        self._closed = False
        self._limits = TransportLimits(engine)

    @property
    def transports(self) -> tuple[int, ...]:
        """The one engine transport, once an offer was taken."""
        return () if self._transport is None else (self._transport,)

    @property
    def sections(self) -> tuple[Section, ...]:
        """The media sections as agreed."""
        negotiation = self._early or self._negotiation
        return negotiation.sections if negotiation else ()

    def section(self, kind: Kind) -> Section | None:
        """The section that carries `kind`, if there is one."""
        return next((section for section in self.sections if section.kind == kind and not section.rejected), None)

    @property
    def media(self) -> dict[Kind, LegMedia]:
        """Tracks by kind."""
        return {
            _KINDS[section.kind]: self._tracks[section.mid]
            for section in reversed(self.sections)
            if section.mid in self._tracks
        }

    @property
    def tracks(self) -> Mapping[str, LegMedia]:
        """Tracks by the mid of their section."""
        return self._tracks

    def places(self, kind: Kind) -> tuple[DownTrack, ...]:
        """What goes to the browser in its sections of a kind after the first one."""
        mids = [section.mid for section in self.sections if section.kind == kind and not section.rejected][1:]
        downs = (self._tracks[mid].down for mid in mids if mid in self._tracks)
        return tuple(down for down in downs if down is not None)

    @property
    def policy(self) -> MediaPolicy:
        """What may be used."""
        return self._policy

    def limit(self, *, send_bps: int | None, receive_bps: int | None) -> None:
        """Bounds all media of the connection together, in bits per second above UDP; None is no bound."""
        if self._transport is not None and not self._closed:
            self._limits.set(self._transport, send_bps=send_bps, receive_bps=receive_bps)

    def use(self, policy: MediaPolicy) -> None:
        """What may be used from the next description on."""
        self._policy = policy
        if self._negotiation is not None:
            self._negotiation.policy = policy

    async def open(self) -> None:
        """Opens the transport, so that the first offer can be ours."""
        if self._negotiation is None:
            await self._open()

    async def accept_offer(
        self, sdp: str, *, directions: Callable[[tuple[Section, ...]], Mapping[str, Direction]] | None = None
    ) -> str:
        """Takes the browser's offer and returns our answer; `directions` says what we would like, seen from us, by mid.

        Raises SdpError, NegotiationError, GlareError (our own offer is unanswered), LimitExceeded.
        """
        answer = await self.propose_answer(sdp, directions=directions)
        self.commit()
        return answer

    async def propose_answer(
        self,
        sdp: str | SessionDescription,
        *,
        directions: Callable[[tuple[Section, ...]], Mapping[str, Direction]] | None = None,
        prefer: Mapping[str, tuple[Codec, ...]] | None = None,
    ) -> str:
        """The same answer, in force with `commit` or forgotten by `roll_back`; `prefer` puts codecs first."""
        known = self._negotiation or await self._open()
        self._expect()
        negotiation = copy(known)
        changes = negotiation.handle_offer(sdp)
        if changes.ice_restart:
            known.local = negotiation.local = self._local_params(await self._engine.restart_ice(self._opened()))
        answer = negotiation.create_answer(
            directions=directions(negotiation.sections) if directions else None, prefer=prefer
        )
        self._answer = negotiation
        return answer

    def commit(self) -> None:
        """The answer that was proposed last is on its way."""
        if self._answer is None:
            raise LocalProtocolError("there is no answer to put into force")
        self._negotiation, self._answer = self._answer, None
        self._negotiation.policy = self._policy
        self._apply(self._negotiation)

    def make_offer(
        self,
        *,
        prefer: Mapping[str, tuple[Codec, ...]] | None = None,
        directions: Mapping[str, Direction] | None = None,
        add: Sequence[str] = (),
        add_sending: Sequence[str] = (),
    ) -> str:
        """Our offer over the same transport; `prefer` puts codecs first and keeps the others behind them,

        `directions` (ours) go by mid, `add` appends a section for each kind, `add_sending` one on which we only send.
        """
        if self._negotiation is None:
            raise LocalProtocolError("the transport is not open")
        return self._negotiation.create_offer(
            prefer=prefer or {}, directions=directions or {}, add=add, add_sending=add_sending, narrow=False
        )

    def accept_answer(self, sdp: str | SessionDescription, *, final: bool = True) -> None:
        """Takes the browser's answer to our offer. With `final` False the next one takes its place.

        Raises SdpError, NegotiationError.
        """
        if self._negotiation is None:
            raise LocalProtocolError("an answer came before any offer")
        negotiation = copy(self._negotiation)
        negotiation.handle_answer(sdp)
        self._expect()
        self._early = None if final else negotiation
        if final:
            self._negotiation = negotiation
        self._apply(negotiation)

    async def restart_ice(self, fragment: Fragment) -> str | None:
        """Takes a trickled fragment; returns the fragment to answer with when it restarts ICE (RFC 9725 §4.3.3).

        Plain candidates are ignored: a lite agent sends no checks of its own accord (RFC 8445 §2.7).
        """
        negotiation = self._negotiation
        known = negotiation.transport if negotiation is not None else None
        if negotiation is None or known is None:
            raise LocalProtocolError("a fragment came before any offer")
        if fragment.ufrag is None or fragment.pwd is None or not fragment.restarts(known.ufrag, known.pwd):
            return None
        negotiation.local = self._local_params(await self._engine.restart_ice(self._opened()))
        negotiation.restart_ice(fragment.ufrag, fragment.pwd)
        self._apply(negotiation)
        return restart_answer(fragment, negotiation.local)

    def roll_back(self) -> None:
        """Takes back our unanswered offer, or our answer that was not put into force; what is in force stays."""
        self._answer = None
        if self._early is not None:
            self._negotiation, self._early = self._early, None
        elif self._negotiation is not None:
            self._negotiation.rollback()

    def close(self) -> None:
        """Closes the transport with all tracks. Calling it again does nothing."""
        if self._closed:
            return
        self._closed = True
        self._cancel_deadline()
        for unsubscribe in self._unsubscribe:
            unsubscribe()
        self._unsubscribe.clear()
        if self._transport is not None:
            self._engine.close_transport(self._transport)

    async def _open(self) -> Negotiation:
        local = await self._engine.open_ice_transport()
        if self._closed:
            self._engine.close_transport(local.id)
            raise LocalProtocolError("the leg ended while its transport was opened")
        self._transport = local.id
        self._watch(local.id, None)
        self._unsubscribe.append(self._engine.subscribe_events(local.id, self._on_transport_event))
        self._negotiation = Negotiation(local=self._local_params(local), policy=self._policy, cname=self._cname)
        return self._negotiation

    def _on_transport_event(self, event: AnyEvent) -> None:
        if isinstance(event, TransportConnected):
            self._cancel_deadline()
        elif self.data is not None:
            self.data.handle(event)

    def _expect(self) -> None:
        """The browser has what it needs to connect, from now on."""
        if not self._awaited:
            self._awaited = True
            self._deadline = asyncio.get_running_loop().call_later(CONNECT_TIMEOUT_S, self._on_unreachable)

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _opened(self) -> int:
        if self._transport is None:
            raise LocalProtocolError("the transport is not open")
        return self._transport

    def _local_params(self, local: LocalIce) -> LocalIceParams:
        return LocalIceParams(local.ufrag, local.pwd, local.addresses, self._fingerprint, local.tcp_addresses)

    def _watch(self, object_id: int, kind: Kind | None) -> None:
        self._unsubscribe.append(self._engine.subscribe_events(object_id, lambda event: self._on_event(kind, event)))

    def _apply(self, negotiation: Negotiation) -> None:
        transport, remote = self._opened(), negotiation.transport
        if remote is not None:
            self._engine.submit(
                SetIceRemote(
                    id=transport,
                    ufrag=remote.ufrag,
                    pwd=remote.pwd,
                    fingerprints=tuple(Fingerprint(algorithm=f.algorithm, value=f.value) for f in remote.fingerprints),
                    dtls_role=remote.dtls_role,
                    reduced_size=negotiation.reduced_size,
                )
            )
        extensions = {extension.id: extension.uri for extension in negotiation.extensions}
        self._engine.submit(
            SetExtensions(id=transport, extensions=tuple(Extension(id=i, uri=uri) for i, uri in extensions.items()))
        )
        live = {section.mid for section in negotiation.sections if not section.rejected}
        for mid in [mid for mid in self._tracks if mid not in live]:
            self._drop(mid)
        kinds: set[str] = set()
        for section in negotiation.sections:
            if not section.rejected and section.kind in _KINDS:
                # In a call the first of a kind has an up track whatever its direction says, so that media sent against
                # it is dropped by a gate.
                self._apply_section(transport, section, by_direction=self._as_agreed or section.kind in kinds)
                kinds.add(section.kind)
            elif not section.rejected and section.data is not None and self.data is None:
                self.data = DataChannels(self._engine, transport)
                self.data.accept(
                    remote_port=section.data.port,
                    remote_message_bytes=section.data.message_bytes,
                    local_port=LOCAL_PORT,
                )

    def _apply_section(self, transport: int, section: Section, *, by_direction: bool) -> None:
        kind = _KINDS[section.kind]
        tracks = self._tracks.setdefault(section.mid, LegMedia())
        repairs = {repair: media for media, repair in section.remote_repairs.items()}
        if section.receive and (not by_direction or section.direction.receives or tracks.up is not None):
            if tracks.up is None:
                tracks.up = UpTrack(
                    engine=self._engine,
                    transport=transport,
                    kind=kind,
                    mid=section.mid,
                    codecs=section.receive,
                    ssrcs=section.remote_ssrcs,
                    rtx_ssrcs=repairs,
                    rids=section.remote_rids,
                    closed_gates=self._closed_gates.get(kind, ()),
                )
                self._watch(tracks.up.id, kind)
            else:
                tracks.up.update(section.receive, section.remote_ssrcs, rtx_ssrcs=repairs, rids=section.remote_rids)
        if section.send and (section.direction.sends or tracks.down is not None):
            if tracks.down is None:
                tracks.down = DownTrack(
                    engine=self._engine,
                    transport=transport,
                    kind=kind,
                    mid=section.mid,
                    ssrc=section.local_ssrc,
                    rtx_ssrc=section.local_repair_ssrc or None,
                    cname=self._cname,
                    codecs=section.send,
                )
            tracks.down.update(section.send, active=section.direction.sends)

    def _drop(self, mid: str) -> None:
        tracks = self._tracks.pop(mid)
        if tracks.up is not None:
            tracks.up.remove()
        if tracks.down is not None:
            tracks.down.remove()
