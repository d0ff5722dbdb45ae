"""What an m=application section says about SCTP, and what it must not say."""

from __future__ import annotations

import pytest

from mediaserver.sdp.data import DataParameters, data_attributes, data_parameters
from mediaserver.sdp.parser import parse

SESSION = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"


def read(media: str, *attributes: str) -> DataParameters | None:
    lines = "".join(f"a={line}\r\n" for line in attributes)
    return data_parameters(parse(f"{SESSION}m={media}\r\nc=IN IP4 0.0.0.0\r\n{lines}").media[0])


SECTION = "application 9 UDP/DTLS/SCTP webrtc-datachannel"


def test_a_browser_s_section_is_read() -> None:
    assert read(SECTION, "sctp-port:5000", "max-message-size:262144") == DataParameters(5000, 262144)


def test_without_a_size_it_is_64_kib_and_zero_means_any() -> None:
    assert read(SECTION, "sctp-port:5001") == DataParameters(5001, 65536)
    assert read(SECTION, "sctp-port:5001", "max-message-size:0") == DataParameters(5001, 0)


@pytest.mark.parametrize(
    ("media", "attributes"),
    [
        (SECTION, ()),
        (SECTION, ("sctp-port:0",)),
        (SECTION, ("sctp-port:65536",)),
        (SECTION, ("sctp-port:x",)),
        (SECTION, ("sctp-port:5000", "max-message-size:-1")),
        (SECTION, ("sctp-port:5000", "max-message-size:" + "9" * 30)),
        ("application 9 DTLS/SCTP 5000", ("sctpmap:5000 webrtc-datachannel 1024",)),
        ("application 9 UDP/BFCP *", ("sctp-port:5000",)),
        ("message 9 UDP/DTLS/SCTP webrtc-datachannel", ("sctp-port:5000",)),
    ],
)
def test_what_cannot_be_used_is_none(media: str, attributes: tuple[str, ...]) -> None:
    assert read(media, *attributes) is None


def test_what_we_write_reads_back() -> None:
    lines = [f"{attribute.name}:{attribute.value}" for attribute in data_attributes(DataParameters())]
    assert read(SECTION, *lines) == DataParameters()
