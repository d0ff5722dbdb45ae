"""Sound for peers and a judgement of what they heard: sine tones as WAV files, level and tone of a recording."""

from __future__ import annotations

import array
import math
import struct
import sys
import wave
from dataclasses import dataclass
from pathlib import Path

AMPLITUDE = 9000
"""Peak of the generated tones: about -11 dB of full scale."""

SILENCE = 0.005
"""Level (1.0 is full scale) under which a recording counts as silent."""


def write_tone(path: Path, *, rate: int, channels: int, seconds: int, hz: int) -> Path:
    """A sine of a whole number of hertz as 16-bit WAV; one second is computed and repeated."""
    second = array.array("h")
    for index in range(rate):
        value = round(AMPLITUDE * math.sin(2 * math.pi * hz * index / rate))
        second.extend([value] * channels)
    if sys.byteorder == "big":
        second.byteswap()
    with wave.open(str(path), "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(2)
        out.setframerate(rate)
        for _ in range(seconds):
            out.writeframes(second.tobytes())
    return path


def write_mulaw_tone(path: Path, *, hz: int, seconds: int) -> Path:
    """The same sine as raw G.711 mu-law bytes at 8 kHz, as SIPp streams them."""
    second = bytes(_mulaw(round(AMPLITUDE * math.sin(2 * math.pi * hz * index / 8000))) for index in range(8000))
    path.write_bytes(second * seconds)
    return path


def _mulaw(sample: int) -> int:
    """One 16-bit sample as mu-law (ITU-T G.711)."""
    sign = 0x80 if sample < 0 else 0
    magnitude = min(abs(sample), 32635) + 132
    exponent = magnitude.bit_length() - 8
    mantissa = (magnitude >> (exponent + 3)) & 0x0F
    return ~(sign | exponent << 4 | mantissa) & 0xFF


@dataclass(frozen=True, slots=True)
class Recording:
    """First channel of a 16-bit WAV file as samples between -1.0 and 1.0."""

    rate: int
    samples: list[float]

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.rate

    def last(self, seconds: float) -> Recording:
        return Recording(self.rate, self.samples[-int(seconds * self.rate) :])

    @property
    def level(self) -> float:
        """Root mean square; a full-scale sine is 0.707."""
        if not self.samples:
            return 0.0
        return math.sqrt(sum(sample * sample for sample in self.samples) / len(self.samples))

    def share_of_tone(self, hz: float) -> float:
        """How much of the energy (0.0 to 1.0) is at ``hz``, by Goertzel over blocks of 100 ms.

        Blocks, because two ends that drift against each other shift the phase of a long recording.
        """
        block = self.rate // 10
        coefficient = 2 * math.cos(2 * math.pi * hz / self.rate)
        tone = energy = 0.0
        for start in range(0, len(self.samples) - block + 1, block):
            before = last = 0.0
            for sample in self.samples[start : start + block]:
                before, last = last, sample + coefficient * last - before
                energy += sample * sample
            tone += (last * last + before * before - coefficient * last * before) * 2 / block
        return tone / energy if energy else 0.0


def read_wav(path: Path) -> Recording:
    """Read a 16-bit WAV file, also one that is still being written (its header then says zero length)."""
    content = path.read_bytes()
    if not content:
        return Recording(8000, [])  # opened, and nothing written yet
    if content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        raise ValueError(f"{path} is not a WAV file")
    position, channels, rate = 12, 0, 0
    while position + 8 <= len(content):
        kind, size = content[position : position + 4], struct.unpack_from("<I", content, position + 4)[0]
        body = position + 8
        if kind == b"fmt ":
            _format, channels, rate, _bytes, _align, bits = struct.unpack_from("<HHIIHH", content, body)
            if bits != 16:
                raise ValueError(f"{path} has {bits} bits per sample, not 16")
        if kind == b"data":
            data = content[body:] if size == 0 or body + size > len(content) else content[body : body + size]
            samples = array.array("h", data[: len(data) // (2 * channels) * 2 * channels])
            if sys.byteorder == "big":
                samples.byteswap()
            return Recording(rate, [sample / 32768 for sample in samples[::channels]])
        position = body + size + (size & 1)
    return Recording(rate or 8000, [])
