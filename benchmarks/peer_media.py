"""What a load peer says in SDP about its media, and what of it the other side agreed to."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

TWCC_ID = 3
PAYLOAD_TYPE = 96
RTX_PAYLOAD_TYPE = 97
AUDIO_PAYLOAD_TYPE = 111
RIDS = ("q", "h", "f")
"""Simulcast layers, from the smallest to the largest."""
URIS = {
    "twcc": "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
    "mid": "urn:ietf:params:rtp-hdrext:sdes:mid",
    "rid": "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
    "repaired_rid": "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
}
IDS = {"twcc": TWCC_ID, "mid": 4, "rid": 5, "repaired_rid": 6}
"""Ids of header extensions in our own offers."""

_MIRRORED = {"sendrecv": "sendrecv", "sendonly": "recvonly", "recvonly": "sendonly", "inactive": "inactive"}
_FEEDBACK = re.compile(r"^a=rtcp-fb:\S+ (?:transport-cc|goog-remb|nack)$")
_DIRECTION = re.compile(r"^a=(sendrecv|sendonly|recvonly|inactive)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Source:
    """A stream that a peer sends."""

    kind: str
    rid: str
    """Empty without simulcast."""
    ssrc: int
    rtx_ssrc: int
    """0: nothing is sent again."""


@dataclass(slots=True)
class PeerMedia:
    """The media sections of one peer."""

    kinds: Sequence[str] = ("video",)
    """Of ``audio`` and ``video``, in the order of its offer."""
    sends: bool = False
    receives: bool = True
    simulcast: bool = False
    """Whether its picture is sent in three layers."""
    feedback: bool = True
    """Whether transport-wide feedback and NACKs are offered; keyframe requests always are."""
    repair: bool = False
    """Whether retransmission is."""
    sources: list[Source] = field(default_factory=list)
    extensions: dict[str, int] = field(default_factory=dict)
    """Ids that the other side agreed to, by name."""
    rtx_payload_type: int = 0
    """0: it agreed to none."""
    _mids: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for kind in self.kinds:
            for rid in RIDS if self.simulcast and kind == "video" else ("",):
                ssrc = secrets.randbelow(0x3FFFFFFF) * 2 + 2
                self.sources.append(Source(kind, rid, ssrc, ssrc + 1 if self.repair and kind == "video" else 0))

    def offer(self, transport: Callable[[str], list[str]]) -> list[str]:
        """All sections; ``transport`` gives the lines about ICE and DTLS of one, by its mid."""
        direction = {(True, True): "sendrecv", (True, False): "sendonly"}.get((self.sends, self.receives), "recvonly")
        lines = []
        for index, kind in enumerate(self.kinds):
            payload_types = [AUDIO_PAYLOAD_TYPE] if kind == "audio" else [PAYLOAD_TYPE]
            if self.repair and kind == "video":
                payload_types.append(RTX_PAYLOAD_TYPE)
            lines.append(f"m={kind} 9 UDP/TLS/RTP/SAVPF {' '.join(map(str, payload_types))}")
            lines += [*transport(str(index)), f"a={direction}", *self._codecs(kind)]
            if self.sends:
                lines += self._send_lines(kind)
        return lines

    def answer(self, offer: str, transport: Callable[[str], list[str]]) -> list[str]:
        """A section for each of an offer with everything in it; sends where it was asked and may."""
        head, *sections = _sections(offer)
        shared = _DIRECTION.search(head)
        lines = []
        for section in sections:
            kind = section[2:].split()[0]
            asked = _DIRECTION.search(section) or shared
            mirrored = _MIRRORED[asked[1] if asked else "sendrecv"]
            if not self.sends or kind not in self.kinds:
                mirrored = {"sendrecv": "recvonly", "sendonly": "inactive"}.get(mirrored, mirrored)
            kept = re.findall(
                r"^(a=(?:rtpmap|fmtp|rtcp-fb|extmap|sctp-port|max-message-size):.*)$", section, re.MULTILINE
            )
            if not self.feedback:
                kept = [line for line in kept if not _FEEDBACK.search(line) and URIS["twcc"] not in line]
            lines += [section.split("\n")[0], *transport(_mid(section)), f"a={mirrored}", *kept]
            if mirrored.startswith("send"):
                lines += self._send_lines(kind)
        return lines

    @staticmethod
    def mids(description: str) -> list[str]:
        """Of the sections of a description, in order."""
        return [_mid(section) for section in _sections(description)[1:]]

    def learn(self, description: str) -> None:
        """Take what the other side's offer or answer says about extensions and retransmission."""
        self.extensions = {}
        for section in _sections(description)[1:]:
            kind = section[2:].split()[0]
            self._mids.setdefault(kind, _mid(section))
            for number, uri in re.findall(r"^a=extmap:(\d+)\S* (\S+)", section, re.MULTILINE):
                self.extensions |= {name: int(number) for name, known in URIS.items() if known == uri}
            if (
                self.repair
                and kind == "video"
                and (rtx := re.search(r"^a=rtpmap:(\d+) rtx/90000", section, re.MULTILINE))
            ):
                self.rtx_payload_type = int(rtx[1])
        if not self.feedback:
            self.extensions.pop("twcc", None)

    def source(self, kind: str, rid: str = "") -> dict[str, Any]:
        """How one of its streams is sent, as the load program reads it. Raises StopIteration when there is no such."""
        found = next(source for source in self.sources if (source.kind, source.rid) == (kind, rid))
        named = self.simulcast and kind == "video"
        return {
            "ssrc": found.ssrc,
            "payload_type": PAYLOAD_TYPE if kind == "video" else AUDIO_PAYLOAD_TYPE,
            "mid": self._mids.get(kind, "") if named else "",
            "rid": rid,
            "rtx_ssrc": found.rtx_ssrc if self.rtx_payload_type else 0,
            "rtx_payload_type": self.rtx_payload_type,
            "extensions": {name: self.extensions.get(name, 0) for name in IDS},
        }

    def _codecs(self, kind: str) -> list[str]:
        payload_type, name = (AUDIO_PAYLOAD_TYPE, "opus/48000/2") if kind == "audio" else (PAYLOAD_TYPE, "VP8/90000")
        lines = [f"a=rtpmap:{payload_type} {name}"]
        wanted = ["ccm fir", "nack pli"] if kind == "video" else []
        if self.feedback:
            wanted += ["transport-cc", "nack"] if kind == "video" else ["transport-cc"]
            lines.append(f"a=extmap:{IDS['twcc']} {URIS['twcc']}")
        lines += [f"a=rtcp-fb:{payload_type} {one}" for one in wanted]
        if kind == "video" and self.repair:
            lines += [f"a=rtpmap:{RTX_PAYLOAD_TYPE} rtx/90000", f"a=fmtp:{RTX_PAYLOAD_TYPE} apt={PAYLOAD_TYPE}"]
        if kind == "video" and self.simulcast:
            lines += [f"a=extmap:{IDS[name]} {URIS[name]}" for name in ("mid", "rid", "repaired_rid")]
        return lines

    def _send_lines(self, kind: str) -> list[str]:
        sources = [source for source in self.sources if source.kind == kind]
        lines = [f"a=msid:load load{source.ssrc}" for source in sources[:1]]
        if any(source.rid for source in sources):
            rids = [source.rid for source in sources]
            return [*lines, *(f"a=rid:{rid} send" for rid in rids), f"a=simulcast:send {';'.join(rids)}"]
        for source in sources:
            if source.rtx_ssrc:
                lines += [f"a=ssrc-group:FID {source.ssrc} {source.rtx_ssrc}", f"a=ssrc:{source.rtx_ssrc} cname:load"]
            lines.append(f"a=ssrc:{source.ssrc} cname:load")
        return lines


def _sections(description: str) -> list[str]:
    """The head, then every media section."""
    return re.split(r"^(?=m=)", description.replace("\r\n", "\n"), flags=re.MULTILINE)


def _mid(section: str) -> str:
    found = re.search(r"^a=mid:(\S+)$", section, re.MULTILINE)
    return found[1] if found else ""
