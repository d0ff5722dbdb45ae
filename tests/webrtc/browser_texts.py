"""Descriptions of browsers: recorded ones, and what one answers to an offer of ours."""

from __future__ import annotations

import re
from pathlib import Path

DATA = Path(__file__).parents[1] / "data" / "sdp"


def recorded(name: str) -> str:
    """What a browser once wrote."""
    return (DATA / f"{name}.sdp").read_bytes().decode()


def browser_answer(offer: str) -> str:
    """What a browser answers that agrees with everything: its own credentials, the other direction, no streams."""
    text = offer.replace("a=setup:actpass", "a=setup:active").replace("a=ice-lite\r\n", "")
    text = re.sub(r"a=ice-ufrag:\S+", "a=ice-ufrag:RDVr", text)
    text = re.sub(r"a=ice-pwd:\S+", "a=ice-pwd:5emGlbqVbutGnv0xSsQJlUtn", text)
    text = text.replace("a=sendonly", "a=R").replace("a=recvonly", "a=sendonly").replace("a=R", "a=recvonly")
    return re.sub(r"a=(ssrc|msid):.*\r\n", "", text)
