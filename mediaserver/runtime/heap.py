"""The garbage collector's pace, set for a process that makes much at its start and short-lived objects ever after."""

from __future__ import annotations

import gc
from typing import Final

_THRESHOLDS: Final = (10_000, 20, 20)
"""Objects made and not freed before the youngest generation is looked at, then the ratios of the older ones.

A call makes some hundred objects and frees nearly all by reference count; with Python's 700 the collector ran through
the heap every other call.
"""


def settle() -> None:
    """What exists now stays for the life of the process: the collector never looks at it again. Call it once ready."""
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
