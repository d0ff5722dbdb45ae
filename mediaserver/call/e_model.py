"""The E-model: how good a conversation is, from delay, echo, loss and codec (ITU-T G.107, 06/2015).

Names of the parameters are those of the standard. What a line of ours does not measure has the default of G.107 table 2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Impairment:
    """What a codec costs on the R scale: by itself (`ie`), and how well it stands lost packets (`bpl`)."""

    ie: float
    bpl: float


CODECS: Final[Mapping[str, Impairment]] = {
    # ITU-T G.113 (11/2007) table I.4: G.711 with the concealment of its Appendix I; every receiver today conceals loss.
    "pcmu": Impairment(0.0, 25.1),
    "pcma": Impairment(0.0, 25.1),
    # Not in G.113 on this scale, which ends at narrowband: wideband codecs count as free of impairment, and as robust as
    # concealed G.711. That rates them too low rather than too high.
    "g722": Impairment(0.0, 25.1),
    "opus": Impairment(0.0, 25.1),
}
UNKNOWN_CODEC: Final = Impairment(0.0, 4.3)
"""G.711 without concealment, the defaults of G.107 table 2."""


@dataclass(frozen=True, slots=True)
class Line:
    """The parameters of G.107 table 2 with its defaults; levels in dB, times in milliseconds, losses in percent."""

    slr: float = 8.0
    rlr: float = 2.0
    stmr: float = 15.0
    ds: float = 3.0
    dr: float = 3.0
    telr: float = 65.0
    wepl: float = 110.0
    t: float = 0.0
    """Mean one-way delay of the echo path."""
    tr: float = 0.0
    """Round trip in the four-wire loop."""
    ta: float = 0.0
    """Absolute delay from mouth to ear."""
    qdu: float = 1.0
    ie: float = 0.0
    bpl: float = 4.3
    ppl: float = 0.0
    """Packets lost, in percent."""
    burst_r: float = 1.0
    """Mean length of bursts of loss over that of random loss; 1 is random."""
    nc: float = -70.0
    nfor: float = -64.0
    ps: float = 35.0
    pr: float = 35.0
    a: float = 0.0
    """Advantage factor."""


def rating(line: Line) -> float:
    """The transmission rating factor R (§7.1): 93.2 with all defaults, more is better."""
    no, ro = _noise(line)
    return ro - _simultaneous(line, no, ro) - _delayed(line, no, ro) - _equipment(line) + line.a


def mos(r: float) -> float:
    """The mean opinion score of conversations with a rating, 1 (bad) to 4.5 (Annex B)."""
    if r <= 0:
        return 1.0
    if r >= 100:
        return 4.5
    # Below 6.5 the polynomial dips under 1, which no opinion does.
    return max(1.0, 1 + 0.035 * r + r * (r - 60) * (100 - r) * 7e-6)


def voice_mos(codec: str, *, delay_ms: float, loss: float, burst_ratio: float = 1.0) -> float:
    """The score of a call in `codec` over a line with a delay from mouth to ear and a share of lost packets, 0 to 1.

    Devices cancel their echo (`telr` 65 dB, the default), so that of delay the same is assumed for the echo path.
    """
    impairment = CODECS.get(codec.lower(), UNKNOWN_CODEC)
    return mos(
        rating(
            Line(
                t=delay_ms,
                tr=2 * delay_ms,
                ta=delay_ms,
                ie=impairment.ie,
                bpl=impairment.bpl,
                ppl=100 * min(1.0, max(0.0, loss)),
                burst_r=max(1.0, burst_ratio),
            )
        )
    )


def _noise(line: Line) -> tuple[float, float]:
    """No, the sum of noise powers at the 0 dBr point, and Ro, the signal to noise ratio (§7.2)."""
    olr = line.slr + line.rlr
    nos = line.ps - line.slr - line.ds - 100 + 0.004 * (line.ps - olr - line.ds - 14) ** 2
    lstr = line.stmr + line.dr
    pre = line.pr + 10 * math.log10(1 + 10 ** ((10 - lstr) / 10))
    nor = line.rlr - 121 + pre + 0.008 * (pre - 35) ** 2
    nfo = line.nfor + line.rlr
    no = 10 * math.log10(sum(10 ** (level / 10) for level in (line.nc, nos, nor, nfo)))
    return no, 15 - 1.5 * (line.slr + no)


def _simultaneous(line: Line, no: float, ro: float) -> float:
    """Is: what comes together with the voice: too loud, sidetone, quantisation (§7.3)."""
    olr = line.slr + line.rlr
    xolr = olr + 0.2 * (64 + no - line.rlr)
    iolr: float = 20 * ((1 + (xolr / 8) ** 8) ** (1 / 8) - xolr / 8)
    g = 1.07 + 0.258 * (q := 37 - 15 * math.log10(line.qdu)) + 0.0602 * q**2
    y = (ro - 100) / 15 + 46 / 8.4 - g / 9
    z = 46 / 30 - g / 40
    iq = 15 * math.log10(1 + math.pow(10, y) + math.pow(10, z))
    return iolr + _sidetone(line) + iq


def _sidetone(line: Line) -> float:
    """Ist (§7.3)."""
    stmro = -10 * math.log10(10 ** (-line.stmr / 10) + math.exp(-line.t / 4) * 10 ** (-line.telr / 10))
    return (
        12 * math.pow(1 + math.pow((stmro - 13) / 6, 8), 1 / 8)
        - 28 * math.pow(1 + math.pow((stmro + 1) / 19.4, 35), 1 / 35)
        - 13 * math.pow(1 + math.pow((stmro - 3) / 33, 13), 1 / 13)
        + 29
    )


def _delayed(line: Line, no: float, ro: float) -> float:
    """Id: echo to the talker and to the listener, and delay itself (§7.4)."""
    terv = line.telr - 40 * math.log10((1 + line.t / 10) / (1 + line.t / 150)) + 6 * math.exp(-0.3 * line.t**2)
    ist = _sidetone(line)
    if line.stmr < 9:
        terv += ist / 2
    roe, re = -1.5 * (no - line.rlr), 80 + 2.5 * (terv - 14)
    idte = ((roe - re) / 2 + math.sqrt((roe - re) ** 2 / 4 + 100) - 1) * (1 - math.exp(-line.t))
    if line.stmr > 20:
        idte = math.hypot(idte, ist)
    rle = 10.5 * (line.wepl + 7) * math.pow(line.tr + 1, -0.25)
    idle = (ro - rle) / 2 + math.sqrt((ro - rle) ** 2 / 4 + 169)
    return idte + idle + _absolute_delay(line.ta)


def _absolute_delay(ta: float) -> float:
    """Idd (§7.4): nothing up to 100 ms, steep from about 180 ms on."""
    if ta <= 100:
        return 0.0
    x = math.log2(ta / 100)
    return 25 * (math.pow(1 + x**6, 1 / 6) - 3 * math.pow(1 + (x / 3) ** 6, 1 / 6) + 2)


def _equipment(line: Line) -> float:
    """Ie-eff: codec and loss (§7.5)."""
    if line.ppl <= 0:
        return line.ie
    return line.ie + (95 - line.ie) * line.ppl / (line.ppl / line.burst_r + line.bpl)
