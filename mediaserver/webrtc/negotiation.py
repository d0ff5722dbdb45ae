"""Offer and answer with one browser (RFC 9429, seen from an ICE-lite server): what is agreed, and what changed.

One `Negotiation` lives as long as the browser's peer connection. Everything is bundled on one transport; sections
keep their place for ever (RFC 3264 §8). The server is the impolite side: an offer that crosses ours is refused with
GlareError and the browser rolls back. WHIP publishers and WHEP viewers are the same thing with another MediaPolicy.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Literal

from mediaserver.errors import LocalProtocolError, NegotiationError, RemoteProtocolError
from mediaserver.sdp.codecs import is_media
from mediaserver.sdp.data import data_parameters
from mediaserver.sdp.description import Codec, Direction, Extension, MediaDescription, SessionDescription
from mediaserver.sdp.parser import parse
from mediaserver.sdp.serializer import serialize
from mediaserver.webrtc.agreed import Agreed, answered_section, difference, named_extensions, nothing_code
from mediaserver.webrtc.choice import (
    answering_role,
    fitting_extensions,
    media_ssrcs,
    narrowed,
    offering_role,
    remote_end,
    repairing_ssrcs,
    simulcast_rids,
    usable_codecs,
    usable_extensions,
)
from mediaserver.webrtc.lines import Setup, describe, new_section_codecs, new_section_extensions
from mediaserver.webrtc.section import (
    Changes,
    GlareError,
    LocalIceParams,
    MediaPolicy,
    RemoteTransport,
    Section,
)

__all__ = ["Changes", "GlareError", "LocalIceParams", "MediaPolicy", "Negotiation", "RemoteTransport", "Section"]


class Negotiation:
    """The server's side of one peer connection.

    `local` is the engine's transport and may be replaced after an ICE restart, `policy` what may be used and may be
    replaced at any time. `cname` names us in RTCP and in our streams. `random_u32` gives SSRCs and the session id;
    the default is the system's generator.
    """

    def __init__(
        self,
        local: LocalIceParams,
        policy: MediaPolicy,
        *,
        cname: str,
        random_u32: Callable[[], int] = lambda: secrets.randbits(32),
    ) -> None:
        self.local = local
        self.policy = policy
        self._cname = cname
        self._random_u32 = random_u32
        self._session_id = (random_u32() << 31 | random_u32()) & (2**62 - 1)
        self._version = 0
        self._agreed = Agreed()
        self._before: Agreed | None = None
        self._answered_ufrag = local.ufrag
        self.state: Literal["stable", "have-local-offer", "have-remote-offer"] = "stable"

    @property
    def sections(self) -> tuple[Section, ...]:
        """The sections, in order; while our offer is pending, as they will be if the browser takes all of it."""
        return self._agreed.sections

    @property
    def transport(self) -> RemoteTransport | None:
        """The browser's transport; None before its first description."""
        return self._agreed.transport

    @property
    def extensions(self) -> tuple[Extension, ...]:
        """The header extensions of the transport, over all live sections, ordered by id."""
        found = {extension.id: extension for section in self._live() for extension in section.extensions}
        return tuple(found[number] for number in sorted(found))

    @property
    def reduced_size(self) -> bool:
        """Whether feedback needs no report before it. Sections of one transport are to agree on it (RFC 8859, IDENTICAL);
        Firefox says it of pictures alone."""
        pictures = [section for section in self._live() if section.kind == "video"]
        return all(section.reduced_size for section in pictures or self._live() if section.data is None)

    def section(self, mid: str) -> Section:
        """The section with this mid. Raises KeyError."""
        for section in self.sections:
            if section.mid == mid:
                return section
        raise KeyError(mid)

    def of_kind(self, kind: str) -> Section | None:
        """The first live section of a kind."""
        return next((section for section in self._live() if section.kind == kind), None)

    # The browser offers -----------------------------------------------------------------------------------------------

    def handle_offer(self, sdp: str | SessionDescription) -> Changes:
        """Take the browser's offer, as text or parsed; `sections` and `transport` are then as the answer will say.

        Sections whose kind or codecs the policy does not allow are refused, one by one. Raises GlareError while our
        own offer is pending, SdpError for a broken description, NegotiationError if nothing can be taken or the
        transport cannot be used, RemoteProtocolError if sections vanished. Nothing changes when it raises.
        """
        if self.state == "have-local-offer":
            raise GlareError("An offer of the server is pending; answer it first (the browser rolls back).", status=409)
        if self.state == "have-remote-offer":
            raise RemoteProtocolError("The offer before this one is not answered yet.", status=409)
        offer = parse(sdp) if isinstance(sdp, str) else sdp
        before = self._agreed
        after = self._take_offer(offer, before)
        changes = difference(before, after)
        self._agreed, self._before = after, before
        self.state = "have-remote-offer"
        return changes

    def create_answer(
        self,
        *,
        directions: Mapping[str, Direction] | None = None,
        prefer: Mapping[str, Sequence[Codec]] | None = None,
    ) -> str:
        """Answer the offer handled last; `prefer` puts codecs first, by kind or mid, and keeps the others behind them.

        `directions` says per mid what we would like, seen from us, from now on; the offer and the policy limit it.
        Without a word, a section keeps what was wanted before, at first all that the policy allows.
        Raises LocalProtocolError without an offer, or after an ICE restart if `local` still has the old credentials
        (RFC 8839 §4.4.1.1.1); NegotiationError (305) where the browser has none of the codecs preferred.
        """
        transport = self.transport
        if self.state != "have-remote-offer" or transport is None:
            raise LocalProtocolError("There is no offer to answer.")
        if transport.ice_restart and self.local.ufrag == self._answered_ufrag:
            raise LocalProtocolError("The browser restarted ICE: set new local credentials before answering.")
        self._want(directions or {})
        self._narrow(prefer or {}, narrow=False)
        self._agreed = replace(
            self._agreed,
            sections=tuple(
                replace(section, direction=self._answer_direction(section)) for section in self._agreed.sections
            ),
        )
        setup: Setup = "passive" if transport.dtls_role == "server" else "active"
        return self._commit_text(setup)

    # We offer ---------------------------------------------------------------------------------------------------------

    def create_offer(
        self,
        *,
        prefer: Mapping[str, Sequence[Codec]] | None = None,
        directions: Mapping[str, Direction] | None = None,
        add: Sequence[str] = (),
        add_sending: Sequence[str] = (),
        narrow: bool = True,
    ) -> str:
        """Offer the browser the same sections again, changed as asked.

        `prefer` maps a kind, or a mid, to the codecs wanted, first choice first; they are matched against what the
        browser can do and keep its payload types. With `narrow` the others are left out until the next `prefer`,
        also when the browser itself offers again. `directions` is per mid, seen from us. `add` appends a section per
        kind, or puts it into the place of a stopped one (RFC 8829 §5.2.2); on those of `add_sending` we only send.
        Raises LocalProtocolError unless stable, NegotiationError (305) if the browser has none of the codecs wanted.
        """
        if self.state != "stable":
            raise LocalProtocolError(f"An offer cannot be made while {self.state}.")
        before = self._agreed
        try:
            self._narrow(prefer or {}, narrow=narrow)
            self._want(directions or {})
            self._agreed = replace(
                self._agreed,
                sections=tuple(replace(section, direction=self._offer_direction(section)) for section in self.sections),
            )
            for kind in add:
                self._add(kind)
            for kind in add_sending:
                self._want({self._add(kind, Direction.SENDONLY): Direction.SENDONLY})
            if not self._live():
                raise LocalProtocolError("An offer without any media makes no sense.")
        except Exception:
            self._agreed = before
            raise
        text = self._text("actpass")
        self._before = before
        self.state = "have-local-offer"
        return text

    def handle_answer(self, sdp: str | SessionDescription) -> Changes:
        """Take the browser's answer to our offer, as text or parsed.

        Raises RemoteProtocolError without an offer of ours or if the sections differ from it, SdpError for a broken
        description, NegotiationError if a section has no codec of the offer. When it raises our offer stays pending:
        `rollback` gives it up.
        """
        if self.state != "have-local-offer" or self._before is None:
            raise RemoteProtocolError("There is no offer to answer.", status=409)
        answer = parse(sdp) if isinstance(sdp, str) else sdp
        after = self._take_answer(answer, self._agreed)
        changes = difference(self._before, after)
        self._agreed, self._before = after, None
        self._answered_ufrag = self.local.ufrag
        self.state = "stable"
        return changes

    def rollback(self) -> None:
        """Forget the pending offer, ours or the browser's; everything is as it was before it."""
        if self._before is not None:
            self._agreed, self._before = self._before, None
        self.state = "stable"

    def restart_ice(self, ufrag: str, pwd: str) -> RemoteTransport:
        """Take new credentials of the browser from a fragment (RFC 9725 §4.3.3), without a description.

        Set new credentials of our own as `local` first, for the fragment that answers (`sdpfrag.restart_answer`).
        Raises LocalProtocolError before the first description.
        """
        if self.transport is None:
            raise LocalProtocolError("ICE cannot restart before it began.")
        transport = replace(self.transport, ufrag=ufrag, pwd=pwd, ice_restart=True)
        self._agreed = replace(self._agreed, transport=transport)
        self._answered_ufrag = self.local.ufrag
        return transport

    # Inside -----------------------------------------------------------------------------------------------------------

    def _live(self) -> list[Section]:
        return [section for section in self._agreed.sections if not section.rejected]

    def _take_offer(self, offer: SessionDescription, before: Agreed) -> Agreed:
        if len(offer.media) < len(before.sections):
            raise RemoteProtocolError(
                f"The offer has {len(offer.media)} media sections, {len(before.sections)} are known.", status=400
            )
        end = remote_end(offer)
        if end is None:
            raise NegotiationError("The offer has no media.", warning_code=304)
        transport = end.transport(answering_role(end.setup, before.transport, end.fingerprints), before.transport)
        extensions = usable_extensions(offer.media)
        used = self._used_ssrcs() | {ssrc.id for media in offer.media for ssrc in media.ssrcs}
        sections: list[Section] = []
        for index, media in enumerate(offer.media):
            known = before.sections[index] if index < len(before.sections) else None
            section = self._offered_section(index, media, known, extensions[index], used)
            usable = index in end.indices and (section.data if not media.is_rtp else section.receive)
            full = sum(not s.rejected and s.kind == media.kind for s in sections) >= self._most(media.kind)
            if not usable or full or media.rejected:
                section = replace(section, rejected=True, direction=Direction.INACTIVE, extensions=())
            sections.append(section)
        if all(section.rejected for section in sections):
            raise NegotiationError(self._nothing_common(offer), warning_code=nothing_code(offer))
        return replace(
            before,
            sections=tuple(sections),
            transport=transport,
            payload_types=before.payload_types | {codec.pt for media in offer.media for codec in media.codecs},
            extension_ids={**before.extension_ids, **named_extensions(offer.media)},
            allow_mixed=offer.extmap_allow_mixed or any(media.extmap_allow_mixed for media in offer.media),
            bundle=bool(offer.bundled),
        )

    def _offered_section(
        self,
        index: int,
        media: MediaDescription,
        known: Section | None,
        extensions: tuple[Extension, ...],
        used_ssrcs: set[int],
    ) -> Section:
        mid = media.mid if media.mid is not None else str(index)
        same = known if known is not None and known.mid == mid and known.kind == media.kind else None
        fresh = same is None or same.rejected
        capable = usable_codecs(media, self.policy)
        narrow_to = self._agreed.narrowed_to.get(mid, ()) if same is not None else ()
        codecs = narrowed(capable, narrow_to) or capable
        sends = media.direction.sends and self.policy.direction(media.kind).receives
        extensions = fitting_extensions(extensions, codecs, sends)
        section = Section(
            index=index,
            mid=mid,
            kind=media.kind,
            send=codecs,
            receive=codecs,
            capable=capable,
            remote_direction=media.direction,
            remote_ssrcs=media_ssrcs(media),
            remote_msid=media.msid,
            remote_rids=simulcast_rids(media, extensions, self.policy),
            remote_repairs=repairing_ssrcs(media),
            local_ssrc=self._new_ssrc(used_ssrcs) if fresh or same is None else same.local_ssrc,
            local_repair_ssrc=self._repair_ssrc(media.kind, used_ssrcs)
            if fresh or same is None
            else same.local_repair_ssrc,
            msid=f"{self._cname} {self._cname}-{mid}",
            reduced_size=media.rtcp_rsize,
            extensions=extensions,
            protocol=media.protocol,
            formats=media.formats,
            named=media.mid is not None,
            data=data_parameters(media) if self.policy.data else None,
        )
        return replace(section, direction=self._answer_direction(section))

    def _take_answer(self, answer: SessionDescription, offered: Agreed) -> Agreed:
        if len(answer.media) != len(offered.sections):
            raise RemoteProtocolError(
                f"The answer has {len(answer.media)} media sections, the offer {len(offered.sections)}.", status=400
            )
        end = remote_end(answer)
        transport = offered.transport
        if end is not None:
            role = offering_role(end.setup)
            transport = end.transport(role, offered.transport)
        extensions = usable_extensions(answer.media)
        sections = []
        for section, media, taken in zip(offered.sections, answer.media, extensions, strict=True):
            if media.mid is not None and section.named and media.mid != section.mid:
                raise RemoteProtocolError(f"The answer says mid {media.mid} where we said {section.mid}.", status=400)
            if media.kind != section.kind:
                raise RemoteProtocolError(f"The answer says {media.kind} where we said {section.kind}.", status=400)
            if section.rejected or media.rejected or end is None or section.index not in end.indices:
                sections.append(replace(section, rejected=True, direction=Direction.INACTIVE, extensions=()))
                continue
            if section.data is not None:
                sections.append(replace(section, data=data_parameters(media) or section.data))
                continue
            sections.append(answered_section(section, media, taken))
        if all(section.rejected for section in sections):
            raise NegotiationError("The browser refused every media section.", warning_code=304)
        return replace(
            offered,
            sections=tuple(sections),
            transport=transport,
            payload_types=offered.payload_types | {codec.pt for media in answer.media for codec in media.codecs},
            extension_ids={**offered.extension_ids, **named_extensions(answer.media)},
        )

    def _want(self, directions: Mapping[str, Direction]) -> None:
        for mid in directions:
            if all(section.mid != mid for section in self.sections):
                raise LocalProtocolError(f"There is no section with mid {mid}.")
        self._agreed = replace(self._agreed, wanted={**self._agreed.wanted, **directions})

    def _offer_direction(self, section: Section) -> Direction:
        if section.rejected:
            return Direction.INACTIVE
        allowed = self.policy.direction(section.kind)
        return self._agreed.wanted.get(section.mid, allowed).limited_to(allowed)

    def _answer_direction(self, section: Section) -> Direction:
        return self._offer_direction(section).answering(section.remote_direction)

    def _narrow(self, prefer: Mapping[str, Sequence[Codec]], *, narrow: bool) -> None:
        sections = []
        remembered = dict(self._agreed.narrowed_to)
        for section in self.sections:
            wanted = prefer.get(section.mid, prefer.get(section.kind))
            if wanted is None or section.rejected:
                sections.append(section)
                continue
            codecs = narrowed(section.capable, wanted, rest=not narrow)
            if not codecs:
                names = ", ".join(str(codec) for codec in wanted) or "nothing"
                has = ", ".join(str(codec) for codec in section.capable if is_media(codec)) or "nothing"
                raise NegotiationError(
                    f"The browser cannot do what is wanted for {section.kind}: {names}; it has {has}.", warning_code=305
                )
            remembered[section.mid] = codecs
            sections.append(replace(section, send=codecs, receive=codecs))
        self._agreed = replace(self._agreed, sections=tuple(sections), narrowed_to=remembered)

    def _add(self, kind: str, most: Direction = Direction.SENDRECV) -> str:
        """Its mid."""
        sections = list(self.sections)
        codecs = new_section_codecs(kind, self.policy, sections, self._agreed.payload_types)
        if not codecs:
            raise NegotiationError(f"The policy allows no codec for {kind}.", warning_code=304)
        free = next((section.index for section in sections if section.rejected and section.kind == kind), len(sections))
        mids = {section.mid for section in sections}
        mid = next(f"s{number}" for number in range(len(sections) + 1) if f"s{number}" not in mids)
        used = self._used_ssrcs()
        direction = most.limited_to(self.policy.direction(kind))
        extensions = new_section_extensions(kind, self._agreed.extension_ids)
        section = Section(
            index=free,
            mid=mid,
            kind=kind,
            direction=direction,
            send=codecs,
            receive=codecs,
            capable=codecs,
            local_ssrc=self._new_ssrc(used),
            local_repair_ssrc=self._repair_ssrc(kind, used),
            msid=f"{self._cname} {self._cname}-{mid}",
            reduced_size=True,
            extensions=fitting_extensions(extensions, codecs, direction.receives),
            formats=tuple(str(codec.pt) for codec in codecs),
        )
        sections[free : free + 1] = [section]
        self._agreed = replace(
            self._agreed,
            sections=tuple(sections),
            payload_types=self._agreed.payload_types | {codec.pt for codec in codecs},
            extension_ids={
                **self._agreed.extension_ids,
                **{extension.id: extension.uri for extension in section.extensions},
            },
        )
        return mid

    def _most(self, kind: str) -> int:
        return 1 if kind == "application" else self.policy.sections.get(kind, 0)

    def _used_ssrcs(self) -> set[int]:
        return {
            ssrc
            for section in self.sections
            for ssrc in (
                section.local_ssrc,
                section.local_repair_ssrc,
                *section.remote_ssrcs,
                *section.remote_repairs.values(),
            )
        }

    def _new_ssrc(self, used: set[int]) -> int:
        # RFC 3550 §8.1: not one that is in use on this transport already; `used` grows by it.
        while (ssrc := self._random_u32() & 0xFFFFFFFF) in used or not ssrc:
            pass
        used.add(ssrc)
        return ssrc

    def _repair_ssrc(self, kind: str, used: set[int]) -> int:
        return self._new_ssrc(used) if kind == "video" else 0

    def _nothing_common(self, offer: SessionDescription) -> str:
        parts = []
        for media in offer.media:
            named = ", ".join(dict.fromkeys(str(codec) for codec in media.codecs if is_media(codec)))
            allowed = ", ".join(self.policy.codecs(media.kind)) or "nothing"
            parts.append(f"{media.kind} offers {named or 'nothing known'}, allowed is {allowed}")
        return f"Nothing of the offer can be taken: {'; '.join(parts[:8])}."

    def _text(self, setup: Setup) -> str:
        self._version += 1
        return serialize(
            describe(
                self.sections,
                local=self.local,
                setup=setup,
                cname=self._cname,
                session_id=self._session_id,
                version=self._version,
                allow_mixed=self._agreed.allow_mixed,
                bundle=self._agreed.bundle or len(self._live()) > 1,
                bandwidth=self.policy.bandwidth,
            )
        )

    def _commit_text(self, setup: Setup) -> str:
        text = self._text(setup)
        self._before = None
        self._answered_ufrag = self.local.ufrag
        self.state = "stable"
        return text
