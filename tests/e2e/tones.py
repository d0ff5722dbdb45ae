"""Which tones pages and phones hear: shares of the power of what comes in."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from tests.peers.baresip import Baresip
from tests.peers.chromium import Tab

Shares = Callable[[], Awaitable[dict[int, float]]]
"""By frequency in hertz, its share of the power that somebody hears."""

LEAST, MOST_OF_OTHERS = 0.004, 0.001
LOUD = 0.01

# Power by frequency of all sound that the page receives, over the last third of a second.
_POWER = """
async all => {
  const receivers = window.__connections.flatMap(connection => connection.getReceivers());
  const tracks = receivers.map(receiver => receiver.track).filter(track => track.kind === 'audio');
  const context = new AudioContext();
  await context.resume();
  const analyser = new AnalyserNode(context, {fftSize: 16384, smoothingTimeConstant: 0});
  for (const track of tracks) context.createMediaStreamSource(new MediaStream([track])).connect(analyser);
  await new Promise(done => setTimeout(done, 600));
  const decibels = new Float32Array(analyser.frequencyBinCount);
  analyser.getFloatFrequencyData(decibels);
  const power = Array.from(decibels, value => 10 ** (value / 10));
  const sum = power.reduce((sum, value) => sum + value, 0);
  const step = context.sampleRate / analyser.fftSize;
  await context.close();
  const share = bin => power.slice(Math.max(0, bin - 5), bin + 6).reduce((sum, value) => sum + value, 0) / sum;
  const peak = power.indexOf(Math.max(...power));
  return {shares: all.map(hz => share(Math.round(hz / step))), peak: [peak * step, share(peak)]};
}
"""


@dataclass(frozen=True, slots=True)
class Strongest:
    """The strongest frequency of what a page hears."""

    hz: float
    share: float


async def strongest_of_page(tab: Tab) -> Strongest:
    """What the page hears most of."""
    found = await tab.page.evaluate(_POWER, [])
    return Strongest(*found["peak"])


def of_page(tab: Tab, all_hz: Sequence[int]) -> Shares:
    """Of everything that a page receives."""

    async def shares() -> dict[int, float]:
        found = await tab.page.evaluate(_POWER, list(all_hz))
        return dict(zip(all_hz, found["shares"], strict=True))

    return shares


def of_phone(phone: Baresip, all_hz: Sequence[int]) -> Shares:
    """Over the last second of what a phone has heard."""

    async def shares() -> dict[int, float]:
        heard = phone.heard().last(1)
        loud = heard.level > LOUD
        return {hz: heard.share_of_tone(hz) if loud else 0.0 for hz in all_hz}

    return shares


async def hears(shares: Shares, *wanted: int, within_s: float = 60.0) -> None:
    """These tones and none of the others, sooner or later.

    A browser takes a tone that goes on for noise and makes it up to 24 dB quieter, so one of several may be a small share;
    what is not mixed is no share at all, whatever the codecs add.
    """
    deadline = asyncio.get_running_loop().time() + within_s
    while True:
        found = await shares()
        least = LEAST if len(wanted) > 1 else 0.5
        if all((share > least) if hz in wanted else (share < MOST_OF_OTHERS) for hz, share in found.items()):
            return
        assert asyncio.get_running_loop().time() < deadline, (wanted, found)
        await asyncio.sleep(0.2)
