"""Real-time text through the engine (RFC 4103): from phone to phone and to messages, with losses made up for."""

from __future__ import annotations

import asyncio
import struct
from dataclasses import dataclass

import pytest

from mediaserver.engine import commands
from mediaserver.engine.engine import CommandRefused, Engine, LocalRtp
from tests.engine.phones import LOOPBACK, Phone, payload_of, until

T140, RED = 98, 100
FORMAT = commands.TextFormat(t140=T140, red=RED)


def blocks_of(payload: bytes) -> list[str]:
    """The blocks of a redundant packet, by RFC 2198's own words."""
    lengths, at = [], 0
    while payload[at] & 0x80:
        (word,) = struct.unpack_from("!I", payload, at)
        assert word >> 24 & 0x7F == T140
        lengths.append(word & 0x3FF)
        at += 4
    assert payload[at] == T140
    at += 1
    blocks = []
    for length in lengths:
        blocks.append(payload[at : at + length].decode())
        at += length
    return [*blocks, payload[at:].decode()]


def redundant(*blocks: str) -> bytes:
    """The payload with these blocks, the oldest first."""
    encoded = [block.encode() for block in blocks]
    heads = b"".join(struct.pack("!I", 1 << 31 | T140 << 24 | 300 << 10 | len(block)) for block in encoded[:-1])
    return heads + bytes([T140]) + b"".join(encoded)


@dataclass
class Typist:
    """A phone with text and the engine's transport towards it."""

    phone: Phone
    local: LocalRtp

    def type(self, *blocks: str, lost: bool = False) -> None:
        packet = self.phone.rtp(redundant(*blocks), pt=RED)
        if not lost:
            self.phone.send(packet, (self.local.ip, self.local.rtp_port))

    @property
    def read(self) -> str:
        return "".join(blocks_of(payload_of(packet))[-1] for packet in self.phone.received)


async def open_typist(engine: Engine, topic: int) -> Typist:
    phone = await Phone.open()
    local = await engine.open_rtp_transport(LOOPBACK, latching_ms=0, timeout_ms=0)
    engine.submit(commands.SetRtpRemote(id=local.id, rtp=phone.address))
    await engine.request(commands.OpenText(id=local.id, ssrc=7, cname="house", receive=FORMAT, send=FORMAT))
    await engine.request(commands.JoinTopic(id=local.id, stream=0, topic=topic))
    return Typist(phone, local)


async def test_two_phones_type_to_each_other_and_losses_are_made_up_for(engine: Engine) -> None:
    topic = engine.new_id()
    left, right = await open_typist(engine, topic), await open_typist(engine, topic)
    await engine.ping()
    left.type("", "", "H")
    left.type("", "H", "e", lost=True)
    left.type("H", "e", "j\b")
    left.type("e", "j\b", "å", lost=True)
    left.type("j\b", "å", "", lost=True)
    left.type("å", "", "", lost=True)
    left.type("", "", "!")
    await until(lambda: right.read == "\ufeffHej\b\ufffd!", what="the other phone reads it")
    right.type("\ufeff")
    right.type("grüß dich\u2028")
    await until(lambda: left.read == "\ufeffgrüß dich\u2028", what="and answers")
    first = right.phone.received[0]
    assert (first[1] >> 7, first[1] & 0x7F) == (1, RED), "the first packet after a pause is marked"


async def test_each_text_is_repeated_in_the_two_packets_that_follow(engine: Engine) -> None:
    typist = await open_typist(engine, topic := engine.new_id())
    await engine.request(commands.Publish(id=topic, payload=b"a"))
    await until(lambda: len(typist.phone.received) >= 3, what="three packets")
    packets = [blocks_of(payload_of(packet)) for packet in typist.phone.received[:3]]
    said = packets[0][2]
    assert said in ("\ufeffa", "\ufeff"), said
    assert (packets[1][1], packets[2][0]) == (said, said)
    await until(lambda: typist.read == "\ufeffa", what="all of it")


async def test_on_hold_text_waits_for_the_phone(engine: Engine) -> None:
    typist = await open_typist(engine, topic := engine.new_id())
    hold = commands.OpenText(id=typist.local.id, ssrc=7, cname="house", receive=FORMAT, send=None)
    await engine.request(hold)
    await engine.request(commands.Publish(id=topic, payload=b"later"))
    await asyncio.sleep(0.7)
    assert "later" not in typist.read
    await engine.request(commands.OpenText(id=typist.local.id, ssrc=7, cname="house", receive=FORMAT, send=FORMAT))
    await until(lambda: typist.read.endswith("later"), what="what was written on hold")


async def test_text_belongs_to_a_transport_without_tracks(engine: Engine) -> None:
    local = await engine.open_rtp_transport(LOOPBACK, latching_ms=0, timeout_ms=0)
    up = commands.AddUpTrack(id=engine.new_track_id(local.id), transport=local.id, kind="audio", payloads=())
    await engine.request(up)
    with pytest.raises(CommandRefused):
        await engine.request(commands.OpenText(id=local.id, ssrc=7, cname="house", receive=FORMAT, send=FORMAT))
