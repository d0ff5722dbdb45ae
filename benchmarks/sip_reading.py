"""How often per second one core reads an INVITE of 900 bytes: every routing header and the description, in types."""

from __future__ import annotations

import gc
import time
from typing import Final

from benchmarks.figures import Report, median
from mediaserver.sdp.parser import parse
from mediaserver.sip.config import MessageLimits
from mediaserver.sip.message import Request
from mediaserver.sip.parser import parse_datagram

BYTES: Final = 900
LEAST_PER_S: Final = 10_000
_LIMITS: Final = MessageLimits()


def invite(number: int) -> bytes:
    """An INVITE that came through two proxies; no two numbers share a caller, a dialog or a port."""
    body = (
        f"v=0\r\no=alice {number} {number} IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\n"
        f"m=audio {10_000 + number % 50_000} RTP/AVP 8 0 9 101\r\na=rtpmap:8 PCMA/8000\r\n"
        "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n"
    )
    head = (
        f"INVITE sip:+4930{number:07}@gw.example.com;user=phone SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP 192.0.2.1:5060;rport;branch=z9hG4bK{number:010x}\r\n"
        f"Via: SIP/2.0/UDP 192.0.2.10:5062;received=192.0.2.10;branch=z9hG4bK{number:x}b\r\n"
        f"Route: <sip:192.0.2.3;lr>\r\nRecord-Route: <sip:192.0.2.1;lr;ftag={number:x}>\r\nMax-Forwards: 69\r\n"
        f'From: "Alice" <sip:alice{number}@example.com>;tag=a{number:x}\r\n'
        f"To: <sip:+4930{number:07}@gw.example.com>\r\nCall-ID: {number:032x}\r\nCSeq: {number % 1000 + 1} INVITE\r\n"
        f"Contact: <sip:alice{number}@192.0.2.10:5062;transport=udp>\r\n"
        "Allow: INVITE, ACK, BYE, CANCEL, OPTIONS\r\nSupported: timer, replaces\r\nContent-Type: application/sdp\r\n"
        f"Content-Length: {len(body)}\r\n"
    )
    filling = BYTES - len(head) - len(body) - len("User-Agent: \r\n\r\n")
    return f"{head}User-Agent: {'x' * filling}\r\n\r\n{body}".encode()


def read(data: bytes) -> None:
    """What a call needs of it, and every header that routes."""
    request = parse_datagram(data, _LIMITS)
    if not isinstance(request, Request):
        raise TypeError("not a request")
    request.check()
    _ = request.uri, request.routes, request.record_routes, request.contacts, request.content_type
    request.tokens("Supported"), request.tokens("Allow")
    parse(request.body)


def measure(report: Report, *, messages: int = 10_000, rounds: int = 5) -> None:
    """Add `sip_invite_parses_per_s`, by the CPU time of this thread."""
    texts = [invite(number) for number in range(messages)]
    if {len(text) for text in texts} != {BYTES}:
        raise ValueError("an INVITE of another size")
    gc.collect()
    gc.freeze()  # as the daemon does at its start
    samples = []
    for _ in range(rounds):
        began = time.thread_time()
        for text in texts:
            read(text)
        samples.append(messages / (time.thread_time() - began))
    gc.unfreeze()
    note = f"{messages} different INVITEs of {BYTES} bytes"
    report.add(median("sip_invite_parses_per_s", samples, "parses/s", least=LEAST_PER_S, note=note))
