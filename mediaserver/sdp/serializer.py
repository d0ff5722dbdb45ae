"""Session descriptions as text: strict, with CRLF, in the order of RFC 8866 §5."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Final

from mediaserver.errors import LocalProtocolError
from mediaserver.sdp.description import (
    Attribute,
    Codec,
    Crypto,
    Direction,
    Fingerprint,
    MediaDescription,
    SessionDescription,
    Simulcast,
)

_FORBIDDEN: Final = re.compile(r"[\x00\r\n]")


def serialize(description: SessionDescription) -> str:
    """Write a description; every line ends with CRLF.

    Raises LocalProtocolError if a value would break out of its line.
    """
    lines = list(_session(description))
    for media in description.media:
        lines.extend(_media(media))
    text = "\r\n".join(lines) + "\r\n"
    if text.count("\r") != len(lines) or text.count("\n") != len(lines) or "\0" in text:
        line = next(line for line in lines if _FORBIDDEN.search(line))
        raise LocalProtocolError(f"A value of the session description breaks its line: {line[:80]!r}")
    return text


def _session(description: SessionDescription) -> Iterator[str]:
    origin = description.origin
    yield "v=0"
    yield f"o={origin.username} {origin.session_id} {origin.version} IN {_address(origin.address)}"
    # RFC 8866 §5.3: a session without a name is written as a single dash.
    yield f"s={description.name or '-'}"
    if description.connection is not None:
        yield f"c=IN {_address(description.connection)}"
    for bandwidth in description.bandwidth:
        yield f"b={bandwidth.kind}:{bandwidth.value}"
    for timing in description.timing:
        yield f"t={timing.start} {timing.stop}"
    for group in description.groups:
        yield " ".join((f"a=group:{group.semantics}", *group.mids))
    if description.ice_lite:
        yield "a=ice-lite"
    if description.ice_options:
        yield f"a=ice-options:{' '.join(description.ice_options)}"
    if description.extmap_allow_mixed:
        yield "a=extmap-allow-mixed"
    for attribute in description.attributes:
        yield _attribute(attribute)


def _media(media: MediaDescription) -> Iterator[str]:
    # RFC 8866 §5.14 wants a format even where nobody reads it.
    yield f"m={media.kind} {media.port} {media.protocol} {' '.join(media.formats) or '0'}"
    if media.title is not None:
        yield f"i={media.title}"
    if media.connection is not None:
        yield f"c=IN {_address(media.connection)}"
    for bandwidth in media.bandwidth:
        yield f"b={bandwidth.kind}:{bandwidth.value}"
    if media.rtcp_port is not None:
        where = f" IN {_address(media.rtcp_address)}" if media.rtcp_address is not None else ""
        yield f"a=rtcp:{media.rtcp_port}{where}"
    yield from _values(("mid", media.mid))
    yield from _flags(("bundle-only", media.bundle_only))
    yield from _transport(media)
    yield from _flags(("extmap-allow-mixed", media.extmap_allow_mixed))
    for extension in media.extensions:
        direction = f"/{extension.direction}" if extension.direction else ""
        attributes = f" {extension.attributes}" if extension.attributes else ""
        yield f"a=extmap:{extension.id}{direction} {extension.uri}{attributes}"
    if media.is_rtp or media.direction is not Direction.SENDRECV:
        yield f"a={media.direction}"
    yield from _values(("msid", media.msid))
    yield from _flags(
        ("rtcp-mux", media.rtcp_mux), ("rtcp-mux-only", media.rtcp_mux_only), ("rtcp-rsize", media.rtcp_rsize)
    )
    for codec in media.codecs:
        yield from _codec(codec)
    yield from _values(("ptime", media.ptime), ("maxptime", media.maxptime))
    yield from _streams(media)
    for attribute in media.attributes:
        yield _attribute(attribute)


def _flags(*flags: tuple[str, bool]) -> Iterator[str]:
    return (f"a={name}" for name, is_set in flags if is_set)


def _values(*values: tuple[str, str | int | None]) -> Iterator[str]:
    return (f"a={name}:{value}" for name, value in values if value is not None)


def _transport(media: MediaDescription) -> Iterator[str]:
    for crypto in media.cryptos:
        yield f"a=crypto:{_crypto(crypto)}"
    for candidate in media.candidates:
        yield f"a=candidate:{candidate}"
    if media.end_of_candidates:
        yield "a=end-of-candidates"
    yield from _values(("ice-ufrag", media.ice_ufrag), ("ice-pwd", media.ice_pwd))
    for fingerprint in media.fingerprints:
        yield f"a=fingerprint:{format_fingerprint(fingerprint)}"
    yield from _values(("setup", media.setup))


def _codec(codec: Codec) -> Iterator[str]:
    channels = f"/{codec.channels}" if codec.channels > 1 else ""
    yield f"a=rtpmap:{codec.pt} {codec.name}/{codec.clock_rate}{channels}"
    for feedback in codec.feedback:
        yield f"a=rtcp-fb:{codec.pt} {feedback}"
    if codec.fmtp:
        yield f"a=fmtp:{codec.pt} {format_parameters(codec)}"


def _streams(media: MediaDescription) -> Iterator[str]:
    for rid in media.rids:
        yield f"a=rid:{rid.id} {rid.direction}" + (f" {rid.restrictions}" if rid.restrictions else "")
    if media.simulcast is not None:
        yield f"a=simulcast:{_simulcast(media.simulcast)}"
    for group in media.ssrc_groups:
        yield f"a=ssrc-group:{group.semantics} {' '.join(str(ssrc) for ssrc in group.ssrcs)}"
    for ssrc in media.ssrcs:
        if ssrc.cname is not None:
            yield f"a=ssrc:{ssrc.id} cname:{ssrc.cname}"
        if ssrc.msid is not None:
            yield f"a=ssrc:{ssrc.id} msid:{ssrc.msid}"


def format_parameters(codec: Codec) -> str:
    """The value of an fmtp line behind the payload type."""
    return ";".join(f"{key}={value}" if value else key for key, value in codec.fmtp.items())


def format_fingerprint(fingerprint: Fingerprint) -> str:
    """Algorithm and upper-case hex with colons (RFC 8122 §5)."""
    return f"{fingerprint.algorithm} {fingerprint.value.hex(':').upper()}"


def _crypto(crypto: Crypto) -> str:
    parts = [b64encode(crypto.key).decode()]
    parts += [part for part in (crypto.lifetime, crypto.mki) if part]
    return " ".join((str(crypto.tag), crypto.suite, "inline:" + "|".join(parts), *crypto.session_parameters))


def _simulcast(simulcast: Simulcast) -> str:
    parts = []
    for direction, streams in (("send", simulcast.send), ("recv", simulcast.receive)):
        if streams:
            parts.append(f"{direction} {';'.join(','.join(stream) for stream in streams)}")
    return " ".join(parts)


def _attribute(attribute: Attribute) -> str:
    return f"a={attribute.name}" if attribute.value is None else f"a={attribute.name}:{attribute.value}"


@lru_cache(maxsize=1024)
def _address(address: str) -> str:
    try:
        version = "IP6" if isinstance(ip_address(address), IPv6Address) else "IP4"
    except ValueError:
        version = "IP4"
    return f"{version} {address}"
