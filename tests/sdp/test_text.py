"""What `m=text` sections say: payload types, redundancy and the rate of characters."""

from __future__ import annotations

import pytest

from mediaserver.sdp.codecs import PayloadTypes
from mediaserver.sdp.parser import parse
from mediaserver.sdp.text import DEFAULT_CHARACTERS_PER_SECOND, TextFormats, text_codecs, text_formats

HEAD = "v=0\no=- 1 1 IN IP4 192.0.2.9\nc=IN IP4 192.0.2.9\n"


def formats(*lines: str, media: str = "m=text 11000 RTP/AVP 100 98") -> TextFormats | None:
    return text_formats(parse(HEAD + "\n".join((media, *lines)) + "\n").media[0])


def test_the_standards_own_example() -> None:
    # RFC 4103 §10.2
    found = formats("a=rtpmap:98 t140/1000", "a=rtpmap:100 red/1000", "a=fmtp:100 98/98/98", "a=fmtp:98 cps=20")
    assert found == TextFormats(t140=98, red=100, characters_per_second=20)


@pytest.mark.parametrize(
    ("lines", "red"),
    [
        (("a=rtpmap:98 T140/1000",), None),
        (("a=rtpmap:98 t140/1000", "a=rtpmap:100 red/1000", "a=fmtp:100 98/99"), None),
        (("a=rtpmap:98 t140/1000", "a=rtpmap:100 red/8000", "a=fmtp:100 98/98"), None),
        (("a=rtpmap:98 t140/1000", "a=rtpmap:100 red/1000"), None),
        (("a=rtpmap:98 t140/1000", "a=rtpmap:100 RED/1000", "a=fmtp:100 98/98"), 100),
    ],
)
def test_redundancy_is_used_where_all_of_it_is_text(lines: tuple[str, ...], red: int | None) -> None:
    assert formats(*lines) == TextFormats(98, red, DEFAULT_CHARACTERS_PER_SECOND)


@pytest.mark.parametrize(
    ("cps", "rate"), [("0", 30), ("-1", 30), ("x", 30), ("", 30), ("1", 1), ("999999999", 1000), ("9" * 40, 30)]
)
def test_rates_are_bounded(cps: str, rate: int) -> None:
    found = formats("a=rtpmap:98 t140/1000", f"a=fmtp:98 cps={cps}")
    assert found is not None
    assert found.characters_per_second == rate


def test_a_section_without_text_is_none() -> None:
    assert formats("a=rtpmap:98 t140/8000") is None
    assert formats("a=rtpmap:98 xyz/1000") is None


def test_what_we_offer_names_its_own_blocks() -> None:
    types = PayloadTypes()
    red, t140 = text_codecs(types)
    assert (red.name, red.fmtp) == ("red", {f"{t140.pt}/{t140.pt}/{t140.pt}": ""})
    assert red.pt != t140.pt
