"""Fragments of session descriptions: trickled candidates and ICE restarts over WHIP and WHEP (RFC 8840, RFC 9725)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Final

from mediaserver.errors import LocalProtocolError
from mediaserver.sdp.description import Candidate, SdpError
from mediaserver.sdp.parser import parse_candidate
from mediaserver.webrtc.lines import candidates as host_candidates
from mediaserver.webrtc.section import LocalIceParams

MEDIA_TYPE: Final = "application/trickle-ice-sdpfrag"

MAX_CHARS: Final = 16_384
MAX_LINES: Final = 512
MAX_SECTIONS: Final = 64

_UFRAG: Final = re.compile(r"[!-~]{4,256}\Z")
_PWD: Final = re.compile(r"[!-~]{22,256}\Z")
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]{1,64}\Z")


@dataclass(frozen=True, slots=True)
class FragmentSection:
    """One pseudo `m=` section (RFC 8840 §9.2): the candidates of one mid."""

    mid: str
    media: str = "audio 9 UDP/TLS/RTP/SAVPF 0"
    """Value of the pseudo `m=` line."""
    candidates: tuple[Candidate, ...] = ()
    end_of_candidates: bool = False


@dataclass(frozen=True, slots=True)
class Fragment:
    """A fragment; the credentials stand at the session level or in its first section and hold for all of it."""

    ufrag: str | None = None
    pwd: str | None = field(default=None, repr=False)
    sections: tuple[FragmentSection, ...] = ()
    end_of_candidates: bool = False
    """Said at the session level: no section gets further candidates."""

    def restarts(self, ufrag: str, pwd: str) -> bool:
        """True if this asks for an ICE restart, given the credentials known (RFC 9725 §4.3.3).

        Raises SdpError if it names another ufrag without a password.
        """
        if self.ufrag is None or (self.ufrag == ufrag and self.pwd in (None, pwd)):
            return False
        if self.pwd is None:
            raise SdpError(0, "a new ice-ufrag needs its ice-pwd")
        return True


def parse_fragment(text: str) -> Fragment:
    """Read a fragment. Raises SdpError, which names the line.

    Unknown attributes are skipped (RFC 8840 §9.2); a candidate that cannot be read is an error, because the sender
    would wait for it in vain.
    """
    if len(text) > MAX_CHARS:
        raise SdpError(0, f"longer than {MAX_CHARS} characters")
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if len(lines) > MAX_LINES:
        raise SdpError(0, f"more than {MAX_LINES} lines")
    reader = _Reader()
    for number, line in enumerate(lines, 1):
        if line.strip():
            reader.line(number, line.strip())
    return reader.build(len(lines))


def restart_answer(fragment: Fragment, local: LocalIceParams) -> str:
    """The fragment that answers an ICE restart: our new credentials and candidates (RFC 9725 §4.3.3).

    Our candidates stand in the first section, whose transport all share (RFC 8843 §10.3).
    """
    section = fragment.sections[0] if fragment.sections else FragmentSection(mid="0")
    own = replace(section, candidates=host_candidates(local), end_of_candidates=True)
    return write_fragment(Fragment(local.ufrag, local.pwd, (own,)), ice_lite=True)


def write_fragment(fragment: Fragment, *, ice_lite: bool = False) -> str:
    """Write a fragment. Raises LocalProtocolError if a value would break out of its line."""
    lines = ["a=ice-lite"] if ice_lite else []
    if fragment.ufrag is not None:
        lines.append(f"a=ice-ufrag:{fragment.ufrag}")
    if fragment.pwd is not None:
        lines.append(f"a=ice-pwd:{fragment.pwd}")
    if fragment.end_of_candidates:
        lines.append("a=end-of-candidates")
    for section in fragment.sections:
        lines += [f"m={section.media}", f"a=mid:{section.mid}"]
        lines += [f"a=candidate:{candidate}" for candidate in section.candidates]
        lines += ["a=end-of-candidates"] if section.end_of_candidates else []
    if any("\r" in line or "\n" in line or "\0" in line for line in lines):
        raise LocalProtocolError("A value of the fragment breaks its line.")
    return "".join(f"{line}\r\n" for line in lines)


class _Reader:
    """Collects the lines of one fragment."""

    def __init__(self) -> None:
        self.ufrag: str | None = None
        self.pwd: str | None = None
        self.ended = False
        self.sections: list[FragmentSection] = []

    def line(self, number: int, line: str) -> None:
        if line.startswith("m="):
            if len(self.sections) >= MAX_SECTIONS:
                raise SdpError(number, f"more than {MAX_SECTIONS} sections")
            if len(line.split()) < 4:
                raise SdpError(number, "a media section is <kind> <port> <protocol> <format>", text=line)
            self.sections.append(FragmentSection(mid="", media=line[2:]))
        elif line.startswith("a="):
            name, _, value = line[2:].partition(":")
            self._attribute(number, name, value.strip())
        elif len(line) < 2 or line[1] != "=":
            raise SdpError(number, "not of the form <letter>=<value>", text=line)

    def build(self, lines: int) -> Fragment:
        if any(not section.mid for section in self.sections):
            raise SdpError(lines, "a media section without a mid")
        return Fragment(self.ufrag, self.pwd, tuple(self.sections), self.ended)

    def _attribute(self, number: int, name: str, value: str) -> None:
        if name == "ice-ufrag":
            self.ufrag = self._same(number, name, value, _UFRAG, self.ufrag)
        elif name == "ice-pwd":
            self.pwd = self._same(number, name, value, _PWD, self.pwd)
        elif name == "end-of-candidates" and not self.sections:
            self.ended = True
        elif name in ("mid", "candidate", "end-of-candidates"):
            self._section_attribute(number, name, value)

    def _section_attribute(self, number: int, name: str, value: str) -> None:
        if not self.sections:
            raise SdpError(number, f"{name} stands before any m= line")
        section = self.sections[-1]
        if name == "mid":
            if not _TOKEN.match(value):
                raise SdpError(number, "a mid is a token of at most 64 characters")
            section = replace(section, mid=value)
        elif name == "end-of-candidates":
            section = replace(section, end_of_candidates=True)
        else:
            try:
                section = replace(section, candidates=(*section.candidates, parse_candidate(value)))
            except ValueError as error:
                raise SdpError(number, str(error), text=value) from None
        self.sections[-1] = section

    @staticmethod
    def _same(number: int, name: str, value: str, form: re.Pattern[str], known: str | None) -> str:
        if not form.match(value):
            raise SdpError(number, f"{name} is too short, too long or not printable")
        if known is not None and known != value:
            raise SdpError(number, f"{name} differs between sections, which share one transport")
        return value
